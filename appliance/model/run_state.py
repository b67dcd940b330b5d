"""THE state machine of a run: every status, reason and legal transition (reliability.md section 4).

``advance`` is the only way to a new status. The database repeats LEGAL in a trigger; a test keeps both equal.

``pending assigned running lost`` are live; the others are terminal and never change again. ``lost`` is soft: the
worker's return, or an operator, corrects it.
"""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec


class Status(enum.StrEnum):
    """What users see of a run."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    LOST = "lost"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ERRORED = "errored"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # pipeline elements only; never the status of a run of its own


class Reason(enum.StrEnum):
    """Why a run has the status it has. Every end has one; ``succeeded`` has none."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    REQUESTED = "requested"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REMOVED = "removed"
    WORKER_LOST = "worker_lost"
    WORKER_RESET = "worker_reset"
    WORKER_REVOKED = "worker_revoked"
    DECLARED_LOST = "declared_lost"
    WORKER_HOST_RESTARTED = "worker_host_restarted"
    EXECUTOR_KILLED = "executor_killed"
    START_FAILED = "start_failed"
    START_INTERRUPTED = "start_interrupted"
    SETUP_FAILED = "setup_failed"
    TEARDOWN_FAILED = "teardown_failed"
    FORMAT_ERROR = "format_error"
    STILL_RUNNING = "still_running"
    DISK_FULL = "disk_full"
    PROTOCOL_ERROR = "protocol_error"
    INTERNAL_ERROR = "internal_error"
    CHILD_FAILED = "child_failed"
    CHILD_ABORTED = "child_aborted"


LIVE = frozenset({Status.PENDING, Status.ASSIGNED, Status.RUNNING, Status.LOST})
TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.ERRORED, Status.ABORTED, Status.CANCELLED})
LEASED = frozenset({Status.ASSIGNED, Status.RUNNING, Status.LOST})  # a worker has, or may have, the run
OUTCOMES = TERMINAL - {Status.CANCELLED}  # what a worker's word, evidence or an operator can end a run with

LEGAL: frozenset[tuple[Status | None, Status]] = frozenset(
    {
        (None, Status.PENDING),
        (Status.PENDING, Status.ASSIGNED),
        (Status.PENDING, Status.CANCELLED),
        (Status.ASSIGNED, Status.PENDING),
        (Status.ASSIGNED, Status.RUNNING),
        (Status.ASSIGNED, Status.LOST),
        (Status.RUNNING, Status.LOST),
        (Status.LOST, Status.RUNNING),
    }
    | {(before, after) for before in LEASED for after in OUTCOMES}
)

REASONS: dict[Status, frozenset[Reason]] = {
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(
        {Reason.EXIT_CODE, Reason.SIGNAL, Reason.OUT_OF_MEMORY, Reason.TIMEOUT, Reason.CHILD_FAILED}
    ),
    Status.ABORTED: frozenset({Reason.REQUESTED, Reason.CHILD_ABORTED}),
    Status.CANCELLED: frozenset({Reason.REQUESTED, Reason.EXPIRED, Reason.REPLACED, Reason.REMOVED}),
    Status.LOST: frozenset({Reason.WORKER_LOST}),
    Status.ERRORED: frozenset(
        {
            Reason.WORKER_LOST,  # only for a run that was assigned and never started
            Reason.WORKER_RESET,
            Reason.WORKER_REVOKED,
            Reason.DECLARED_LOST,
            Reason.WORKER_HOST_RESTARTED,
            Reason.EXECUTOR_KILLED,
            Reason.START_FAILED,
            Reason.START_INTERRUPTED,
            Reason.SETUP_FAILED,
            Reason.TEARDOWN_FAILED,
            Reason.FORMAT_ERROR,
            Reason.STILL_RUNNING,
            Reason.DISK_FULL,
            Reason.PROTOCOL_ERROR,
            Reason.INTERNAL_ERROR,
        }
    ),
}

