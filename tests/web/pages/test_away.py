"""What the page of a run says and offers when its worker is away, and what the list of workers says of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appliance.leases import Holder
from appliance.model.entities import Run
from appliance.model.run_state import Reason, Status
from appliance.wire import messages as m
from appliance.workers import Registration
from tests.web.pages.site import Site

LOG = b"first line\n"


def page(site: Site, run: Run, user: str = "ada") -> str:
    return site.login(user).get(f"/p/{run.project}/{run.job}/{run.number}").text


@pytest.fixture
def run(site: Site) -> Run:
    return site.run("nightly", Status.RUNNING, LOG)


def worker_of(site: Site, run: Run) -> Any:
    assert run.worker_id is not None
    return site.trial.workers.get(run.worker_id)


def silence(site: Site, run: Run) -> None:
    """The worker of the run is not connected any more."""
    site.present.connected.discard(run.worker_id or "")


def test_fault_F10_only_a_run_whose_worker_is_away_can_be_declared_lost(site: Site, run: Run) -> None:
    assert "Declare lost" not in page(site, run)
    silence(site, run)
    shown = page(site, run)
    assert "Declare lost" in shown and "has been silent" in shown and "still counts as running" in shown
    assert "has been silent" in site.login().get("/").text
    browser = site.login()
    here = f"/p/{run.project}/{run.job}/{run.number}"
    after = browser.submit(f"{here}/declare-lost", {}, page=here)
    assert after.status == 303
    ended = site.trial.runs.get(run.id)
    assert (ended.status, ended.reason) == (Status.ERRORED, Reason.DECLARED_LOST)
    assert "declared lost by ada" in page(site, run) and "Declare lost" not in page(site, run)


def test_fault_F10_a_late_report_stands_on_the_page_of_its_run(site: Site, run: Run) -> None:
    silence(site, run)
    site.trial.lost_runs.declare(run.id, "ada")
    assert "reported later" not in page(site, run)
    lease = site.repository.runs.lease(run.id)
    if lease is None:
        pytest.fail("the run of this test has a lease")
    holder = Holder(lease.worker_id, lease.journal_id, "w1")
    site.trial.leases.append_log(holder, run.id, 0, 0, LOG)
    sizes: dict[str, Any] = {"sizes": {0: len(LOG)}, "digests": {0: "0" * 64}}
    for _ in range(2):  # the digest differs: it is sent once more, and flagged
        site.trial.leases.append_log(holder, run.id, 0, 0, LOG)
        record = m.Exited(id=1, run=run.id, status="succeeded", at=1.0, code=0, **sizes)
        site.trial.leases.exited(holder, record)
    shown = page(site, run)
    assert "reported later: succeeded at 1970-01-01 00:00:01 UTC" in shown
    assert "exit code 0" in shown and "log_mismatch" in shown
    assert f"/api/v1/runs/{run.id}/late/log" in shown
    assert site.login().get(f"/api/v1/runs/{run.id}/late/log").body == LOG
    assert site.trial.runs.get(run.id).status is Status.ERRORED


def test_fault_F10_the_list_of_workers_says_since_when_one_is_silent_and_what_it_has(site: Site, run: Run) -> None:
    silence(site, run)
    text = site.login().get("/workers").text
    assert "Is not connected since 2027-02-05 00:00:00 UTC." in text
    assert "1 of 4" in text


def test_the_memory_of_a_worker_is_shown_in_the_units_of_people_too(site: Site, run: Run) -> None:
    said = {"memory": 25_333_333_333, "memory_note": 5, "other": {"memory": 3}}
    site.trial.workers.register(run.worker_id or "", Registration("j" * 32, "0.1", 4, said, 0.0))
    text = site.login().get("/workers/build-1").text
    assert "25333333333 (23.6 GiB)" in text and text.count("GiB") == 2  # the other is the room on its disk


def test_fault_F25_the_list_of_workers_says_who_revoked_one_and_what_waits(site: Site, run: Run) -> None:
    worker = worker_of(site, run)
    silence(site, run)
    site.trial.lost_runs.revoke(worker.name, "ada")
    text = site.login().get("/workers").text
    assert "revoked by ada at" in text and "1 of its runs waits" in text


def test_fault_F37_the_list_of_workers_says_which_one_is_too_old(site: Site, run: Run) -> None:
    silence(site, run)
    said = "the worker is too old: it speaks protocol 1 to 1, the server 2 to 3"
    site.present.refusal = lambda worker_id: said if worker_id == run.worker_id else ""  # type: ignore[method-assign]  # as the master would say
    text = site.login().get("/workers").text
    assert said in text and "1 of its runs waits" in text
    assert msgspec.json.decode(site.login().get(f"/api/v1/workers/{worker_of(site, run).name}").body)["trouble"]
