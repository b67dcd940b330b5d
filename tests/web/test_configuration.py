"""The project files by the service: what is in force, applying them, and the definition of a run (D3, S-01)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.world import World, of_session

CONFIG, APPLY = "/api/v1/config", "/api/v1/config/apply"
ALPHA = """\
projects:
  - identifier: alpha
    jobs: [{identifier: test, definition: {commands: ["make"]}}]
"""


@pytest.fixture
def root(world: World) -> dict[str, str]:
    write(world, ALPHA)
    return world.user("root", ["administrator"])


def write(world: World, text: str) -> str:
    file = world.project_files / "p.yaml"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def told(document: Any) -> list[tuple[str, str]]:
    return [(one["what"], one["name"]) for one in document["changes"]]


def test_req_D3_apply_answers_what_it_changed(world: World, root: dict[str, str]) -> None:
    answer = world.send("POST", APPLY, root, {})
    assert answer.status == 200, answer.body
    document = answer.document
    assert (document["is_applied"], document["findings"], document["cancelled"]) == (True, [], 0)
    assert told(document) == [("changed", "alpha/test"), ("removed", "beta"), ("removed", "beta/test")]
    assert world.ask("GET", CONFIG, root).document == {
        "projects": [
            {
                "identifier": "alpha",
                "jobs": [{"identifier": "test", "definition": {"commands": ["make"]}}],
                "schedules": [],
            }
        ]
    }
    assert world.send("POST", APPLY, root, {}).document["changes"] == []


def test_a_changed_key_has_both_sides_and_one_that_is_new_only_its_value(world: World, root: dict[str, str]) -> None:
    world.send("POST", APPLY, root, {})
    write(world, ALPHA.replace('"make"]}', '"build"]}, timeout: 1h'))
    (change,) = world.send("POST", APPLY, root, {}).document["changes"]
    assert change["keys"] == [
        {"key": "definition.commands[0]", "before": "make", "after": "build"},
        {"key": "timeout", "after": "1h"},
    ]


def test_a_dry_run_tells_and_changes_nothing(world: World, root: dict[str, str]) -> None:
    before = world.ask("GET", CONFIG, root).document
    document = world.send("POST", APPLY, root, {"dry_run": True}).document
    assert (document["is_applied"], len(document["changes"])) == (False, 3)
    assert world.ask("GET", CONFIG, root).document == before


def test_fault_F40_a_refused_set_is_422_with_each_place_and_changes_nothing(world: World, root: dict[str, str]) -> None:
    before = world.ask("GET", CONFIG, root).document
    file = write(world, ALPHA.replace("commands", "comands"))
    answer = world.send("POST", APPLY, root, {})
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["field"] == f"{file}:3"
    assert error["message"].startswith("alpha/test: ") and "did you mean 'commands'?" in error["message"]
    assert world.ask("GET", CONFIG, root).document == before
    applied = world.send("POST", APPLY, root, {"with_findings": True}).document
    assert (applied["is_applied"], applied["findings"][0]["line"]) == (True, 3)


def test_req_S_11_a_page_of_another_site_applies_nothing(world: World, root: dict[str, str]) -> None:
    before = world.ask("GET", CONFIG, root).document
    assert world.send("POST", APPLY, of_session(world.login("root"), own_page=False), {}).status == 403
    assert world.ask("GET", CONFIG, root).document == before
    assert world.send("POST", APPLY, of_session(world.login("root")), {}).status == 200


def test_req_D3_a_run_shows_the_definition_it_was_triggered_with(world: World, root: dict[str, str]) -> None:
    world.send("POST", APPLY, root, {})
    run = world.runs.trigger("alpha", "test", {}, world.trigger("alpha").source)[0]
    where = f"/api/v1/runs/{run.id}/definition"
    reader = world.user("ada", alpha="viewer")
    first = world.ask("GET", where, reader).document
    job = {"identifier": "test", "definition": {"commands": ["make"]}}
    version = run.definition_version
    assert first == {"version": version, "in_force": version, "changed": [], "job": job}
    write(world, ALPHA.replace('"make"', '"build"'))
    world.send("POST", APPLY, root, {})
    changed = world.ask("GET", where, reader).document
    assert (changed["version"], changed["job"]) == (version, job)
    assert changed["in_force"] not in (None, version)
    assert changed["changed"] == [{"key": "definition.commands[0]", "before": "make", "after": "build"}]
    write(world, "projects: []\n")
    world.send("POST", APPLY, root, {})
    removed = world.ask("GET", where, reader).document
    assert (removed["job"], removed["in_force"], removed["changed"]) == (job, None, [])


def test_req_D3_runs_of_a_removed_project_stay_reachable_for_its_readers_only(
    world: World, root: dict[str, str]
) -> None:
    world.send("POST", APPLY, root, {})
    run = world.trigger("alpha")
    world.logs.append(run.id, 0, 0, b"what it said\n")
    write(world, "projects: []\n")
    assert world.send("POST", APPLY, root, {}).document["cancelled"] == 1
    reader, stranger = world.user("ada", alpha="viewer"), world.user("eve", beta="viewer")
    by_number = f"/api/v1/projects/alpha/jobs/test/runs/{run.number}"
    paths = (f"/api/v1/runs/{run.id}", by_number, f"/api/v1/runs/{run.id}/log", f"/api/v1/runs/{run.id}/definition")
    for path in paths:
        assert world.ask("GET", path, reader).status == 200, path
        assert world.ask("GET", path, stranger).status == 404, path
    document = world.ask("GET", by_number, reader).document
    assert (document["status"], document["reason"]) == ("cancelled", "removed")
    for path in ("/api/v1/projects/alpha", "/api/v1/projects/alpha/jobs", "/api/v1/projects/alpha/jobs/test"):
        assert world.ask("GET", path, reader).status == 404, path
    operator = world.user("op", alpha="operator")
    assert world.send("POST", "/api/v1/projects/alpha/jobs/test/runs", operator, {}).status == 404
