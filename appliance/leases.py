"""What a worker says about the runs that were leased to it. Nothing is taken from anybody else (S-20).

Every method may be called again with the same words, or late, and then changes nothing (I6); and from any thread. The
worker of a run that was ended without it may still report: that is kept beside the run and changes no status (4.4).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from appliance import exit_records
from appliance.clock import Clock
from appliance.db.logs import Gap, LogStore
from appliance.db.repository import Repository
from appliance.exit_records import LATE, OUTPUT_LIMIT, STREAM_LIMITS, awaits_report
from appliance.grips import Grip
from appliance.model import caps, run_state
from appliance.model.entities import Late, Lease, Receipt, Run, Worker
from appliance.model.errors import Invalid, NotFound, Unavailable
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.runs import Runs
from appliance.strays import Strays
from appliance.wire import OUTPUT, RESULTS, RESULTS_LIMIT, ProtocolError
from appliance.wire import messages as m

_log = logging.getLogger(__name__)

_WAS_LOST = "was lost ("  # begins a note

_STRIPES = 64  # locks that keep words about one run apart


class Holder(msgspec.Struct, frozen=True):
    """Who speaks: a worker, by its token, with the journal it named in its hello."""

    worker_id: str
    journal_id: str
    name: str
    clock_offset: float = 0.0


class Assignment(msgspec.Struct, frozen=True):
    """What to send to a worker for a run that is leased to it."""

    run: Run
    lease: Lease


class Leases:
    """The use cases of the workers' words."""

    def __init__(
        self,
        repository: Repository,
        runs: Runs,
        logs: LogStore,
        clock: Clock,
        key: bytes,
        strays: Strays | None = None,
    ) -> None:
        """``key`` signs assignments (``caps.derive(master_key, "cap")``). ``strays`` counts words that lead nowhere."""
        self._store = repository.runs
        self._late = repository.late
        self._runs = runs
        self._logs = logs
        self._clock = clock
        self._key = key
        self._lock = threading.Lock()
        self._grips: dict[str, Grip] = {}
        self._dirty: set[tuple[str, int]] = set()
        self._in_order = tuple(threading.RLock() for _ in range(_STRIPES))
        self.strays = strays or Strays()

    # ---- giving

    def grant(self, run: Run, worker: Worker, epoch: int, slot: int, request: str) -> Assignment:
        """Lease a pending run to a worker. Raises IllegalTransition when it is not pending any more."""
        assert worker.journal_id is not None
        digest = caps.request_digest(request)
        now = self._clock.now()
        lease = Lease(
            run_id=run.id,
            worker_id=worker.id,
            journal_id=worker.journal_id,
            epoch=epoch,
            slot=slot,
            cap=caps.make_cap(self._key, run.id, worker.id, worker.journal_id, digest),
            request=request,
            granted_at=now,
        )
        after = self._runs.advance(
            run.id,
            run_state.Assign(at=now),
            store=lambda new, version: self._store.grant(new, lease, version),
            change=lambda _: {"worker_id": worker.id, "worker": worker.name, "slot": slot},
        )
        self.remember(lease, after)
        return Assignment(run=after, lease=lease)

    def take_back(self, run_id: str, *, is_moved: bool = False) -> Run:
        """The run never began, by the worker's word or because the assignment never left: pending again.

        If a cancel or an abort waits for it, it is cancelled; not if another worker may have it (``is_moved``: it has).
        Raises IllegalTransition when it was accepted.
        """

        def events(run: Run) -> Sequence[run_state.Event]:
            if not (run.should_cancel or run.should_abort) or is_moved or self._runs.holds(run.id):
                return (run_state.TakeBack(),)
            sentence = f"cancelled by {run.requested_by} before it began"
            cancel = run_state.Cancel(at=self._clock.now(), reason=Reason.REQUESTED, sentence=sentence)
            return (run_state.TakeBack(), cancel)

        after = self._runs.advance(
            run_id,
            events,
            store=self._store.take_back,
            change=lambda _: {"worker_id": None, "worker": None, "slot": None},
        )
        self._drop(run_id)
        return after

    # ---- the words

    def accepted(self, holder: Holder, run_id: str) -> Run | None:
        """The request is durable on the worker. Answers the run if that is news."""
        if not self._live(holder, run_id):
            return None
        try:
            return self.accept(run_id)
        except IllegalTransition:
            return None  # said before

    def unknown(self, holder: Holder, run_id: str) -> Run | None:
        """The worker does not have the run (an answer to withdraw), or declined it."""
        if not self._live(holder, run_id):
            return None
        try:
            return self.take_back(run_id)
        except IllegalTransition:
            self.refuse(holder, run_id, "gave back a run that it had accepted")
            return None

    def started(self, holder: Holder, run_id: str, at: float) -> None:
        """The first command began."""
        if self._live(holder, run_id):
            with contextlib.suppress(IllegalTransition):  # it has ended, which says more
                self._runs.advance(run_id, run_state.Start(at=self._stamp(holder, at)))

    def append_log(self, holder: Holder, run_id: str, stream: int, offset: int, payload: bytes | memoryview) -> int:
        """Bytes of a stream. Answers how many the master has now; raises Gap when some before them are missing.

        Bytes of a run that has its end are counted as had, so that the worker goes on to its exit.
        """
        with self._order(run_id):
            grip = self._grip(holder, run_id)
            end = offset + len(payload)
            if not (grip.is_live or grip.is_late):
                self.strays.pass_over(holder.worker_id)
                return end
            limit = STREAM_LIMITS.get(stream)
            if limit is None or end > limit:
                raise ProtocolError(f"stream {stream} of run {run_id} does not go to byte {end}", "limit")
            if grip.is_late:
                return self._logs.append(run_id, LATE + stream, offset, payload)
            size = self._logs.append(run_id, stream, offset, payload)
            with self._lock:
                self._dirty.add((run_id, stream))
            return size

    def results(self, holder: Holder, run_id: str, seq: int, value: bytes) -> bool:
        """Results while the run goes on. Answers whether they are news; what is not an object is left out."""
        if not self._live(holder, run_id):
            return False
        try:
            text = exit_records.results_of(value)
        except Invalid as error:
            raise ProtocolError(f"results of run {run_id}: {error}", "bad_results") from None
        return self._store.put_results(run_id, seq, text)

    def exited(self, holder: Holder, record: m.Exited) -> m.Nack | None:
        """The exit record. None: it is committed, now or before. Else what the worker must send again (I3, I4)."""
        with self._order(record.run):
            grip = self._grip(holder, record.run)
            if not (grip.is_live or grip.is_late):
                self.strays.pass_over(holder.worker_id)
                return None
            shift = LATE if grip.is_late else 0
            settled = exit_records.settle(self._logs, record, may_restart=grip.restarts < 1, shift=shift)
            if isinstance(settled, m.Nack):
                grip.restarts += settled.restart
                return settled
            if grip.is_late:
                self._keep_report(holder, record, settled)
            else:
                self._finish(holder, record, settled)
            self._drop(record.run)
            self._logs.close_run(record.run)
            return None

    def find(self, run_id: str) -> Run:
        """A lost run's worker is back, and still has it: put right once, with a note (F10)."""
        now = self._clock.now()

        def change(run: Run) -> dict[str, Any]:
            note = f"{_WAS_LOST}{run.sentence}); {run.worker} is back and still has it"
            others = (one for one in run.notes if not one.startswith(_WAS_LOST))  # weeks of this must not pile up
            return {"accepted_at": run.accepted_at or now, "notes": (*others, note)}

        return self._runs.advance(run_id, run_state.Find(), change=change)

    def lose(self, run: Run, sentence: str) -> None:
        """No contact with the run's worker for longer than its job bears."""
        try:
            self._runs.advance(run.id, run_state.Lose(sentence=sentence))
        except IllegalTransition:
            _log.info("run %s changed before it was called lost", run.id)

    def sync_streams(self) -> int:
        """Make what has arrived durable and note it (5.5); answers how many streams that were."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        try:
            records = [self._logs.sync(run_id, stream) for run_id, stream in sorted(dirty)]
            if records:
                self._store.put_streams(records)
        except Unavailable:
            with self._lock:
                self._dirty |= dirty  # the next time, then
            raise
        return len(records)

    # ---- inside

    def _finish(self, holder: Holder, record: m.Exited, settled: exit_records.Settled) -> None:
        run_id = record.run
        said = exit_records.read(record, settled)
        notes = said.notes
        results: str | None = None
        try:
            if bytes(record.value):
                results = exit_records.results_of(bytes(record.value))
            elif record.sizes.get(RESULTS):
                results = exit_records.results_of(self._logs.read(run_id, RESULTS, 0, RESULTS_LIMIT))
        except Invalid as error:
            notes = (*notes, f"results invalid: {error}")
        now = self._clock.now()
        finished_at = self._stamp(holder, record.at)
        finish = run_state.Finish(at=finished_at, status=said.status, reason=said.reason, sentence=said.sentence)

        def change(run: Run) -> dict[str, Any]:
            fields: dict[str, Any] = {"exit": said.exit, "log": said.receipt, "notes": (*run.notes, *notes)}
            if run.status is Status.LOST:  # it was said to be lost, and that is put right once (F10)
                fields["notes"] += (f"{_WAS_LOST}{run.sentence}); {holder.name} reported its end when it was back",)
            fields["accepted_at"] = run.accepted_at or now
            if record.started_at is not None:  # though it is known: our clock may have jumped since (F22)
                fields["started_at"] = min(self._stamp(holder, record.started_at), finished_at)
            return fields

        self._runs.advance(
            run_id,
            finish,
            store=lambda after, version: self._store.finish(after, settled.streams, results, version),
            change=change,
        )

    def _keep_report(self, holder: Holder, record: m.Exited, settled: exit_records.Settled) -> None:
        """The end of a run as its worker knows it, beside the one that was declared without it."""
        said = exit_records.read(record, settled)
        results, notes = "", said.notes
        if bytes(record.value):  # larger ones stay in their stream
            try:
                results = exit_records.results_of(bytes(record.value))
            except Invalid as error:
                notes = (*notes, f"results invalid: {error}")
        report = Late(
            status=said.status,
            ended_at=self._stamp(holder, record.at),
            reported_at=self._clock.now(),
            reason=said.reason,
            sentence=said.sentence,
            exit=said.exit,
            log=said.receipt,
            notes=notes,
            results=results,
        )
        if self._late.put(record.run, report):
            _log.info("worker %s reported the end of run %s late; its status stays", holder.name, record.run)
            self._runs.announce(record.run)

    def accept(self, run_id: str) -> Run:
        """A cancel that came too late becomes an abort (4.4)."""
        now = self._clock.now()
        return self._runs.advance(
            run_id,
            run_state.Accept(),
            change=lambda run: {
                "accepted_at": now,
                "should_cancel": False,
                "should_abort": run.should_abort or run.should_cancel,
            },
        )

    def end_by_evidence(self, run: Run, reason: Reason, sentence: str) -> Run:
        """End a run without its worker's record, with what its log holds so far. Answers it as it then is."""
        with self._order(run.id):
            streams = self._logs.sync_run(run.id, [one for one in STREAM_LIMITS if self._logs.size(run.id, one)])
            output = next((one for one in streams if one.stream == OUTPUT), None)
            receipt = Receipt(size=output.size if output else 0, sha256=output.sha256 if output else None)
            event = run_state.Finish(at=self._clock.now(), status=Status.ERRORED, reason=reason, sentence=sentence)
            try:
                run = self._runs.advance(
                    run.id,
                    event,
                    store=lambda after, version: self._store.finish(after, streams, None, version),
                    change=lambda _: {"log": receipt},
                )
            except IllegalTransition:
                _log.info("run %s ended before %s was noted", run.id, reason)
                run = self._runs.get(run.id)
            self._drop(run.id)
            self._logs.close_run(run.id)
            return run

    def sizes(self, run: Run) -> dict[int, int]:
        """From where the run's worker is to send each stream when it is back."""
        if run.status in run_state.LEASED:
            return {stream: self._logs.size(run.id, stream) for stream in STREAM_LIMITS}
        if awaits_report(run):
            return {stream: self._logs.size(run.id, LATE + stream) for stream in STREAM_LIMITS}
        return {record.stream: record.size for record in self._store.streams(run.id)}  # what we have is what we keep

    def _stamp(self, holder: Holder, at: float) -> datetime:
        return exit_records.stamp(at, holder.clock_offset, self._clock.now())

    def _order(self, run_id: str) -> threading.RLock:
        """Held while a word about the run is done: an operator's may come beside the worker's."""
        return self._in_order[hash(run_id) % _STRIPES]

    @staticmethod
    def is_of(lease: Lease, holder: Holder) -> bool:
        """Whether the lease was given to this worker and this journal."""
        return lease.worker_id == holder.worker_id and lease.journal_id == holder.journal_id

    def _live(self, holder: Holder, run_id: str) -> bool:
        is_live = self._grip(holder, run_id).is_live
        if not is_live:
            self.strays.pass_over(holder.worker_id)
        return is_live

    def _grip(self, holder: Holder, run_id: str) -> Grip:
        """The grip of this worker and journal on a run. Raises ProtocolError when it has none; that is counted."""
        grip = self._grips.get(run_id)
        if grip is None:
            lease = self._store.lease(run_id)
            if lease is not None:
                try:
                    grip = self.remember(lease, self._runs.get(run_id))
                except NotFound:
                    grip = None
        if grip is None or (grip.worker_id, grip.journal_id) != (holder.worker_id, holder.journal_id):
            self.refuse(holder, run_id, "spoke about a run that is not leased to it")
            raise ProtocolError(f"run {run_id} is not leased to this worker", "not_yours")
        return grip

    def remember(self, lease: Lease, run: Run) -> Grip:
        """Whose words about the run are taken from now on. Nothing is kept of a run that has all it will ever have."""
        grip = Grip(
            worker_id=lease.worker_id,
            journal_id=lease.journal_id,
            is_live=run.status in run_state.LEASED,
            is_late=awaits_report(run),
        )
        if grip.is_live or grip.is_late:
            with self._lock:
                self._grips[run.id] = grip
        return grip

    def _drop(self, run_id: str) -> None:
        with self._lock:
            self._grips.pop(run_id, None)
            self._dirty = {one for one in self._dirty if one[0] != run_id}

    def refuse(self, holder: Holder, run_id: str, what: str) -> None:
        """Count and log words that nobody may say (S-20, F14)."""
        self.strays.refuse(holder.worker_id)
        _log.warning("security: worker %s %s: %s", holder.name, what, run_id)


__all__ = ["OUTPUT_LIMIT", "Assignment", "Gap", "Holder", "Leases"]
