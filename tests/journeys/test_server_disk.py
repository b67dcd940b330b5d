"""The server's disk fills up while runs print, and is freed again: nothing is lost, nobody is told 500 (F16, R8)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.db.room import FILE
from appliance.model.errors import Full
from tests.journeys.printing import PROJECTS, Printing
from tests.journeys.prober import Prober
from tests.journeys.site import PASSWORD, Site, opened
from tests.journeys.visitor import Visitor
from tests.small_disk import fill, mounted

RUNS = 10
PIECES = 240  # of a job here: about 200 KB, a half of it before the disk is full
HEALS_WITHIN = 60.0  # seconds, by F16


@pytest.fixture
def size() -> int:
    return 8 << 20


@pytest.fixture
def site(tmp_path: Path, size: int) -> Iterator[Site]:
    """A server on a small disk of its own, and a worker elsewhere."""
    with mounted(tmp_path / "server", size), opened(tmp_path, PROJECTS) as site:
        site.add_worker(slots=RUNS)
        yield site


def until(reached: Callable[[], bool], what: str) -> float:
    """Ask until it is so; answers after how many seconds."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < HEALS_WITHIN, f"{what} has not come"
    return time.monotonic() - began


def cycle(site: Site, visitor: Visitor, place: Path, *, is_greedy: bool) -> None:
    """Ten runs are in the middle of their output when the disk is filled; it is freed when some cannot go on.

    ``is_greedy``: what fills it takes all of the reserve, too, as soon as the server gives that up.
    """
    home = site.directory / "server"
    reserve = (home / FILE).stat().st_size
    assert reserve > 0
    leave = 0 if is_greedy else reserve * 9 // 16  # output may have a half of it
    place.mkdir()
    printings = [Printing(site, place / str(number), "middle", code=number, pieces=PIECES) for number in range(RUNS)]
    connected_before = site.server.log.read_text().count("connected with")
    paused_before = site.server.log.read_text().count("keeps the rest of run")
    with ExitStack() as gates:
        for printing in printings:
            printing.trigger()
        for printing in printings:
            gates.enter_context(printing.at("middle"))
        filler = fill(home)
        until(lambda: site.client.health()["status"] == "degraded", "a degraded health")
    with pytest.raises(Full, match=r"the server.s disk has been full since"):
        site.trigger("print", place=str(place))

    def is_paused() -> bool:
        fill(home, leave)
        return site.server.log.read_text().count("keeps the rest of run") > paused_before

    until(is_paused, "a paused upload")
    assert_it_can_be_read(site, visitor, printings)

    def is_full() -> bool:
        fill(home, leave)
        return bool(site.client.health()["status"] == "degraded")

    until(is_full, "a full disk")  # the database may have given back a part of its -wal file meanwhile
    filler.unlink()
    healed = until(lambda: site.client.health()["status"] == "ok", "a good health")
    began = time.monotonic()
    for number, printing in enumerate(printings):
        assert_whole(printing, number)
    done = time.monotonic() - began
    print(f"healthy {healed:.1f} s after the disk was freed, all {RUNS} runs whole {done:.1f} s later")
    assert healed + done < HEALS_WITHIN
    log = site.server.log.read_text()
    # The worker comes back when there is room, and never in vain.
    assert log.count("connected with") - connected_before <= log.count("has room again")


def assert_it_can_be_read(site: Site, visitor: Visitor, printings: list[Printing]) -> None:
    """Reading works while the disk is full, logs are the beginning of what was printed, and pages say why."""
    states = [site.client.run(printing.run_id)["status"] for printing in printings]
    assert "running" in states
    for printing in printings:
        log = site.log(printing.run_id)
        assert (printing.place / "copy").read_bytes().startswith(log)
    assert "disk has been full since" in visitor.open(f"{site.url}/runs")


def assert_whole(printing: Printing, code: int) -> None:
    run = printing.site.wait(printing.run_id)
    told = {name: run[name] for name in ("status", "reason", "sentence", "exit", "log")}
    assert run["status"] == ("succeeded" if code == 0 else "failed"), told
    assert run["exit"]["code"] == code, told
    written = (printing.place / "copy").read_bytes()
    assert run["log"] == {
        "size": len(written),
        "sha256": hashlib.sha256(written).hexdigest(),
        "complete": True,
        "verified": True,
    }
    assert printing.site.log(printing.run_id) == written
    assert (printing.place / "starts").read_text().count("\n") == 1


def cycles(site: Site, place: Path, count: int) -> None:
    place.mkdir()
    visitor = Visitor()
    visitor.open(f"{site.url}/login", {"user": "root", "password": PASSWORD}, "/login")
    with Prober(site).asking() as prober:
        for number in range(count):
            cycle(site, visitor, place / str(number), is_greedy=number % 2 == 1)
    prober.assert_always_answered()
    site.assert_healthy()


def test_goal_R8_fault_F16_two_times_full_lose_nothing(site: Site, tmp_path: Path) -> None:
    cycles(site, tmp_path / "jobs", 2)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [32 << 20])
def test_goal_R8_fault_F16_ten_times_full_lose_nothing(site: Site, tmp_path: Path) -> None:
    cycles(site, tmp_path / "jobs", 10)
