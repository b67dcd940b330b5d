"""Cancel, abort, expiry, disabling and repeated triggers, with everything in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.client import Client
from appliance.model.errors import Conflict
from tests.journeys.printing import JOB, Printing
from tests.journeys.raw_worker import RawWorker
from tests.journeys.site import Site, is_alive, opened, wait_for_end

JOBS: list[dict[str, Any]] = [
    {**JOB, "requires": {"who": "here"}},
    {"identifier": "quick", "requires": {"who": "here"}, "definition": {"commands": ["true"]}},
    {"identifier": "elsewhere", "requires": {"who": "elsewhere"}, "definition": {"commands": ["true"]}},
    {"identifier": "leased", "requires": {"who": "raw"}, "definition": {"commands": ["true"]}},
    {"identifier": "nowhere", "requires": {"who": "nobody"}, "expires": "1h", "definition": {"commands": ["true"]}},
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS, has_own_clock=True) as site:
        site.add_worker(who="here")
        site.add_worker("elsewhere", who="elsewhere")
        yield site


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    module_site.heal()
    yield module_site
    module_site.assert_healthy()


@pytest.fixture
def raw(site: Site, request: pytest.FixtureRequest) -> Iterator[RawWorker]:
    """A worker that only does what the test says; gone for good at the end."""
    name = f"raw-{abs(hash(request.node.name))}"
    with RawWorker(site, str(site.client.create_worker(name, {"who": "raw"})["token"])) as worker:
        worker.greet()
        yield worker
    site.client.remove_worker(name)


def how(run: dict[str, Any]) -> tuple[str, str]:
    return run["status"], run["reason"]


def test_defect_J13_cancelling_an_assigned_run_asks_the_worker_and_it_never_starts(site: Site, raw: RawWorker) -> None:
    run = site.trigger("leased")
    raw.hear("assign")
    assert site.client.cancel(run)["outcome"] == "withdrawing"
    assert site.client.run(run)["status"] == "assigned"
    assert raw.hear("withdraw")["run"] == run
    raw.say("unknown", run=run)
    ended = site.wait(run)
    assert how(ended) == ("cancelled", "requested")
    assert ended["started_at"] is None
    with pytest.raises(Conflict):
        site.client.cancel(run)


def test_defect_J13_a_cancel_that_comes_too_late_becomes_an_abort(site: Site, raw: RawWorker) -> None:
    run = site.trigger("leased")
    raw.hear("assign")
    site.client.cancel(run)
    raw.hear("withdraw")
    raw.say("accepted", run=run)
    assert raw.hear("abort")["run"] == run
    raw.exit(run, b"", status="aborted", reason="requested")
    raw.hear("committed")
    assert how(site.wait(run)) == ("aborted", "requested")


def test_defect_J13_an_assigned_run_is_cancelled_though_its_worker_went_away(site: Site, raw: RawWorker) -> None:
    run = site.trigger("leased")
    raw.hear("assign")
    raw.close()
    site.reach(run, lambda found: not found["should_abort"])
    site.client.cancel(run)
    with RawWorker(site, raw.token, raw.journal) as back:
        back.greet()
        assert how(site.wait(run)) == ("cancelled", "requested")


def test_fault_F27_an_aborted_job_is_gone(site: Site, tmp_path: Path) -> None:
    printing = Printing(site, tmp_path, "middle")
    run = printing.trigger()
    with printing.at("middle") as pid:
        site.reach(run, lambda found: found["status"] == "running")
        with pytest.raises(Conflict):
            site.client.cancel(run)
        assert site.client.abort(run)["outcome"] == "aborting"
        wait_for_end(pid)
    ended = site.wait(run)
    assert how(ended) == ("aborted", "requested"), ended["sentence"]
    assert not is_alive(pid)
    assert not (tmp_path / "ends").exists()
    assert site.log(run) == (tmp_path / "copy").read_bytes()
    for ask in (site.client.abort, site.client.cancel):
        with pytest.raises(Conflict):
            ask(run)
    assert site.client.run(run) == ended


@pytest.mark.parametrize("victim", ["server", "worker"])
def test_fault_F42_an_abort_that_was_answered_is_kept_across_a_kill(site: Site, tmp_path: Path, victim: str) -> None:
    printing = Printing(site, tmp_path, "middle")
    run = printing.trigger()
    with printing.at("middle") as pid:
        site.reach(run, lambda found: found["status"] == "running")
        if victim == "worker":
            site.worker.kill()
        assert site.client.abort(run)["outcome"] == "aborting"
        if victim == "server":
            site.server.kill()
        site.heal()
        wait_for_end(pid)
    assert how(site.wait(run)) == ("aborted", "requested")
    assert not (tmp_path / "ends").exists()


def test_fault_F42_an_abort_races_the_end_and_everybody_agrees(site: Site, tmp_path: Path) -> None:
    for number in range(12):
        printing = Printing(site, tmp_path / str(number), "end", pieces=10)
        run = printing.trigger()
        with printing.at("end") as pid:
            site.reach(run, lambda found: found["status"] == "running")
            if number % 3 == 0:
                abort(site, run)
        if number % 3 == 1:
            wait_for_end(pid)
        if number % 3:
            abort(site, run)
        ended = site.wait(run)
        record = json.loads((site.directory / "here" / "runs" / run / "exit.json").read_text())
        assert (record["status"], record["reason"]) == how(ended)
        assert how(ended) in (("aborted", "requested"), ("succeeded", None))
        assert not is_alive(pid)


def abort(site: Site, run: str) -> None:
    """Unless it has ended."""
    try:
        site.client.abort(run)
    except Conflict as conflict:
        assert "ended" in str(conflict)


def test_an_abort_at_once_ends_the_run_whatever_its_state(site: Site) -> None:
    for _ in range(8):
        run = site.trigger("quick")
        abort(site, run)
        ended = site.wait(run)
        assert ended["status"] in ("cancelled", "aborted", "succeeded"), ended


def test_a_pending_run_expires_and_never_starts(site: Site) -> None:
    run = site.trigger("nowhere")
    kept = site.trigger("leased")
    site.set_clock_ahead(3700)
    site.server.kill()  # the sweep comes with the start
    site.heal()
    ended = site.wait(run)
    assert how(ended) == ("cancelled", "expired")
    assert ended["started_at"] is None
    assert site.client.run(kept)["status"] == "pending"
    site.client.cancel(kept)


def test_fault_F43_a_disabled_worker_finishes_what_it_has_and_gets_nothing_new(site: Site, tmp_path: Path) -> None:
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        site.client.enable_worker("here", False)
        waiting = site.trigger("quick")
        other = site.wait(site.trigger("elsewhere"))
        assert other["status"] == "succeeded"  # so the dispatcher has looked at what waits
        site.server.kill()
        site.worker.kill()
        site.heal()
    printing.assert_ended_well()
    assert site.wait(site.trigger("elsewhere"))["status"] == "succeeded"
    assert site.client.run(waiting)["status"] == "pending"
    site.client.enable_worker("here", True)
    assert site.wait(waiting)["status"] == "succeeded"


def test_fault_F13_a_repeated_trigger_is_one_run_also_across_a_kill(site: Site) -> None:
    def trigger(_: int) -> str:
        with Client(site.url, site.token) as client:
            run_id: str = client.trigger("journeys", "quick", key="once")["id"]
            return run_id

    with ThreadPoolExecutor(8) as threads:
        runs = set(threads.map(trigger, range(16)))
    site.server.kill()
    site.heal()
    runs.add(trigger(0))
    (run,) = runs
    assert site.wait(run)["status"] == "succeeded"
    assert trigger(0) == run
    with pytest.raises(Conflict):
        site.client.trigger("journeys", "elsewhere", key="once")
