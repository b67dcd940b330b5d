"""Putting a configuration in force, and what refuses it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import appliance
from appliance.clock import FakeClock
from appliance.config import ConfigurationError, write_example_projects
from appliance.db.memory import MemoryRepository
from appliance.events import Event, Events, ProjectsChanged
from appliance.model.entities import Job
from appliance.model.errors import NotFound
from appliance.model.findings import Severity
from appliance.model.parameters import resolve
from appliance.model.schema import JobDocument
from appliance.projects import Projects, definition_version

EXAMPLES = Path(appliance.__file__).with_name("examples")
WEBSITE = """\
projects:
  - identifier: website
    display_name: Website
    jobs:
      - {identifier: test, definition: {commands: [[make, test]]}}
      - identifier: deploy
        display_name: Deploy it
        description: To the world
        is_enabled: false
        definition: {commands: ["make deploy"]}
  - identifier: shop
    jobs:
      - {identifier: test, definition: {commands: [[make, shop]]}}
"""


class Bundle:
    """The use cases over a new memory repository, a directory of project files, and the events that were published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repository = MemoryRepository()
        self.events: list[Event] = []
        events = Events()
        events.subscribe(self.events.append)
        self.projects = Projects(self.repository, FakeClock(), events)

    def write(self, text: str, name: str = "p.yaml") -> Path:
        file = self.directory / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        return file

    def load(self, text: str, name: str = "p.yaml") -> list[str]:
        """Load this one file; answers the findings."""
        return [str(finding) for finding in self.projects.load([self.write(text, name)]).findings]

    def names(self) -> list[str]:
        """All jobs in force."""
        return [
            f"{project.identifier}/{job.identifier}"
            for project in self.projects.projects()
            for job in self.projects.jobs(project.identifier)
        ]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


# Loading


def test_projects_and_jobs_are_in_force_in_the_order_of_the_file(bundle: Bundle) -> None:
    assert bundle.load(WEBSITE) == []
    assert bundle.names() == ["website/test", "website/deploy", "shop/test"]
    assert [project.display_name for project in bundle.projects.projects()] == ["Website", "shop"]
    deploy = bundle.projects.job("website", "deploy")
    assert (deploy.display_name, deploy.description, deploy.is_enabled) == ("Deploy it", "To the world", False)
    assert bundle.projects.job("shop", "test").display_name == "test"
    assert bundle.events == [ProjectsChanged()]


def test_a_job_keeps_the_document_of_the_file_without_a_change(bundle: Bundle) -> None:
    bundle.load(
        "projects: [{identifier: p, services: {a: {b: 2026-01-01}}, jobs: [{identifier: j, "
        "definition: {commands: [[echo, 'x']]}, parameters: [{key: since, default: 2026-12-01}], "
        "properties: {is_controller: false}}]}]"
    )
    assert bundle.projects.job("p", "j").document == {
        "identifier": "j",
        "definition": {"commands": [["echo", "x"]]},
        "parameters": [{"key": "since", "default": "2026-12-01"}],
        "properties": {"is_controller": False},
    }
    assert bundle.projects.project("p").document == {"identifier": "p", "services": {"a": {"b": "2026-01-01"}}}


def test_several_files_and_both_kinds_are_one_configuration(bundle: Bundle) -> None:
    bundle.write(WEBSITE, "b.yaml")
    bundle.write("def configure():\n    return {'projects': [{'identifier': 'a'}]}\n", "a.py")
    assert bundle.projects.load([bundle.directory]).findings == ()
    assert [project.identifier for project in bundle.projects.projects()] == ["a", "website", "shop"]


def test_no_files_are_an_empty_configuration(bundle: Bundle) -> None:
    assert bundle.projects.load([bundle.directory]).findings == ()
    assert bundle.projects.projects() == []


def test_reading_puts_nothing_in_force(bundle: Bundle) -> None:
    loaded = bundle.projects.read([bundle.write(WEBSITE)])
    assert len(loaded.configuration.jobs) == 3
    assert bundle.projects.projects() == []
    assert bundle.events == []


