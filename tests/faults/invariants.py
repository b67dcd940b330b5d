"""The invariants I1 to I7, I9 and I10 over a simulated world, each by its id. One checker for every scenario.

What the product says (its database, its log files) is compared with what really happened (``Deed``), which no fault can
touch. I8, that ``GET /health`` answers within 250 ms, needs real time and is proved with real processes.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from appliance.model.entities import Run
from appliance.model.run_state import LEASED, LEGAL, TERMINAL, Reason, Status
from appliance.wire import NOTES, OUTPUT
from tests.faults.sim_executor import Deed

if TYPE_CHECKING:
    from tests.faults.simulator import World

ALL = 1 << 30
AFTER_A_KILL = frozenset({"executor_killed", "start_interrupted", "worker_host_restarted", "internal_error"})
GIVEN_BACK = (Status.ASSIGNED, Status.CANCELLED)  # pending and cancelled in one transaction (4.4)
CODES = {"succeeded": 0, "failed": 3}


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


def expect(is_so: object, invariant: str, text: object) -> None:
    """Raise Violation unless it is so."""
    if not is_so:
        raise Violation(invariant, str(text))


# ---- while the world goes on


def check_start(world: World, deed: Deed) -> None:
    """The first command of a run begins: never before, and never of a run that nobody has."""
    run = world.repository.runs.get(deed.run_id)
    expect(deed.starts == 1, "I2", f"{deed.run_id} was started {deed.starts} times")
    is_reset = (
        run is not None and run.reason is Reason.WORKER_RESET
    )  # its machine was replaced, and lives on for a while
    is_given = run is not None and (run.status in LEASED or is_reset)
    expect(is_given, "I2", f"{deed.run_id} was started while it is {run and run.status}")


def check_deleted(world: World, run_id: str) -> None:
    """A worker deletes a run: its end must be committed, and its log durable (I5)."""
    run = world.repository.runs.get(run_id)
    expect(run is None or run.status in TERMINAL, "I5", f"{run_id} was deleted while it is {run and run.status}")


def check_logs_so_far(world: World) -> None:
    """The master's log of a live run is a prefix of what the run has said (I3)."""
    if world.master is None:
        return  # after a power loss they are cut when it begins, before anybody reads them
    for run, _ in world.repository.runs.leased():
        deed = world.deed(run.id)
        if run.id in world.damaged or deed.had_full_disk:
            continue
        have = world.read_log(run.id, OUTPUT)
        expect(deed.output.startswith(have), "I3", f"the log of {run.id} is no prefix: {len(have)} bytes")


# ---- when all is over


def check(world: World) -> None:
    """Everything, after all faults are gone and every run has come to its end."""
    runs = world.all_runs()
    expect(len(runs) == len(world.acknowledged), "I1", f"{len(runs)} runs for {len(world.acknowledged)} triggers")
    expect(world.acknowledged <= {run.id for run in runs}, "I1", "a run that was acknowledged is gone")
    for run in runs:
        _check_course(world, run)
        deed = world.deed(run.id)
        if run.status is Status.CANCELLED:
            expect(deed.starts == 0, "I2", f"{run.id} is cancelled and was started")
        elif run.reason is Reason.WORKER_RESET:
            expect(run.worker_id in world.resets, "I1", f"{run.id} ended worker_reset, and its worker has its journal")
            have = world.read_log(run.id, OUTPUT)
            if run.id not in world.damaged and not deed.had_full_disk:
                expect(deed.output.startswith(have), "I3", f"the log of {run.id} is no prefix")
        elif run.reason is Reason.WORKER_LOST:
            expect(deed.starts == 0, "I2", f"{run.id} is called never started, and was started")
            expect(Status.LOST in world.ledger.history[run.id], "I1", f"{run.id} was never lost")
        else:
            _check_end(world, run, deed)
    expect(not world.ledger.illegal, "I10", world.ledger.illegal)
    expect(not world.errors, "I7", world.errors)
    _check_rest(world)