IMPORTED = {"exception": Status.ERRORED}  # Job Orchestra's word, read in definitions and imports, never written


class IllegalTransition(Exception):
    """The event does not apply to a run in this status. A late or repeated message ends here, and changes nothing."""


class Position(msgspec.Struct, frozen=True):
    """The part of a run that the state machine reads and writes."""

    status: Status
    reason: Reason | None = None
    sentence: str = ""
    assigned_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Assign(msgspec.Struct, frozen=True):
    """A lease is committed for a worker."""

    at: datetime


class TakeBack(msgspec.Struct, frozen=True):
    """The worker's word (declined, unknown), or this master knows it never gave the assignment to the socket."""


class Accept(msgspec.Struct, frozen=True):
    """The worker has made the request durable."""


class Start(msgspec.Struct, frozen=True):
    """The worker's word that the first command began. Sets the start time once; no change of status."""

    at: datetime


class Cancel(msgspec.Struct, frozen=True):
    """The run will never start."""

    at: datetime
    reason: Reason
    sentence: str


class Lose(msgspec.Struct, frozen=True):
    """No contact with the worker for ``lost_after``."""

    sentence: str


class Find(msgspec.Struct, frozen=True):
    """The worker is back and the run still runs."""


class Finish(msgspec.Struct, frozen=True):
    """The one end: by the worker's exit record, by evidence, or by an operator."""

    at: datetime
    status: Status
    reason: Reason | None
    sentence: str


Event = Assign | TakeBack | Accept | Start | Cancel | Lose | Find | Finish


def fits(status: Status, reason: Reason | None) -> bool:
    """Whether a run may have this status for this reason (4.3); None is the reason of those that need none."""
    allowed = REASONS.get(status, frozenset())
    return reason in allowed if reason is not None else not allowed


def advance(run: Position, event: Event) -> Position:
    """The run after the event. Raises IllegalTransition when the event does not apply in this status.

    A run that was accepted is never ``pending`` again, and one that left ``pending`` is never ``cancelled``.
    """
    match event:
        case Assign(at=at):
            return _to(run, Status.ASSIGNED, assigned_at=at)
        case TakeBack():
            return _to(run, Status.PENDING, assigned_at=None)
        case Accept():
            _require(run, Status.ASSIGNED)
            return _to(run, Status.RUNNING)
        case Start(at=at):
            _require(run, Status.RUNNING, Status.LOST)
            return run if run.started_at else msgspec.structs.replace(run, started_at=at)
        case Cancel(at=at, reason=reason, sentence=sentence):
            return _to(run, Status.CANCELLED, reason=reason, sentence=sentence, finished_at=at)
        case Lose(sentence=sentence):
            return _to(run, Status.LOST, reason=Reason.WORKER_LOST, sentence=sentence)
        case Find():
            _require(run, Status.LOST)
            return _to(run, Status.RUNNING)
        case Finish(at=at, status=status, reason=reason, sentence=sentence):
            if status not in OUTCOMES:
                raise IllegalTransition(f"a run cannot finish as {status}")
            return _to(run, status, reason=reason, sentence=sentence, finished_at=at)


def _require(run: Position, *allowed: Status) -> None:
    if run.status not in allowed:
        raise IllegalTransition(f"a run that is {run.status} does not take this event")


def _to(
    run: Position,
    status: Status,
    *,
    reason: Reason | None = None,
    sentence: str = "",
    assigned_at: datetime | None = None,
    finished_at: datetime | None = None,
) -> Position:
    if (run.status, status) not in LEGAL:
        raise IllegalTransition(f"a run that is {run.status} cannot become {status}")
    if not fits(status, reason):
        raise IllegalTransition(f"{reason} is no reason for {status}")
    back = status is Status.PENDING
    return Position(
        status=status,
        reason=reason,
        sentence=sentence,
        assigned_at=None if back else assigned_at or run.assigned_at,
        started_at=None if back else run.started_at,
        finished_at=finished_at,
    )