def test_what_is_gone_from_the_files_is_gone_and_comes_back_with_them(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    bundle.load("projects: [{identifier: shop}]\n")
    assert bundle.names() == []
    with pytest.raises(NotFound):
        bundle.projects.job("website", "test")
    bundle.load(WEBSITE)
    assert bundle.names() == ["website/test", "website/deploy", "shop/test"]


# Versions


def test_req_D3_a_version_names_what_a_job_says_and_every_version_is_kept(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    first = bundle.projects.job("website", "test")
    bundle.load(WEBSITE.replace("make, test", "make, check"))
    second = bundle.projects.job("website", "test")
    assert first.definition_version != second.definition_version
    store = bundle.repository.projects
    assert store.definition(first.definition_version) == first.document
    assert store.definition(second.definition_version) == second.document


def test_a_version_does_not_depend_on_layout_or_order_of_keys(bundle: Bundle) -> None:
    bundle.load(
        "projects:\n  - identifier: p\n    jobs: [{identifier: j, definition: {commands: ['a']}, timeout: 1h}]\n"
    )
    one = bundle.projects.job("p", "j").definition_version
    bundle.load(
        "# comment\nprojects:\n  - identifier: p\n    jobs:\n      - timeout: 1h\n        definition:\n"
        "          commands:\n            - a\n        identifier: j\n"
    )
    assert bundle.projects.job("p", "j").definition_version == one
    assert len(one) == 16
    assert set(one) <= set("0123456789abcdef")
    assert one != definition_version({"identifier": "j"})


# Flags


def test_req_D2_flags_set_at_run_time_survive_a_reload(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    assert not bundle.projects.enable_job("website", "test", False, "alice").is_enabled
    assert bundle.projects.enable_job("website", "deploy", True, "alice").is_enabled
    assert not bundle.projects.enable_project("shop", False, "alice").is_enabled
    bundle.load(WEBSITE.replace("make, test", "make, check"))
    assert not bundle.projects.job("website", "test").is_enabled
    assert bundle.projects.job("website", "deploy").is_enabled, "the file's is_enabled is the initial state only"
    assert not bundle.projects.project("shop").is_enabled
    assert bundle.projects.job("shop", "test").is_enabled


def test_switching_tells_everybody(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    bundle.events.clear()
    bundle.projects.enable_job("website", "test", False, "alice")
    bundle.projects.enable_project("website", False, "alice")
    assert bundle.events == [ProjectsChanged(), ProjectsChanged()]


def test_what_is_not_there_is_not_found_and_nobody_is_told(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    bundle.events.clear()
    calls = (
        lambda: bundle.projects.project("Website"),
        lambda: bundle.projects.jobs("no"),
        lambda: bundle.projects.schedules("no"),
        lambda: bundle.projects.job("website", "no"),
        lambda: bundle.projects.job("no", "test"),
        lambda: bundle.projects.enable_project("no", True, "alice"),
        lambda: bundle.projects.enable_job("website", "no", True, "alice"),
    )
    for call in calls:
        with pytest.raises(NotFound, match="there is no"):
            call()
    assert bundle.events == []


def test_only_visible_projects_are_listed(bundle: Bundle) -> None:
    bundle.load(WEBSITE)
    assert [one.identifier for one in bundle.projects.projects(frozenset({"shop", "other"}))] == ["shop"]
    assert bundle.projects.projects(frozenset()) == []


# Refusals

TWO_JOBS = """\
projects:
  - identifier: a
    jobs:
      - {{identifier: j, definition: {{commands: [a]}}}}
      - {{identifier: {}, definition: {{commands: [b]}}}}
"""
TWO_SCHEDULES = """\
projects:
  - identifier: a
    jobs: [{identifier: j, definition: {commands: [a]}}]
    schedules:
      - {identifier: s, job: j, every: 1h}
      - {identifier: s, job: j, every: 2h}
"""
REFUSED = {
    "unreadable file": ("projects: [", 1, "not YAML"),
    "project without a name": ("projects:\n  - display_name: x\n", 2, "identifier"),
    "project whose name is none": ("projects:\n  - identifier: a/b\n", 2, "'a/b' cannot name a project"),
    "two projects": ("projects:\n  - identifier: a\n  - identifier: a\n", 3, "there is a project 'a' already"),
    "two projects but for case": ("projects:\n  - identifier: a\n  - identifier: A\n", 3, "differ only in case"),
    "two jobs": (TWO_JOBS.format("j"), 5, "two jobs 'j'"),
    "two jobs but for case": (TWO_JOBS.format("J"), 5, "two jobs 'j'"),
    "two schedules": (TWO_SCHEDULES, 6, "two schedules 's'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_fault_F40_an_unreadable_or_ambiguous_set_changes_nothing(case: str, bundle: Bundle) -> None:
    text, line, words = REFUSED[case]
    bundle.load(WEBSITE)
    before = bundle.names()
    bundle.events.clear()
    file = bundle.write(text)
    with pytest.raises(ConfigurationError) as caught:
        bundle.projects.load([file])
    assert (caught.value.file, caught.value.line) == (str(file), line)
    assert words in caught.value.message
    assert bundle.names() == before
    assert bundle.events == []


def test_fault_F40_one_bad_file_refuses_the_good_ones_with_it(bundle: Bundle) -> None:
    bundle.write(WEBSITE, "good.yaml")
    bundle.write("projects: 3\n", "bad.yaml")
    bundle.write("def configure(): return 1 / 0\n", "worse.py")
    with pytest.raises(ConfigurationError, match=r"bad\.yaml:1: .* \(and 1 more\)"):
        bundle.projects.load([bundle.directory])
    assert bundle.projects.projects() == []


def test_fault_F40_the_same_project_in_two_files_names_both(bundle: Bundle) -> None:
    bundle.write(WEBSITE, "a.yaml")
    bundle.write("projects:\n  - identifier: SHOP\n", "b.yaml")
    with pytest.raises(ConfigurationError, match=r"b\.yaml:2: SHOP: .*a\.yaml:11"):
        bundle.projects.load([bundle.directory])


# Findings


def test_a_finding_about_one_job_stays_with_it_and_stops_no_other(bundle: Bundle) -> None:
    findings = bundle.load(
        "projects:\n  - identifier: p\n    jobs:\n"
        "      - {identifier: good, definition: {commands: [a]}}\n"
        "      - identifier: bad\n"
        "        definition: {commands: [a]}\n"
        "        timeuot: 1h\n"
        "      - {identifier: worse, definition: 3}\n"
        "      - {identifier: fine, definition: {commands: [b]}}\n"
    )
    assert bundle.names() == ["p/good", "p/bad", "p/worse", "p/fine"]
    assert [job.identifier for job in bundle.projects.jobs("p") if job.findings] == ["bad", "worse"]
    assert findings[0].startswith(f"{bundle.directory / 'p.yaml'}:7: p/bad: ")
    assert "'timeout'" in findings[0]
    bad, worse = bundle.projects.job("p", "bad"), bundle.projects.job("p", "worse")
    assert bad.findings[0].startswith("timeuot: "), "places are seen from the job"
    assert worse.blocking
    assert set(worse.blocking) <= set(worse.findings)


def test_a_job_without_a_name_is_left_out_and_the_others_load(bundle: Bundle) -> None:
    findings = bundle.load(
        "projects:\n  - identifier: p\n    jobs:\n      - {identifier: ../etc, definition: {commands: [a]}}\n"
        "      - {identifier: good, definition: {commands: [a]}}\n"
    )
    assert bundle.names() == ["p/good"]
    assert len(findings) == 1
    assert findings[0].startswith(f"{bundle.directory / 'p.yaml'}:4: p: ")


def test_schedules_load_with_their_job(bundle: Bundle) -> None:
    bundle.load(
        "projects:\n  - identifier: p\n    jobs: [{identifier: j, definition: {commands: [a]}}]\n    schedules:\n"
        "      - {identifier: nightly, job: j, expression: '30 2 * * *', is_enabled: false}\n"
        "      - {identifier: lost, job: nothing, every: 1h}\n"
    )
    nightly, lost = bundle.projects.schedules("p")
    assert (nightly.identifier, nightly.display_name, nightly.is_enabled) == ("nightly", "nightly", False)
    assert any("there is no job 'nothing'" in finding for finding in lost.findings)


# The examples


def test_a_new_server_starts_without_findings(bundle: Bundle) -> None:
    write_example_projects(bundle.directory / "projects")
    assert bundle.projects.load([bundle.directory / "projects"]).findings == ()


def test_in_the_example_of_job_orchestra_only_the_deliberate_mistake_is_found(bundle: Bundle) -> None:
    loaded = bundle.projects.load([EXAMPLES / "job-orchestra.py"])
    (finding,) = loaded.findings
    assert finding.subject == "job-orchestra/exception"
    assert "undefined" in finding.sentence
    assert finding.severity is Severity.WARNING
    assert finding.line > 0
    assert all(job.blocking == () for job in loaded.configuration.jobs)


def test_defaults_of_the_examples_are_values_that_their_parameters_accept(bundle: Bundle) -> None:
    write_example_projects(bundle.directory / "projects")
    jobs = bundle.projects.load([bundle.directory / "projects"]).configuration.jobs
    values = {job.identifier: resolve(document(job).parameters, {}) for job in jobs}
    assert values["parameters"] == {"name": "world", "times": 2, "greeting": "Hello", "loud": False}
    assert values["real"] == {"repository": "", "tests": "tests", "runner": "unittest", "copy_to": "output-copy.txt"}


def document(job: Job) -> JobDocument:
    return msgspec.convert(job.document, JobDocument)


JOB_ORCHESTRA = """\
def configure():
    python = "{environment[python3_executable]}"
    def job(identifier, code):
        return {
            "identifier": identifier, "display_name": identifier, "description": "",
            "definition": {"type": "job", "commands": [[python, "-c", code]]},
            "parameters": [], "properties": {"is_controller": False},
        }
    return {"projects": [{
        "identifier": "tests", "display_name": "Tests", "services": {},
        "jobs": [
            job("success", "print('hello')"), job("sleep", "import time; time.sleep(5)"),
            job("failure", "raise RuntimeError"), job("exception", "print('{undefined}')"),
        ],
        "schedules": [{
            "identifier": "success_nightly", "display_name": "nightly", "job": "success", "parameters": {},
            "expression": "0 0 * * *",
        }],
    }]}
"""


def test_req_D2_job_orchestras_own_definitions_load_unchanged(bundle: Bundle) -> None:
    bundle.load(JOB_ORCHESTRA, "p.py")
    jobs = {job.identifier: job for job in bundle.projects.jobs("tests")}
    assert list(jobs) == ["success", "sleep", "failure", "exception"]
    assert all(job.blocking == () for job in jobs.values()), "each of them runs"
    assert [name for name, job in jobs.items() if job.findings] == ["exception"]
    assert jobs["sleep"].document["definition"]["commands"] == [
        ["{environment[python3_executable]}", "-c", "import time; time.sleep(5)"]
    ]
