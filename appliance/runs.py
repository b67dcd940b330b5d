"""Runs: trigger, cancel, abort and read them. Every change of a run's state goes through ``Runs.advance``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, BinaryIO, Protocol

import msgspec

from appliance.clock import Clock
from appliance.db.repository import Repository, RunFilter, RunKey
from appliance.events import Events, RunChanged
from appliance.exit_records import LATE, awaits_report
from appliance.job_versions import JobVersions
from appliance.model import documents, parameters, run_state
from appliance.model.entities import IdempotencyKey, Late, NewRun, Run, Source
from appliance.model.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable
from appliance.model.requests import Limits, build_request, origin_of
from appliance.model.run_state import Status
from appliance.model.steps import Step, read_steps
from appliance.wire import NOTES, OUTPUT, REQUEST_LIMIT, RESULTS_LIMIT

QUEUE_LIMIT = 100_000  # pending runs
PAGE = 1000  # runs looked at in one go
LOG_PAGE = 1 << 20  # bytes of log in one answer
NOTES_SHOWN = 1 << 20  # bytes of notes read for the steps of a run


class Asked(msgspec.Struct, frozen=True):
    """What became of a cancel or abort. ``outcome``: cancelled, withdrawing or aborting."""

    run: Run
    outcome: str
    sentence: str


class LogReader(Protocol):
    """The part of the log store that readers use."""

    def size(self, run_id: str, stream: int) -> int: ...
    def read(self, run_id: str, stream: int, offset: int, limit: int) -> bytes: ...
    def open_file(self, run_id: str, stream: int) -> BinaryIO: ...


class Runs:
    """The use cases about runs that people and programs ask for."""

    def __init__(
        self,
        repository: Repository,
        logs: LogReader,
        clock: Clock,
        events: Events,
        versions: JobVersions,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        waiting: Callable[[], int] | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        admit: Callable[[], None] = lambda: None,
        holds: Callable[[str], bool] = lambda _: False,
        steady: Clock | None = None,
    ) -> None:
        """``waiting`` tells how many runs are pending, where somebody knows without counting. ``admit`` raises Full
        while there is no room for a new run (F16). ``holds``: this run's worker may know more of it (F24).
        ``steady``: the clock that runs expire by and are sorted by (F22); ``clock`` when not given."""
        self._repository = repository
        self._store = repository.runs
        self._late = repository.late
        self._logs = logs
        self._clock = clock
        self._steady = steady or clock
        self._events = events
        self._versions = versions
        self._limits = limits
        self._waiting = waiting or (lambda: self.counts().get(Status.PENDING, 0))
        self._new_id = new_id
        self._admit = admit
        self.holds = holds

    # ---- trigger

    def trigger(
        self,
        project: str,
        job: str,
        given: Mapping[str, Any],
        source: Source,
        *,
        key: IdempotencyKey | None = None,
        as_text: bool = False,
    ) -> tuple[Run, bool]:
        """Store a new pending run; answers it and whether it is new (T5).

        ``as_text``: the values come from a form or a command line and are converted by the declared types.
        Raises NotFound, Invalid (wrong parameters), Conflict (the job cannot run), Unavailable (queue full).
        """
        if key is not None and (known := self._store.keyed(key)) is not None:
            return known, False  # whatever keeps a new run from being made now (F13)
        found = self._repository.projects.job(project, job)
        if found is None:
            raise NotFound(f"no job {job!r} in project {project!r}")
        document = self._versions.get(found.definition_version, found.document)
        if found.blocking:
            raise Conflict(f"{project}/{job} cannot run: {found.blocking[0]}")
        resolve = parameters.resolve_text if as_text else parameters.resolve
        values = resolve(document.parameters, dict(given))
        now = self._steady.now()  # lists go by it, and workers get the oldest first: it must not go back (F22)
        new = NewRun(
            id=self._new_id(),
            project=project,
            job=job,
            parameters=values,
            source=source,
            definition_version=found.definition_version,
            created_at=now,
            expires_at=now + timedelta(seconds=document.expires_seconds or self._limits.expires),
        )
        sample = build_request(new.id, project, job, 10**9, values, document, self._limits, origin=origin_of(new))
        if len(msgspec.json.encode(sample)) > REQUEST_LIMIT:
            raise TooLarge(
                f"commands and parameters together are over {REQUEST_LIMIT} bytes", {"parameters": "too large"}
            )
        self._admit()
        if self._waiting() >= QUEUE_LIMIT:
            raise Unavailable(f"{QUEUE_LIMIT} runs are waiting already; try again when some have run", 30.0)
        run, is_new = self._store.add(new, key)
        if is_new:
            self._events.publish(RunChanged(run))
            if self._repository.projects.job(project, job) is None:  # removed between the look and the write
                run = self._cancel_removed(run)
        return run, is_new

    # ---- the one writer of run state

    def advance(
        self,
        run_id: str,
        events: run_state.Event | Callable[[Run], Sequence[run_state.Event]],
        *,
        store: Callable[[Run, int], bool] | None = None,
        change: Callable[[Run], Mapping[str, Any]] | None = None,
    ) -> Run:
        """Apply events to a run: load, apply the pure table, compare-and-set; again when somebody was faster.

        ``events`` may depend on the run as it is found. ``change`` gives further fields to set, from the run as it was.
        ``store`` writes the new run if its version is still the given one (default: replace).
        Raises NotFound, or IllegalTransition when an event does not apply.
        """
        write = store or self._store.replace
        while True:
            run = self.get(run_id)
            position = run_state.Position(
                status=run.status,
                reason=run.reason,
                sentence=run.sentence,
                assigned_at=run.assigned_at,
                started_at=run.started_at,
                finished_at=run.finished_at,
            )
            for event in events(run) if callable(events) else (events,):
                position = run_state.advance(position, event)
            fields = dict(change(run)) if change else {}
            after = msgspec.structs.replace(run, **(msgspec.structs.asdict(position) | fields))
            if after == run:
                return run  # it was said before (I6)
            after = msgspec.structs.replace(after, version=run.version + 1)
            if write(after, run.version):
                self._events.publish(RunChanged(after))
                return after

    # ---- cancel and abort (reliability.md 4.4)

    def cancel(self, run_id: str, by: str) -> Asked:
        """See to it that the run never starts. Raises Conflict, naming abort, when it may have begun."""
        while True:
            run = self.get(run_id)
            try:
                match run.status:
                    case Status.PENDING if self.holds(run.id):
                        return self._ask_held(run, by, should_cancel=True)
                    case Status.PENDING:
                        return self._cancel_pending(run, by)
                    case Status.ASSIGNED:
                        after = self._ask(run, should_cancel=True, requested_by=by)
                        return Asked(
                            run=after,
                            outcome="withdrawing",
                            sentence=f"{run.worker} was asked to give the run back; if it has begun it is aborted",
                        )
                    case Status.RUNNING | Status.LOST:
                        raise Conflict(f"the run is {run.status}: abort it instead")
                    case _:
                        raise Conflict(f"the run has ended already: {run.status}")
            except run_state.IllegalTransition:
                continue  # it changed between the look and the write; look again

    def abort(self, run_id: str, by: str) -> Asked:
        """End the run wherever it is. Raises Conflict when it has ended already."""
        while True:
            run = self.get(run_id)
            try:
                if run.status is Status.PENDING and self.holds(run.id):
                    return self._ask_held(run, by, should_abort=True)
                if run.status is Status.PENDING:
                    asked = self._cancel_pending(run, by)
                    return msgspec.structs.replace(asked, sentence="the run had not begun; it is cancelled")
                if run.status not in run_state.LEASED:
                    raise Conflict(f"the run has ended already: {run.status}")
                after = self._ask(run, should_abort=True, requested_by=by)
                return Asked(run=after, outcome="aborting", sentence=f"worker {run.worker} is told to end the run")
            except run_state.IllegalTransition:
                continue

    def expire(self, limit: int = 100) -> int:
        """Cancel pending runs whose time is over; answers how many. More than ``limit`` wait for the next call."""
        expired = [run for run in self._store.expired(self._steady.now(), limit) if not self.holds(run.id)]
        for run in expired:
            event = run_state.Cancel(
                at=self._clock.now(), reason=run_state.Reason.EXPIRED, sentence="no worker took it before it expired"
            )
            try:
                self.advance(run.id, event)
            except run_state.IllegalTransition:
                continue  # it was assigned, or cancelled, meanwhile
        return len(expired)

    def cancel_removed(self) -> int:
        """Cancel pending runs whose job is no longer in force (4.2); answers how many."""
        after: RunKey | None = None
        removed = 0
        while page := self._store.pending(after, PAGE):
            gone = {
                key for key in {(run.project, run.job) for run in page} if self._repository.projects.job(*key) is None
            }
            for run in page:
                if (run.project, run.job) in gone and not self.holds(run.id):
                    removed += self._cancel_removed(run).status is Status.CANCELLED
            after = RunKey(created_at=page[-1].created_at, id=page[-1].id)
        return removed

    def cancel_unwanted(self, run: Run) -> Run:
        """Cancel a run that was kept back until now, if that was asked for meanwhile or its job is gone (F24)."""
        if run.should_cancel or run.should_abort:
            with contextlib.suppress(run_state.IllegalTransition):  # it came back from a worker after all
                return self._cancel_pending(run, run.requested_by or "nobody").run
        elif self._repository.projects.job(run.project, run.job) is None:
            return self._cancel_removed(run)
        return self.get(run.id)

    def _ask_held(self, run: Run, by: str, **intent: Any) -> Asked:
        """A worker that has not told yet may have executed the run: nobody may say that it never began (I2, F24)."""
        after = self._ask(run, requested_by=by, **intent)
        sentence = "the server was restored from a backup: the run is cancelled if no worker has begun it meanwhile"
        return Asked(run=after, outcome="withdrawing", sentence=sentence)

    def _cancel_removed(self, run: Run) -> Run:
        event = run_state.Cancel(at=self._clock.now(), reason=run_state.Reason.REMOVED, sentence="its job was removed")
        try:
            return self.advance(run.id, event)
        except run_state.IllegalTransition:
            return self.get(run.id)  # it was assigned meanwhile, and runs

    def _cancel_pending(self, run: Run, by: str) -> Asked:
        event = run_state.Cancel(
            at=self._clock.now(), reason=run_state.Reason.REQUESTED, sentence=f"cancelled by {by} before it began"
        )
        after = self.advance(run.id, event, change=lambda _: {"requested_by": by})
        return Asked(run=after, outcome="cancelled", sentence=after.sentence)

    def _ask(self, run: Run, **intent: Any) -> Run:
        """Store an intent on a leased run; IllegalTransition when it changed meanwhile: the caller looks again."""
        after = msgspec.structs.replace(run, **intent, version=run.version + 1)
        if not self._store.replace(after, run.version):
            raise run_state.IllegalTransition("changed meanwhile")
        self._events.publish(RunChanged(after))
        return after

    # ---- reading

    def get(self, run_id: str) -> Run:
        """One run. Raises NotFound."""
        run = self._store.get(run_id)
        if run is None:
            raise NotFound(f"no run {run_id[:64]!r}")
        return run

    def numbered(self, project: str, job: str, number: str) -> Run:
        """The run called ``project/job#number``: a number, ``latest`` or ``last-success``. Raises NotFound."""
        match number:
            case "latest":
                run = self._store.newest(project, job)
            case "last-success":
                run = self._store.newest(project, job, Status.SUCCEEDED)
            case _ if number.isascii() and number.isdigit() and len(number) <= 12:
                run = self._store.numbered(project, job, int(number))
            case _:
                run = None
        if run is None:
            raise NotFound(f"no run {project}/{job}#{number[:64]}")
        return run

    def find(
        self, where: RunFilter, after: RunKey | None = None, limit: int = 100, *, oldest_first: bool = False
    ) -> list[Run]:
        """Newest first, or the other way round."""
        return self._store.find(where, after, limit, oldest_first=oldest_first)

    def counts(self) -> dict[Status, int]:
        """How many runs are in each live status."""
        return self._store.counts()

    def results(self, run_id: str) -> dict[str, Any]:
        """The results as they are now. Raises NotFound."""
        self.get(run_id)
        results: dict[str, Any] = documents.strict_json(self._store.results(run_id), 4 * RESULTS_LIMIT)
        return results

    def set_results(self, run_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Lay values over the worker's results, key by key (5.3). Raises NotFound, Invalid."""
        if len(documents.canonical(dict(values))) > RESULTS_LIMIT:
            raise Invalid(f"results over {RESULTS_LIMIT} bytes")
        if not self._store.set_results(run_id, values):
            raise NotFound(f"no run {run_id[:64]!r}")
        self.announce(run_id)
        return self.results(run_id)

    def late(self, run: Run) -> Late | None:
        """What its worker reported after the run had been ended without it (4.4)."""
        return self._late.get(run.id) if awaits_report(run) else None

    def open_late_log(self, run_id: str) -> BinaryIO:
        """The output that came with the late report, as a file; the caller closes it."""
        return self._logs.open_file(run_id, LATE + OUTPUT)

    def announce(self, run_id: str) -> None:
        """Tell everybody that something about the run is new."""
        self._events.publish(RunChanged(self.get(run_id)))

    def log_size(self, run_id: str) -> int:
        """Bytes of output the master has so far."""
        return self._logs.size(run_id, OUTPUT)

    def log(self, run_id: str, offset: int, limit: int = LOG_PAGE) -> bytes:
        """Output from a byte on, at most ``limit`` and never more than LOG_PAGE bytes; empty past the end."""
        return self._logs.read(run_id, OUTPUT, offset, min(limit, LOG_PAGE))

    def open_log(self, run_id: str) -> BinaryIO:
        """All output the master has so far, as a file to be sent to a client; the caller closes it."""
        return self._logs.open_file(run_id, OUTPUT)

    def has_more_steps(self, run_id: str) -> bool:
        """Whether there are notes beyond those that :meth:`steps` reads."""
        return self._logs.size(run_id, NOTES) > NOTES_SHOWN

    def steps(self, run_id: str) -> list[Step]:
        """The commands of a run as far as they are known: begun, ended, exit codes and times (X8)."""
        return read_steps(self._logs.read(run_id, NOTES, 0, NOTES_SHOWN))
