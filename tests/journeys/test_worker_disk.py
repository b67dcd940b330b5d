"""A worker's disk fills up, by its jobs and by others, and is freed again (F17, R8)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.prober import Prober
from tests.journeys.site import PASSWORD, Program, Site, opened
from tests.journeys.visitor import Visitor
from tests.small_disk import fill, free, mounted

SIZE = 16 << 20  # bytes of the worker's disk
MUCH = 24 << 20  # bytes that a job prints
HEALS_WITHIN = 60.0  # seconds
WAIT = 'until [ -e "$GO" ]; do sleep 0.05; done'  # all begin before the disk is full
PRINT = f"{WAIT}; head -c {MUCH} /dev/zero | tr '\\0' x; echo; echo last words"


def job(identifier: str, command: str, **more: Any) -> dict[str, Any]:
    return {"identifier": identifier, "definition": {"commands": [command]}, **more}


def projects(go: Path) -> dict[str, Any]:
    """Jobs that print when the file ``go`` is there, and a small one."""
    environment = {"GO": str(go)}
    jobs = [
        job("much", f"{PRINT}; exit 3", environment=environment),
        job("whole", f"{PRINT}; exit 3", environment=environment, on_log_full="abort", grace="1s"),
        job("endless", f"{WAIT}; yes", environment=environment, grace="1s"),
        job("little", "echo a few words; echo '{\"n\": 1}' > $ORCHESTRA_RESULTS"),
    ]
    return {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": jobs}]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server, and a worker on a small disk that keeps what the server has for one second."""
    home = tmp_path / "here"
    with mounted(home, SIZE), opened(tmp_path, projects(tmp_path / "go")) as site:
        join = site.client.create_worker("here", {})["join"].split()[1:]
        site.out(*join, "--slots", "4", "--data", str(home))
        with (home / "worker.toml").open("a") as settings:
            settings.write('\n[log]\nlevel = "info"\n')
        text = (home / "worker.toml").read_text().replace("[worker]\n", '[worker]\nretention = "1s"\n', 1)
        (home / "worker.toml").write_text(text)
        site.workers["here"] = Program(["worker", "run", "--config", str(home / "worker.toml")], tmp_path / "here.log")
        site.worker.start()
        yield site


def until(reached: Callable[[], bool], what: str) -> float:
    """Ask until it is so; answers after how many seconds."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < HEALS_WITHIN, f"{what} has not come"
    return time.monotonic() - began


def cycle(site: Site, visitor: Visitor) -> None:
    """Ten runs: three that print more than the disk holds, six when it is free again, one that waits meanwhile."""
    home = site.directory / "here"
    much, whole, endless = (site.trigger(name) for name in ("much", "whole", "endless"))
    begun = (much, whole, endless)
    until(lambda: all(site.client.run(run_id)["started_at"] for run_id in begun), "the first command of each")
    go = site.directory / "go"
    go.touch()
    until(lambda: free(home) < 1 << 16, "a full disk")
    assert_ended_without_room(site, visitor, much, whole)
    assert site.client.run(endless)["status"] == "running"  # its pipe is emptied, full disk or not
    site.client.abort(endless)
    ended = site.wait(endless)
    assert (ended["status"], ended["reason"]) == ("aborted", "requested")
    assert set(site.log(endless)) <= set(b"y\n")  # none, if the others took all the room
    assert any("output is incomplete from byte" in note for note in ended["notes"])
    go.unlink()  # not before: on a busy machine a run may see it late
    began = time.monotonic()
    for run_id in [site.trigger("little") for _ in range(6)]:
        assert_little_is_whole(site, run_id)
    healed = time.monotonic() - began
    declined = site.worker.log.read_text().count("is declined")
    filler = fill(home, leave=1 << 18)
    waiting = site.trigger("little")
    until(lambda: site.worker.log.read_text().count("is declined") > declined, "a declined run")
    until(lambda: site.client.run(waiting)["status"] == "pending", "a run that waits again")
    filler.unlink()
    began = time.monotonic()
    assert_little_is_whole(site, waiting)
    print(f"six runs were whole {healed:.1f} s after the end of the output, one {time.monotonic() - began:.1f} s after")
    assert max(healed, time.monotonic() - began) < HEALS_WITHIN


def assert_ended_without_room(site: Site, visitor: Visitor, much: str, whole: str) -> None:
    """One goes on and keeps its own status, one ends for it; both say where output stops, and the page too."""
    for run_id in (much, whole):
        run = site.wait(run_id)
        end = (run["status"], run["reason"])
        assert end == (("failed", "exit_code") if run_id == much else ("errored", "disk_full")), run["sentence"]
        log = site.log(run_id)
        assert len(log) < MUCH and set(log) <= set(b"x\nlast words")
        assert run["log"] == {
            "size": len(log),
            "sha256": hashlib.sha256(log).hexdigest(),
            "complete": True,
            "verified": True,
        }
        (note,) = [note for note in run["notes"] if "incomplete" in note][:1]
        assert note.startswith("the disk of the worker was full: output is incomplete from byte ")
        assert note in visitor.open(f"{site.url}/p/journeys/{run['job']}/{run['number']}")


def assert_little_is_whole(site: Site, run_id: str) -> None:
    run = site.wait(run_id)
    assert (run["status"], run["exit"]["code"]) == ("succeeded", 0), (run["reason"], run["sentence"])
    assert site.log(run_id) == b"a few words\n"
    assert site.client.results(run_id) == {"n": 1}


def cycles(site: Site, count: int) -> None:
    visitor = Visitor()
    visitor.open(f"{site.url}/login", {"user": "root", "password": PASSWORD}, "/login")
    with Prober(site).asking() as prober:
        for _ in range(count):
            cycle(site, visitor)
    prober.assert_always_answered()
    site.assert_healthy()


def test_goal_R8_fault_F17_two_times_full_lose_no_run(site: Site) -> None:
    cycles(site, 2)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_goal_R8_fault_F17_ten_times_full_lose_no_run(site: Site) -> None:
    cycles(site, 10)
