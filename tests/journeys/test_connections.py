"""Who is a worker when there is more than one claim to it: two connections, a wiped disk, a removed account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appliance.model.errors import Conflict
from tests.journeys.raw_worker import OUTPUT, RawWorker, dial, token_of
from tests.journeys.site import Site, opened

NAMES = ("twice", "copied", "wiped", "removed", "silent")
JOBS: list[dict[str, Any]] = [
    {"identifier": name, "requires": {"who": name}, "definition": {"commands": ["true"]}} for name in NAMES
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS, has_own_clock=True) as site:
        yield site


def test_fault_F15_of_two_connections_with_one_journal_the_newer_wins(site: Site) -> None:
    token = token_of(site, "twice")
    with RawWorker(site, token) as older:
        older.greet()
        run, held = older.begin("twice")
        with RawWorker(site, token, older.journal) as newer:
            welcome = newer.greet(held)
            assert older.closed()[0] == 4001
            (resume,) = welcome["resume"]
            assert (resume["run"], resume["sizes"]["0"]) == (run, 12)
            newer.exit(run, OUTPUT)
            newer.hear("committed")
    assert site.wait(run)["status"] == "succeeded"
    assert site.log(run) == OUTPUT
    site.assert_healthy()


def test_fault_F15_another_machine_with_the_token_of_a_living_one_is_refused(site: Site) -> None:
    token = token_of(site, "copied")
    with RawWorker(site, token) as first:
        first.greet()
        run, held = first.begin("copied")
        with RawWorker(site, token) as second:
            second.hello(held)
            code, reason = second.closed()
            assert code == 4003
            assert reason
        first.exit(run, OUTPUT)
        first.hear("committed")
    assert site.wait(run)["status"] == "succeeded"
    assert "used by two machines" in site.server.log.read_text()
    site.assert_healthy()


def test_fault_F26_runs_of_a_worker_whose_disk_was_wiped_end_as_worker_reset(site: Site) -> None:
    token = token_of(site, "wiped")
    with RawWorker(site, token) as before:
        before.greet()
        run, held = before.begin("wiped")
        waiting = site.trigger("wiped")  # assigned, and never accepted: nobody knows whether it began
        before.hear("assign")
    with RawWorker(site, token) as early:
        early.hello()
        assert early.closed()[0] == 4003
    assert site.client.run(run)["status"] == "running"
    site.set_clock_ahead(100)
    with RawWorker(site, token) as after:
        after.greet()
        for one in (run, waiting):
            ended = site.wait(one)
            assert (ended["status"], ended["reason"]) == ("errored", "worker_reset"), ended["sentence"]
        assert site.log(run) == OUTPUT
        with RawWorker(site, token, before.journal) as late:
            late.hello(held)
            assert late.closed()[0] == 4003
        ended = site.client.run(run)
        after.begin("wiped")  # the new one works
        assert site.client.run(run) == ended
    site.assert_healthy()


def test_fault_F25_a_removed_worker_is_closed_at_once_and_its_token_is_dead(site: Site) -> None:
    token = token_of(site, "removed")
    with RawWorker(site, token) as worker:
        worker.greet()
        run, _ = worker.begin("removed")
        with pytest.raises(Conflict):
            site.client.remove_worker("removed")
        worker.exit(run, OUTPUT)
        worker.hear("committed")
        assert site.wait(run)["status"] == "succeeded"
        site.client.remove_worker("removed")
        assert worker.closed()[0] == 4002
    with pytest.raises(InvalidStatus) as refused, dial(site, token):
        pass
    assert refused.value.response.status_code == 401
    assert site.client.run(run)["worker"] == "removed"
    site.assert_healthy()


@pytest.mark.long
def test_fault_F10_a_run_of_a_silent_worker_is_lost_and_corrected_once_it_is_back(site: Site) -> None:
    token = token_of(site, "silent")
    with RawWorker(site, token) as worker:
        worker.greet()
        run, held = worker.begin("silent")
    site.set_clock_ahead(10_000)
    lost = site.reach(run, lambda found: found["status"] == "lost")
    assert lost["reason"] == "worker_lost"
    with pytest.raises(Conflict):
        site.client.cancel(run)
    with RawWorker(site, token, worker.journal) as back:
        back.greet(held)
        assert site.client.run(run)["status"] == "running"
        back.exit(run, OUTPUT, status="failed", reason="exit_code", code=3)
        back.hear("committed")
    ended = site.wait(run)
    assert (ended["status"], ended["exit"]["code"]) == ("failed", 3)
    site.assert_healthy()
