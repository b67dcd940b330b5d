"""The server, the worker or both are killed while a job prints: the run ends as it would have, and ran once.

Killed with SIGKILL at ten moments each; the job tells the moment, or the events and the log of the run do.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from appliance.crash_test.victims import find, strike
from tests.journeys.printing import Printing
from tests.journeys.site import Site, is_alive, wait_for_end

Moment = Callable[[Printing], AbstractContextManager[None]]


@contextmanager
def triggered(printing: Printing) -> Iterator[None]:
    """The trigger was answered, and that is all we know."""
    yield


@contextmanager
def assigned(printing: Printing) -> Iterator[None]:
    printing.site.reach(printing.run_id, lambda run: run["status"] != "pending")
    yield


@contextmanager
def accepted(printing: Printing) -> Iterator[None]:
    printing.site.reach(printing.run_id, lambda run: run["status"] not in ("pending", "assigned"))
    yield


@contextmanager
def begun(printing: Printing) -> Iterator[None]:
    """The command runs, and has printed nothing."""
    with printing.at("begin"):
        yield


def seen(size: int) -> Moment:
    """So many bytes of the log are on the server, and the job prints on."""

    @contextmanager
    def moment(printing: Printing) -> Iterator[None]:
        found = 0
        for part in printing.site.client.follow_log(printing.run_id):
            found += len(part)
            if found >= size:
                break
        yield

    return moment


@contextmanager
def silent(printing: Printing) -> Iterator[None]:
    """The job has stopped printing, and goes on when there is nobody to hear it."""
    with printing.at("middle"):
        yield


@contextmanager
def ends_unseen(printing: Printing) -> Iterator[None]:
    """All is printed; the job ends when there is nobody to see it."""
    with printing.at("end") as pid:
        yield
    wait_for_end(pid)


@contextmanager
def ending(printing: Printing) -> Iterator[None]:
    """The command has ended in this very moment."""
    with printing.at("end") as pid:
        pass
    wait_for_end(pid)
    yield


MOMENTS: dict[str, tuple[Moment, tuple[str, ...]]] = {
    "triggered": (triggered, ()),
    "assigned": (assigned, ()),
    "accepted": (accepted, ()),
    "begun": (begun, ("begin",)),
    "first byte": (seen(1), ()),
    "a tenth": (seen(50_000), ()),
    "silent": (silent, ("middle",)),
    "two thirds": (seen(330_000), ()),
    "ends unseen": (ends_unseen, ("end",)),
    "ending": (ending, ("end",)),
}
QUICK = {
    "server": ("accepted", "two thirds", "ending"),
    "worker": ("assigned", "begun", "ends unseen"),
    "both": ("triggered", "a tenth", "ending"),
}


def kills(victims: str) -> pytest.MarkDecorator:
    """All moments; those that are not quick are left to the long run."""
    names = [
        pytest.param(name, marks=() if name in QUICK[victims] else pytest.mark.long, id=name.replace(" ", "_"))
        for name in MOMENTS
    ]
    return pytest.mark.parametrize("moment", names)


def test_there_are_ten_moments_of_which_some_are_quick() -> None:
    assert len(MOMENTS) == 10
    assert all(set(quick) < set(MOMENTS) for quick in QUICK.values())


@kills("server")
def test_fault_F01_a_killed_server_costs_a_run_nothing(site: Site, tmp_path: Path, moment: str) -> None:
    survive(site, tmp_path, moment, [site.server.kill])


@kills("worker")
def test_fault_F03_a_killed_worker_costs_a_run_nothing(site: Site, tmp_path: Path, moment: str) -> None:
    survive(site, tmp_path, moment, [site.worker.kill])


@kills("both")
def test_fault_F01_server_and_worker_killed_together_cost_a_run_nothing(
    site: Site, tmp_path: Path, moment: str
) -> None:
    survive(site, tmp_path, moment, [site.server.kill, site.worker.kill])


def test_fault_F03_the_command_goes_on_as_the_same_process_when_its_worker_is_killed(
    site: Site, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "begin", "middle", code=7)
    printing.trigger()
    with printing.at("begin") as pid:
        site.worker.kill()
        assert is_alive(pid)
    with printing.at("middle") as still:  # it has printed half of its output while there was no worker
        assert still == pid
        site.worker.start()
        site.reach(printing.run_id, lambda run: run["status"] == "running")
        assert is_alive(pid)
        assert printing.pid == pid
    assert printing.assert_ended_well()["reason"] == "exit_code"
    site.assert_healthy()


def test_fault_F05_a_killed_executor_takes_the_command_along_and_the_output_so_far_is_kept(
    site: Site, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path, "middle")
    run_id = printing.trigger()
    with printing.at("middle") as pid:
        (executor,) = [one for one in find([site.directory / "here"]) if one.kind == "executor"]
        assert executor.run_id == run_id
        assert strike(executor, signal.SIGKILL, [site.directory / "here"])
        wait_for_end(pid)
        ended = site.wait(run_id)
    assert (ended["status"], ended["reason"]) == ("errored", "executor_killed")
    assert "executor was killed; output until" in ended["sentence"]
    assert ended["log"]["verified"]
    log, written = site.log(run_id), (tmp_path / "copy").read_bytes()
    assert log and written.startswith(log)
    assert find([site.directory / "here"]) == []
    site.assert_healthy()


def survive(site: Site, place: Path, name: str, kills: list[Callable[[], None]]) -> None:
    """Half of the jobs end with code 7, so that a status cannot be true by chance."""
    moment, gates = MOMENTS[name]
    printing = Printing(site, place, *gates, code=7 * (list(MOMENTS).index(name) % 2))
    printing.trigger()
    with moment(printing):
        for kill in kills:
            kill()
    site.heal()
    printing.assert_ended_well()
    site.assert_healthy()


def test_fault_F04_a_worker_told_to_stop_leaves_its_job_alone_and_says_so(site: Site, tmp_path: Path) -> None:
    printing = Printing(site, tmp_path / "stopped", "middle", code=0)
    printing.trigger()
    with printing.at("middle") as pid:
        assert site.worker.terminate() == 0
        assert "1 run goes on without this worker, which takes up its runs again" in site.worker.log.read_text()
        assert printing.pid == pid and is_alive(pid)
    site.worker.start()
    printing.assert_ended_well()
    site.assert_healthy()


def test_fault_F02_a_server_told_to_stop_does_so_and_leaves_jobs_alone(site: Site, tmp_path: Path) -> None:
    printings = [Printing(site, tmp_path / str(number), "middle", code=number) for number in range(3)]
    for printing in printings:
        printing.trigger()
    first, second, third = printings
    with first.at("middle") as one, second.at("middle") as two, third.at("middle") as three:
        began = time.monotonic()
        code = site.server.terminate()
        print(f"SIGTERM with 3 running jobs: the server ended within {time.monotonic() - began:.2f} s")
        assert code == 0
        assert [printing.pid for printing in printings] == [one, two, three]
        assert all(is_alive(pid) for pid in (one, two, three))
    site.server.start()
    for printing in printings:
        printing.assert_ended_well()
    site.assert_healthy()
