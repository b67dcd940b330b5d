"""What the simulator has found, each as a story of its own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.clock import FakeClock
from appliance.model.run_state import Status
from appliance.worker import gate, rundir
from appliance.worker.journal import Journal
from tests.faults import invariants
from tests.faults.sim_disk import Died, Fuse, Platter, SimJournalDisk
from tests.faults.simulator import World
from tests.worker.executions import CAP, request_of

RUN = "11111111-2222-4333-8444-555555555555"
TOKEN = {"ORCHESTRA_TOKEN": "t"}


class Place:
    """A worker's directory on a platter."""

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.platter = Platter(directory, random.Random(seed))
        self.fuse = Fuse()
        self.disk = SimJournalDisk(self.platter, self.fuse)
        self.clock = FakeClock()

    def open(self, boot: str) -> Journal:
        """A worker process begins on this boot of its machine."""
        journal = Journal(self.platter.root, boot_id=boot, disk=self.disk, clock=self.clock)
        journal.open()
        return journal


@pytest.mark.parametrize("place", range(1, 9))
@pytest.mark.parametrize("seed", range(5))
def test_inv_I2_a_request_that_a_killed_worker_left_is_durable_before_it_is_launched(
    tmp_path: Path, place: int, seed: int
) -> None:
    """Else it runs, a power loss takes it away, and the master gives it away once more."""
    worker = Place(tmp_path / "w", seed)
    journal = worker.open("one")
    worker.platter.settle()
    worker.fuse.light(place)
    with contextlib.suppress(Died):
        journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    worker.fuse.quench()
    journal.close()
    journal = worker.open("one")
    waiting = journal.recover().waiting
    journal.close()
    worker.platter.lose_power()
    journal = worker.open("two")
    assert set(waiting) <= set(journal.recover().waiting)
    journal.close()


def test_fault_F07_a_run_aborted_before_its_machine_went_down_waits_for_no_secrets(tmp_path: Path) -> None:
    worker = Place(tmp_path / "w")
    journal = worker.open("one")
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), TOKEN)
    assert journal.intend_abort(RUN, 5.0)
    journal.close()
    secrets = journal.secrets_file(RUN)
    assert secrets is not None
    secrets.unlink()  # they were in the machine's memory
    journal = worker.open("two")
    assert journal.recover().ended == (RUN,)
    record = journal.record(RUN)
    assert record is not None and (record.status, record.reason) == ("aborted", "requested")
    journal.close()


def test_fault_F17_a_run_whose_end_finds_no_room_at_the_start_of_the_worker_is_watched(tmp_path: Path) -> None:
    """Its machine went down, and came back with a full disk: the end is written when there is room."""
    worker = Place(tmp_path / "w")
    journal = worker.open("one")
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    directory = journal.run_directory(RUN)
    gate.note_begun(directory, directory.path, {"format": 1, "boot": "one", "at": 1.0})
    journal.close()
    worker.disk.is_full = True
    journal = worker.open("two")
    assert journal.recover().running == (RUN,)
    assert journal.record(RUN) is None
    worker.disk.is_full = False
    assert journal.settle(RUN)
    record = journal.record(RUN)
    assert record is not None and record.reason == "worker_host_restarted"
    journal.close()


def _until(world: World, is_so: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if is_so():
            return
        world.step()
    raise AssertionError("it did not come")


def test_fault_F07_a_run_that_lost_its_secrets_before_it_began_is_assigned_again(tmp_path: Path) -> None:
    """The inventory says that it needs them; the master repeats the assignment with the same request (5.4)."""
    with World(1, tmp_path, workers=1) as world:
        machine = world.machines[0]
        _until(world, lambda: machine.end.is_welcome)
        world.wish()
        _until(world, lambda: bool(machine.executions))
        _until(world, lambda: [run.status for run in world.all_runs()] == [Status.RUNNING])
        (one,) = machine.executions.values()
        assert not world.deed(one.run_id).starts, "this seed begins the run too early"
        machine.lose_power()
        assert [run.needs_secrets for run in machine.journal.runs()] == [True]
        world.settle()
        invariants.check(world)
        assert world.deed(one.run_id).starts == 1


def test_fault_F17_that_the_server_has_a_run_is_noted_when_there_is_room_again(tmp_path: Path) -> None:
    """Else its files would stay until the worker is restarted, on the disk that is full."""
    with World(2, tmp_path, workers=1) as world:
        machine = world.machines[0]
        world.wish()
        _until(world, lambda: [run.status in (Status.SUCCEEDED, Status.FAILED) for run in world.all_runs()] == [True])
        (run,) = world.all_runs()
        assert not machine.journal.run_directory(run.id).has(rundir.ACKED), "this seed commits too early"
        for reserved in (machine.directory / "runs" / run.id).glob("*.tmp"):
            reserved.unlink()  # its space was not reserved, or a power loss has taken that away
        machine.disk.is_full = True
        _until(world, lambda: run.id in machine.end.kept)
        assert not machine.journal.run_directory(run.id).has(rundir.ACKED)
        assert machine.end.is_welcome, "the connection stays"
        machine.disk.is_full = False
        machine.beat()
        assert machine.journal.run_directory(run.id).has(rundir.ACKED)


@pytest.mark.parametrize("is_reserved", [True, False])
def test_fault_F17_a_full_disk_neither_ends_the_worker_nor_keeps_what_fills_it(
    tmp_path: Path, is_reserved: bool
) -> None:
    """What is deleted must be noted first (F24), and that needs space: it is reserved, and without it nothing goes."""
    worker = Place(tmp_path / "w")
    journal = worker.open("one")
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
    assert journal.end_unstarted(RUN, "aborted", "requested", "it was")
    worker.clock.advance(1.0)
    journal.commit(RUN)
    worker.clock.advance(61.0)
    if not is_reserved:
        for reserved in worker.platter.root.glob("complete.json.*"):
            reserved.unlink()
    worker.disk.is_full = True
    assert journal.trim(keep_seconds=60.0) == ([RUN] if is_reserved else [])
    journal.close()
