"""The server's wall clock is set wrong while a job runs, and while the server is down (F22)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.journeys.printing import JOB, Printing
from tests.journeys.site import Site, opened

HOUR, YEAR = 3600.0, 365 * 86_400.0
NOWHERE: dict[str, Any] = {
    "identifier": "nowhere",
    "requires": {"there": "never"},
    "definition": {"commands": ["true"]},
}
PROJECTS: dict[str, Any] = {
    "projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": [JOB, NOWHERE]}]
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS, has_own_clock=True) as site:
        site.add_worker()
        yield site


def dashboard(site: Site) -> str:
    request = Request(site.url, headers={"Authorization": f"Bearer {site.token}"})
    with urlopen(request) as answer:
        return str(answer.read(), "utf-8")


def length(run: dict[str, str]) -> float:
    """Seconds from the beginning to the end of a run, as the service says them."""
    began, ended = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


@pytest.mark.parametrize("jump", [HOUR, YEAR, -HOUR, -YEAR])
def test_fault_F22_no_run_token_or_waiting_run_notices_that_the_clock_was_wrong(
    site: Site, tmp_path: Path, jump: float
) -> None:
    printing = Printing(site, tmp_path, "middle")
    site.set_clock_wrong(0.0)
    printing.trigger()
    with printing.at("middle"):
        site.reach(printing.run_id, lambda found: found["started_at"] is not None)
        site.set_clock_wrong(jump)
        assert "clock moved back" in dashboard(site) or "clock jumped ahead" in dashboard(site)
        waiting = site.trigger("nowhere")
    assert 0 <= length(printing.assert_ended_well()) < HOUR / 2
    site.set_clock_wrong(0.0)
    assert "clock moved back" not in dashboard(site) and "clock jumped ahead" not in dashboard(site)
    assert site.client.run(waiting)["status"] == "pending"
    site.client.cancel(waiting)
    site.assert_healthy()


def test_fault_F22_a_server_that_comes_back_in_the_past_goes_on_from_the_time_it_knew(
    site: Site, tmp_path: Path
) -> None:
    before = site.client.run(site.trigger("nowhere"))
    assert site.server.terminate() == 0
    site.set_clock_wrong(-YEAR)
    site.heal()
    assert "clock moved back 36" in dashboard(site)
    printing = Printing(site, tmp_path)
    after = site.client.run(printing.trigger())
    assert after["created_at"] > before["created_at"]
    printing.assert_ended_well()
    newest_first = [run["id"] for run in site.client.runs(limit=2)]
    assert newest_first == [after["id"], before["id"]]
    site.client.cancel(before["id"])
