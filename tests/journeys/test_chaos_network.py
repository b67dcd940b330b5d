"""A worker behind a network that goes silent: both sides notice, and the run that goes on meanwhile loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import write_worker_file
from appliance.crash_test.proxy import Proxy
from tests.journeys.printing import PROJECTS, Printing
from tests.journeys.site import LONG_ENOUGH, Program, Site, opened

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        yield site


@pytest.fixture(scope="module")
def proxy(site: Site) -> Iterator[Proxy]:
    """Between the server and the one worker that there is."""
    with Proxy(site.port) as proxy:
        home = site.directory / "here"
        token = site.client.create_worker("here")["token"]
        write_worker_file(home, url=f"http://127.0.0.1:{proxy.port}", token=token, name="here", slots=2)
        program = Program(["worker", "run", "--config", str(home / "worker.toml")], site.directory / "here.log")
        site.workers["here"] = program
        program.start()
        yield proxy


def test_fault_F11_goal_R5_both_sides_notice_a_connection_that_has_gone_silent(
    site: Site, proxy: Proxy, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        number = proxy.connections
        proxy.refuse(LONG_ENOUGH)  # or the server would hear of the silence from the worker's next connection
        assert proxy.silence() == 1
        silent_at = time.monotonic()
        for side, who in (("near", "worker"), ("far", "server")):
            assert proxy.wait_for_hangup(side, number, LONG_ENOUGH)
            seconds = time.monotonic() - silent_at
            print(f"half-open: at the latest after {seconds:.1f} s the {who} had noticed and hung up; the goal is 25 s")
        assert site.client.run(printing.run_id)["status"] == "running"
        proxy.refuse(0.0)
    printing.assert_ended_well()
    site.assert_healthy()


def test_fault_F11_a_newer_connection_of_the_same_worker_wins_at_once(site: Site, proxy: Proxy, tmp_path: Path) -> None:
    """The server has not noticed anything when the worker, started anew, is there again."""
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        site.reach(printing.run_id, lambda run: run["status"] == "running")
        number = proxy.connections
        assert proxy.silence() == 1
        site.worker.kill()
        site.worker.start()
    printing.assert_ended_well()
    assert proxy.wait_for_hangup("far", number, LONG_ENOUGH)
    site.assert_healthy()


def test_fault_F11_the_server_notices_a_worker_that_is_stopped_and_the_run_ends_well(
    site: Site, proxy: Proxy, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "middle")
    printing.trigger()
    with printing.at("middle"):
        site.reach(printing.run_id, lambda run: run["status"] == "running")
        number = proxy.connections
        site.worker.pause()
        stopped_at = time.monotonic()
        try:
            assert proxy.wait_for_hangup("far", number, LONG_ENOUGH)
            seconds = time.monotonic() - stopped_at
            print(f"stopped worker: after {seconds:.1f} s the server had noticed and hung up; the goal is 25 s")
        finally:
            site.worker.go_on()
        assert proxy.wait_for_connection(number + 1, LONG_ENOUGH)
    printing.assert_ended_well()
    site.assert_healthy()
