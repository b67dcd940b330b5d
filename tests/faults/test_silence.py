"""A worker that is away for long: its runs become ``lost``, and the truth replaces that once, when it is back (F10)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.model.run_state import Reason, Status
from tests.faults import invariants
from tests.faults.simulator import World

HOUR = 3600.0


def _until(world: World, is_so: object, most: int = 100_000) -> None:
    assert callable(is_so)
    for _ in range(most):
        if is_so():
            return
        world.step()
    raise AssertionError("it did not come")


def _statuses(world: World) -> set[tuple[Status, Reason | None]]:
    return {(run.status, run.reason) for run in world.all_runs()}


def _begin(world: World, runs: int) -> None:
    """So many runs have begun on the one worker."""
    for _ in range(runs):
        world.wish()
    machine = world.machines[0]
    machine.pieces = 3
    _until(world, lambda: len(machine.executions) == runs)
    for one in machine.live:
        while not world.deed(one.run_id).starts:
            one.step()
        one.is_waiting = True
    _until(world, lambda: _statuses(world) == {(Status.RUNNING, None)})


def _be_away(world: World, hours: int) -> None:
    """The worker's network is gone for so long; the master looks around now and then."""
    machine = world.machines[0]
    machine.cut()
    machine.is_offline = True
    for _ in range(100):
        world.step()
    for _ in range(hours):
        world.clock.advance(HOUR)
        world.in_master(lambda master: master.sweeper.sweep())
        for _ in range(20):
            world.step()


def test_goal_R6_seven_days_of_silence_with_100_finished_and_10_running_jobs(tmp_path: Path) -> None:
    """All results and logs are there within 60 s of the worker's return, each small step of either side taking 5 ms."""
    with World(6, tmp_path, workers=1, slots=200) as world:
        _begin(world, 110)
        machine = world.machines[0]
        executions = sorted(machine.live, key=lambda one: one.run_id)
        finished, running = executions[:100], executions[100:]
        machine.cut()
        machine.is_offline = True
        for one in finished:
            one.is_waiting = False
            while not one.is_over:
                one.step()
            machine.overseer.look(one.run_id)
        for one in running:
            one.is_waiting = False
            one.step()
            one.is_waiting = True
        said = {one.run_id: len(world.deed(one.run_id).output) for one in running}
        _be_away(world, 7 * 24)
        assert _statuses(world) == {(Status.LOST, Reason.WORKER_LOST)}

        machine.is_offline = False
        world.idle_pace = 0.01  # every step, useful or not, takes 5 ms on the average
        back = world.now

        def is_all_there() -> bool:
            runs = {run.id: run for run in world.all_runs()}
            return all(runs[one.run_id].status in (Status.SUCCEEDED, Status.FAILED) for one in finished) and all(
                runs[run_id].status is Status.RUNNING and len(world.read_log(run_id, 0)) == size
                for run_id, size in said.items()
            )

        for _ in range(1000):
            if is_all_there():
                break
            for _ in range(200):
                world.step()
        seconds = world.now - back
        print(f"R6: 100 results and 110 logs were there {seconds:.1f} s after the worker's return")
        assert is_all_there() and seconds <= 60.0
        for one in running:
            one.is_waiting = False
        world.settle()
        invariants.check(world)


@pytest.mark.parametrize("ending", ["succeeded", "failed", "aborted"])
def test_fault_F10_after_25_hours_the_true_status_replaces_lost_once(tmp_path: Path, ending: str) -> None:
    with World(10, tmp_path, workers=1) as world:
        _begin(world, 1)
        (one,) = world.machines[0].live
        _be_away(world, 25)
        assert _statuses(world) == {(Status.LOST, Reason.WORKER_LOST)}
        if ending == "aborted":  # asked while the worker is away: delivered when it is back
            world.in_master(lambda master: master.runs.abort(one.run_id, "sim"))
        else:
            one._status = (ending, {"failed": "exit_code"}.get(ending))
        one.is_waiting = False
        if ending != "aborted":
            while not one.is_over:
                one.step()
        else:
            one.left = 10_000
        world.machines[0].is_offline = False
        world.settle()
        invariants.check(world)
        assert [run.status for run in world.all_runs()] == [ending]
        history = world.ledger.history[one.run_id]
        assert history.count(Status.LOST) == 1 and history[-1] == ending


def test_fault_F10_a_run_that_still_runs_is_running_again(tmp_path: Path) -> None:
    with World(11, tmp_path, workers=1) as world:
        _begin(world, 1)
        _be_away(world, 25)
        world.machines[0].is_offline = False
        _until(world, lambda: _statuses(world) == {(Status.RUNNING, None)})
        world.machines[0].live[0].is_waiting = False
        world.settle()
        invariants.check(world)


def test_fault_F10_a_run_that_never_reached_its_worker_was_never_started(tmp_path: Path) -> None:
    """The assignment was under way when the cable was cut; the worker comes back with nothing."""
    with World(12, tmp_path, workers=1) as world:
        machine = world.machines[0]
        _until(world, lambda: machine.end.is_welcome)
        world.wish()
        _until(
            world, lambda: machine.cable is not None and any("assign" in str(one) for one in machine.cable.to_worker)
        )
        _be_away(world, 25)
        assert _statuses(world) == {(Status.LOST, Reason.WORKER_LOST)}
        machine.is_offline = False
        world.settle()
        invariants.check(world)
        assert _statuses(world) == {(Status.ERRORED, Reason.WORKER_LOST)}


def test_fault_F10_a_run_that_its_worker_no_longer_has_ends_worker_reset(tmp_path: Path) -> None:
    """Somebody deleted its directory; nobody can know how it went."""
    with World(13, tmp_path, workers=1) as world:
        _begin(world, 1)
        _be_away(world, 25)
        machine = world.machines[0]
        (one,) = machine.live
        one.kill()
        machine._end_process()
        shutil.rmtree(machine.directory / "runs" / one.run_id)
        for mark in machine.directory.glob(f"*/{one.run_id}*"):
            mark.unlink()
        machine.start()
        machine.is_offline = False
        world.settle()
        assert _statuses(world) == {(Status.ERRORED, Reason.WORKER_RESET)}


def test_defect_J05_a_lost_run_frees_nothing_and_loses_nothing_when_the_master_was_down(tmp_path: Path) -> None:
    """Time in which the master itself was down does not count towards ``lost_after`` (4.4)."""
    with World(14, tmp_path, workers=1) as world:
        _begin(world, 1)
        machine = world.machines[0]
        machine.cut()
        machine.is_offline = True
        world.end_master(power=False)
        world.clock.advance(25 * HOUR)
        _until(world, lambda: world.master is not None)
        world.in_master(lambda master: master.sweeper.sweep())
        assert _statuses(world) == {(Status.RUNNING, None)}
        world.clock.advance(HOUR + 60.0)
        world.in_master(lambda master: master.sweeper.sweep())
        assert _statuses(world) == {(Status.LOST, Reason.WORKER_LOST)}
