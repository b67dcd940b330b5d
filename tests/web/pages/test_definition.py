"""What pages show of the definition a run had, and of jobs and projects that were removed (D3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from appliance.db.repository import ProjectSet
from appliance.model import definitions
from appliance.model.entities import Job, Lease, Run, Source
from appliance.model.run_state import Status
from appliance.projects import definition_version
from appliance.web.pages import definition
from tests.web.pages.site import JOBS, Site


def put(site: Site, documents: list[dict[str, Any]]) -> None:
    """These jobs of the website are in force; without one, the project is gone."""
    jobs = tuple(
        Job("website", one["identifier"], one["identifier"], "", one, definition_version(one)) for one in documents
    )
    projects = tuple(site.repository.projects.projects()) if documents else ()
    site.repository.projects.apply(ProjectSet(projects, jobs, ()), site.clock.now())


@pytest.fixture
def number(site: Site) -> int:
    return site.run("deploy", Status.SUCCEEDED, b"deployed\n").number


def test_a_long_command_is_folded_and_a_very_long_one_is_cut() -> None:
    texts = ["make", "one\ntwo\nthree\nfour", "x" * 5000, *(["true"] * 200)]
    document = definitions.job_of({"identifier": "j", "definition": {"commands": texts}})
    shown, more = definition.commands(document)
    assert (len(shown), more) == (definition.COMMANDS, len(texts) - definition.COMMANDS)
    assert [one.is_block for one in shown[:4]] == [False, True, True, False]
    assert len(shown[2].text) < definition.COMMAND + 5


def test_req_D3_a_run_shows_the_commands_it_had_and_nothing_to_note_while_they_are_in_force(
    site: Site, number: int
) -> None:
    page = site.login().get(f"/p/website/deploy/{number}").text
    assert "./deploy.sh" in page
    assert "The job has changed" not in page and "was removed" not in page


def test_req_D3_a_run_says_what_of_its_job_has_changed_since(site: Site, number: int) -> None:
    changed = copy.deepcopy(JOBS)
    changed[1]["definition"]["commands"] = [["./deploy-all.sh"]]
    changed[1]["timeout"] = "1h"
    put(site, changed)
    page = site.login().get(f"/p/website/deploy/{number}").text
    assert "./deploy.sh" in page and "./deploy-all.sh" not in page
    assert "The job has changed since: definition.commands[0][0], timeout." in page
    assert "This run keeps the version it was triggered with." in page


def test_many_changed_keys_are_counted(site: Site, number: int) -> None:
    changed = copy.deepcopy(JOBS)
    changed[1]["environment"] = {}
    changed[1] |= dict.fromkeys(("timeout", "expires", "grace", "lost_after", "log_limit"), "1h")
    put(site, changed)
    page = site.login().get(f"/p/website/deploy/{number}").text
    assert "environment, timeout, expires, grace, lost_after and 1 more." in page


@pytest.mark.parametrize("left", [JOBS[:1], []], ids=["job", "project"])
def test_req_D3_the_pages_of_what_was_removed_stay(site: Site, number: int, left: list[dict[str, Any]]) -> None:
    put(site, left)
    browser = site.login()
    run = browser.get(f"/p/website/deploy/{number}")
    assert run.status == 200
    assert "The job was removed from the project files since." in run.text and "./deploy.sh" in run.text
    assert "deployed" in browser.get(f"/p/website/deploy/{number}/log").text
    job = browser.get("/p/website/deploy")
    assert job.status == 200
    assert "removed</span>" in job.text and "Its history stays." in job.text
    assert f"/p/website/deploy/{number}" in job.text
    assert 'name="parameters.' not in job.text and ">Trigger</button>" not in job.text
    assert browser.get("/p/website").status == 200
    assert ("This project was removed" in browser.get("/p/website").text) == (not left)


def test_what_never_ran_is_gone_with_its_definition(site: Site, number: int) -> None:
    put(site, JOBS[1:2])
    browser = site.login()
    ran = {name: browser.get(f"/p/website/{name}").status for name in ("deploy", "nightly")}
    assert ran == {"deploy": 200, "nightly": 404}
    answer = browser.get("/p/neverwas")
    assert answer.status == 404


def test_a_removed_job_cannot_be_triggered(site: Site, number: int) -> None:
    browser = site.login()
    put(site, JOBS[:1])
    assert browser.submit("/p/website/deploy", {}, "/p/website").status == 404


def test_fault_F24_a_run_that_came_back_is_shown_though_the_backup_does_not_know_its_definition(site: Site) -> None:
    worker = site.parts.workers.named("build-1").worker
    now = site.clock.now()
    run_id = "5" * 8 + "-5555-4555-8555-" + "5" * 12
    run = Run(
        id=run_id,
        project="website",
        job="deploy",
        number=77,
        status=Status.ASSIGNED,
        parameters={"t": "hush"},
        source=Source(type="user", user="ada"),
        definition_version="since the backup",
        created_at=now,
        assigned_at=now,
        worker_id=worker.id,
        worker=worker.name,
        slot=0,
        recovered=True,
    )
    assert site.repository.runs.recover(run, Lease(run_id, worker.id, "j" * 32, 1, 0, "c" * 64, "{}", now))
    page = site.login().get("/p/website/deploy/77")
    assert page.status == 200
    assert definition.GONE in page.text and "as JSON" not in page.text
    assert "hush" not in page.text  # it may be one that is not to be shown
    put(site, JOBS[1:2])
    assert site.login().get("/p/website/deploy").status == 200
