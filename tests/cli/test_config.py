"""``orchestra config``: the schema, and what a server would change and did (D3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import appliance
from appliance.project_files import read_files
from tests.bad_project_files import BAD, EXPECTED_BESIDE
from tests.cli.conftest import Run
from tests.client.conftest import Reply, Service, problem
from tests.web.test_openapi import faults

EXAMPLES = Path(appliance.__file__).with_name("examples")
IN_FORCE: dict[str, Any] = {
    "projects": [
        {
            "identifier": "website",
            "jobs": [
                {"identifier": "test", "definition": {"commands": [["make"]]}, "timeout": "30m"},
                {"identifier": "old", "definition": {"commands": [["make", "old"]]}},
            ],
            "schedules": [],
        }
    ]
}
FILE = """\
projects:
  - identifier: website
    jobs:
      - {identifier: test, definition: {commands: [[make]]}, timeout: 1h, grace: 5s}
      - {identifier: deploy, definition: {commands: [[make, deploy]]}}
"""
CHANGES = """\
~ job website/test
    timeout: "30m" -> "1h"
    grace: (none) -> "5s"
+ job website/deploy
- job website/old
"""
APPLIED: dict[str, Any] = {
    "is_applied": True,
    "changes": [
        {
            "kind": "job",
            "name": "website/test",
            "what": "changed",
            "keys": [{"key": "timeout", "before": "30m", "after": "1h"}, {"key": "grace", "after": "5s"}],
        },
        {"kind": "job", "name": "website/deploy", "what": "added", "keys": []},
        {"kind": "job", "name": "website/old", "what": "removed", "keys": []},
    ],
    "findings": [],
    "cancelled": 0,
}
REFUSED = problem(
    422,
    "something is wrong with the project files, and nothing was changed",
    errors=[{"field": "/srv/p.yaml:4", "message": "website/test: jobs[0].x: 'x' is not a known key"}],
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "p.yaml"
    made.write_text(FILE)
    made.chmod(0o600)
    return made


# schema


def test_req_D3_the_schema_is_printed_without_a_server_and_fits_the_examples(orchestra: Run) -> None:
    ran = orchestra("config", "schema")
    assert ran.code == 0
    schema = json.loads(ran.out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    projects, findings = read_files([EXAMPLES])
    documents = [raw.document for raw in projects]
    assert findings == [] and len(documents) >= 2
    assert faults({"projects": documents}, schema, schema["$defs"]) == []
    wrong = {"projects": [{"identifier": "p", "jbos": []}]}
    assert faults(wrong, schema, schema["$defs"]) == ["$.projects[0]: jbos is not described"]


# check


def test_all_that_is_wrong_with_several_files_is_told_in_their_order(orchestra: Run, tmp_path: Path) -> None:
    for name, text in (("a.yaml", "projects: [\n"), ("b.yaml", FILE.replace("timeout", "timeuot")), ("c.yaml", FILE)):
        (tmp_path / name).write_text(text)
    ran = orchestra("config", "check", tmp_path)
    assert ran.code == 1
    lines = ran.out.decode().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"{tmp_path}/{name}" for name in ("a.yaml:1", "b.yaml:4", "c.yaml:2")
    ]
    assert ": website/test: jobs[0].timeuot: 'timeuot' is not a known key; did you mean 'timeout'?" in lines[1]


KINDS = {
    "an unknown job": "a schedule of no job",
    "an unknown job of a pipeline": "a pipeline of no job",
    "a cycle of elements": "elements that wait for each other",
    "a cycle of pipelines": "a pipeline that starts itself",
    "a bad parameter": "a default of another type",
    "an undefined format name": "an unknown format name",
    "a duplicate identifier": "two jobs in Python",
    "an unknown key": "an unknown key",
}
"""The findings that people rely on most, by a file of tests/bad_project_files.py that has it."""


@pytest.mark.parametrize("kind", KINDS)
def test_req_D3_a_finding_has_file_line_and_reason_for_people_and_for_programs(
    orchestra: Run, tmp_path: Path, kind: str
) -> None:
    (bad,) = (one for one in BAD if one.name == KINDS[kind])
    file = tmp_path / f"bad{bad.suffix}"
    file.write_text(bad.text)
    ran = orchestra("config", "check", file)
    shown = [line for line in ran.out.decode().splitlines() if not line.endswith(EXPECTED_BESIDE)]
    assert (ran.code, ran.err, len(shown)) == (1, "", 1)
    assert shown[0].startswith(f"{file}:{bad.line}: {bad.subject}: ") and bad.words in shown[0]
    ran = orchestra("config", "check", file, "--json")
    found = [one for one in json.loads(ran.out)["findings"] if not one["sentence"].endswith(EXPECTED_BESIDE)]
    assert (ran.code, len(found)) == (1, 1)
    assert (found[0]["file"], found[0]["line"], found[0]["subject"]) == (str(file), bad.line, bad.subject)
    assert bad.words in found[0]["sentence"]
    assert found[0]["severity"] in ("warning", "blocking", "refusing")


# diff


def test_req_D3_diff_compares_local_files_with_what_is_in_force(ask: Run, service: Service, file: Path) -> None:
    service.replies = [Reply(document=IN_FORCE)]
    ran = ask("config", "diff", file)
    assert (ran.code, ran.out.decode(), ran.err) == (0, CHANGES, "")
    assert [(one.method, one.path) for one in service.asked] == [("GET", "/api/v1/config")]


def test_a_diff_in_json_has_the_same_form_as_that_of_the_service(ask: Run, service: Service, file: Path) -> None:
    service.replies = [Reply(document=IN_FORCE)]
    found = json.loads(ask("config", "diff", file, "--json").out)
    assert found == {"changes": APPLIED["changes"], "findings": []}


def test_files_as_they_are_in_force_change_nothing(ask: Run, service: Service, file: Path) -> None:
    file.write_text(json.dumps(IN_FORCE))
    service.replies = [Reply(document=IN_FORCE)]
    assert ask("config", "diff", file) == (0, b"", "nothing changes\n")


def test_a_diff_of_files_with_findings_says_how_many(ask: Run, service: Service, file: Path) -> None:
    file.write_text(FILE.replace("grace", "graec"))
    service.replies = [Reply(document=IN_FORCE)]
    ran = ask("config", "diff", file)
    assert (ran.code, ran.err) == (0, "1 finding: see 'orchestra config check'\n")


def test_unusable_files_have_no_diff(ask: Run, service: Service, file: Path) -> None:
    file.write_text("projects: 3\n")
    ran = ask("config", "diff", file)
    assert (ran.code, ran.out.decode()) == (1, f"{file}:1: must hold a list named 'projects'\n")
    assert "nothing was changed" in ran.err
    assert service.asked == []


def test_without_a_path_the_server_compares_its_own_files(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={**APPLIED, "is_applied": False})]
    ran = ask("config", "diff")
    assert (ran.code, ran.out.decode()) == (0, CHANGES)
    (asked,) = service.asked
    assert (asked.path, asked.document) == ("/api/v1/config/apply", {"dry_run": True, "with_findings": False})


def test_long_values_are_cut_and_control_characters_shown(ask: Run, service: Service) -> None:
    key = {"key": "description", "before": "x" * 500, "after": "\x1b[31mred"}
    change = {"kind": "job", "name": "website/test", "what": "changed", "keys": [key]}
    service.replies = [Reply(document={**APPLIED, "changes": [change]})]
    lines = ask("config", "diff").out.decode().splitlines()
    assert len(lines[1]) < 150 and "…" in lines[1] and "\x1b" not in lines[1]


# apply


def test_req_D3_apply_tells_what_changed(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={**APPLIED, "cancelled": 2})]
    ran = ask("config", "apply")
    assert (ran.code, ran.out.decode()) == (0, CHANGES)
    assert ran.err == "2 waiting runs of removed jobs cancelled\n"
    (asked,) = service.asked
    assert (asked.method, asked.document) == ("POST", {"dry_run": False, "with_findings": False})


def test_apply_with_findings_asks_for_it_and_says_how_many(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={**APPLIED, "changes": [], "findings": [{}]})]
    ran = ask("config", "apply", "--with-findings")
    assert (ran.code, ran.err) == (0, "nothing changes\n1 finding: see 'orchestra config check'\n")
    assert service.asked[0].document["with_findings"] is True


def test_apply_in_json_is_the_answer_of_the_service(ask: Run, service: Service) -> None:
    service.replies = [Reply(document=APPLIED)]
    assert json.loads(ask("config", "apply", "--json").out) == APPLIED


def test_fault_F40_a_refused_set_names_each_place_and_is_exit_code_1(ask: Run, service: Service) -> None:
    service.replies = [REFUSED]
    ran = ask("config", "apply")
    assert (ran.code, ran.out) == (1, b"/srv/p.yaml:4: website/test: jobs[0].x: 'x' is not a known key\n")
    assert ran.err == "orchestra: something is wrong with the project files, and nothing was changed\n"
    told = json.loads(ask("config", "apply", "--json").out)
    assert told["is_applied"] is False and list(told["errors"]) == ["/srv/p.yaml:4"]
    assert ask("config", "diff").code == 1


def test_who_is_no_administrator_is_exit_code_4(ask: Run, service: Service) -> None:
    service.replies = [problem(403, "this needs the right to manage users, which you do not have")]
    assert ask("config", "apply").code == 4
    assert ask("config", "diff").code == 4