def _check_course(world: World, run: Run) -> None:
    """One legal way through the statuses to one end, which never changed (I1, I6, I10)."""
    history = world.ledger.history[run.id]
    expect(history[0] is Status.PENDING, "I10", f"{run.id} began as {history[0]}")
    for step in pairwise(history):
        expect(step in LEGAL or step == GIVEN_BACK, "I10", f"{run.id} went {step}")
    expect(run.status in TERMINAL, "I1", f"{run.id} is {run.status} for ever")
    expect(sum(one in TERMINAL for one in history) == 1, "I1", f"{run.id} ended more than once: {history}")
    first = msgspec.structs.replace(world.ledger.ends[run.id], version=run.version)
    expect(first == run, "I6", f"{run.id} changed after its end: {first} became {run}")


def _check_end(world: World, run: Run, deed: Deed) -> None:
    """The end that the worker told is the end that is shown, all of it (I3, I4)."""
    told = deed.told
    expect(told is not None, "I4", f"{run.id} is {run.status}, {run.reason}, and its worker never said so")
    assert told is not None
    status, reason, sizes, digests = told
    expect((run.status, run.reason) == (status, reason), "I4", f"{run.id}: {run.status} {run.reason} for {told}")
    if deed.ended is not None and not deed.lost_power:
        expect(deed.ended == (status, reason), "I4", f"{run.id} ended {deed.ended} and is {status} {reason}")
    elif deed.ended is None and deed.starts:
        expect(deed.was_killed or deed.lost_power, "I4", f"{run.id} is {status} {reason} without an end or a kill")
        expect(reason in AFTER_A_KILL, "I4", f"{run.id} was killed and is {status} {reason}")
    expect(run.log.complete, "I4", f"the receipt of {run.id} says that its log is not complete")
    for stream in (OUTPUT, NOTES):
        have = world.read_log(run.id, stream)
        size, digest = sizes.get(stream, 0), digests.get(stream)
        if deed.lost_power and len(have) > size:
            expect(size == 0 or _sha256(have[:size]) == digest, "I3", f"stream {stream} of {run.id} differs (F07)")
        elif size or have:
            expect(len(have) == size, "I3", f"stream {stream} of {run.id} has {len(have)} bytes of {size}")
            expect(_sha256(have) == digest, "I3", f"stream {stream} of {run.id} differs")
    output = world.read_log(run.id, OUTPUT)
    expect(run.log.size == len(output), "I4", f"the receipt of {run.id} says {run.log.size} of {len(output)} bytes")
    expect(run.log.verified or deed.lost_power, "I3", f"the log of {run.id} is not verified: {run.notes}")
    if not deed.had_full_disk:
        expect(deed.output.startswith(output), "I3", f"the log of {run.id} is not what it said")
    is_whole = deed.ended == (status, reason) and not deed.had_full_disk and not deed.lost_power
    if is_whole:
        expect(bytes(deed.output) == output, "I3", f"{run.id} said {len(deed.output)} bytes, {len(output)} are there")
        code = CODES.get(status)
        expect((run.exit and run.exit.code) == code, "I4", f"{run.id}: exit {run.exit} for {status}")
        results = msgspec.json.decode(world.repository.runs.results(run.id))
        expect(results == (deed.results or {}), "I4", f"the results of {run.id} differ")


def _check_rest(world: World) -> None:
    """Nothing is left over: no slot in use, no run that a worker still wants to tell (I9)."""
    assert world.master is not None
    used = {seat.name: dict(seat.slot_of) for seat in world.master.roster.seats() if seat.slot_of}
    expect(not used, "I9", f"slots are in use by runs that have ended: {used}")
    for machine in world.machines:
        left = [run.run for run in machine.journal.runs() if not run.committed]
        expect(not left, "I9", f"{machine.name} does not know that {left} are committed")


def check_durable(world: World) -> None:
    """Every log of an ended run is on the platter, as its receipt says: power may go now (I4)."""
    for run in world.all_runs():
        if run.status in TERMINAL and run.log.size:
            durable = world.platter.durable(f"{run.id[:2]}/{run.id}/{OUTPUT}.log")
            expect(_sha256(durable) == run.log.sha256, "I4", f"the log of {run.id} is committed and not durable")


def _sha256(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()
