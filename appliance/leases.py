"""What a worker says about the runs that were leased to it. Nothing is taken from anybody else (S-20).

Every method may be called again with the same words, or late, and then changes nothing (I6). Words about one run must
come one after the other; words about different runs may come at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from appliance.clock import Clock
from appliance.db.logs import Gap, LogStore
from appliance.db.repository import Repository
from appliance.model import caps, documents, run_state
from appliance.model.entities import Exit, Lease, Receipt, Run, StreamRecord, Worker
from appliance.model.errors import Invalid, NotFound
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.runs import Runs
from appliance.wire import NOTES, OUTPUT, RESULTS, RESULTS_LIMIT, ProtocolError
from appliance.wire import messages as m

_log = logging.getLogger(__name__)

OUTPUT_LIMIT = 64 << 30  # bytes of output the master takes from one run, whatever its job says
PIECE = 1 << 20  # bytes read at once
STREAM_LIMITS = {OUTPUT: OUTPUT_LIMIT, RESULTS: RESULTS_LIMIT, NOTES: 256 << 20}
_REASONS = frozenset(Reason)


class Holder(msgspec.Struct, frozen=True):
    """Who speaks: a worker, by its token, with the journal it named in its hello."""

    worker_id: str
    journal_id: str
    name: str
    clock_offset: float = 0.0


class Grip(msgspec.Struct):
    """What is remembered of a lease while words about it come in."""

    worker_id: str
    journal_id: str
    is_live: bool
    restarts: int = 0


class Assignment(msgspec.Struct, frozen=True):
    """What to send to a worker for a run that is leased to it."""

    run: Run
    lease: Lease


class Leases:
    """The use cases of the workers' words."""

    def __init__(self, repository: Repository, runs: Runs, logs: LogStore, clock: Clock, key: bytes) -> None:
        """``key`` signs assignments (``caps.derive(master_key, "cap")``)."""
        self._store = repository.runs
        self._runs = runs
        self._logs = logs
        self._clock = clock
        self._key = key
        self._lock = threading.Lock()
        self._grips: dict[str, Grip] = {}
        self._dirty: set[tuple[str, int]] = set()
        self.refused = 0  # words about runs of others, for the security counter (F14)

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
        with self._lock:
            self._grips[run.id] = Grip(worker_id=worker.id, journal_id=worker.journal_id, is_live=True)
        return Assignment(run=after, lease=lease)

    def take_back(self, run_id: str) -> Run:
        """The run never began, by the worker's word or because the assignment never left: pending again.

        If a cancel or an abort waits for it, it is cancelled. Raises IllegalTransition when it was accepted.
        """

        def events(run: Run) -> Sequence[run_state.Event]:
            if not (run.should_cancel or run.should_abort):
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

        Bytes of a run that has ended are counted as had, so that the worker goes on to its exit.
        """
        grip = self._grip_of(holder, run_id)
        if grip is None:
            raise ProtocolError(f"run {run_id} is not leased to this worker", "not_yours")
        end = offset + len(payload)
        if not grip.is_live:
            return end
        limit = STREAM_LIMITS.get(stream)
        if limit is None or end > limit:
            raise ProtocolError(f"stream {stream} of run {run_id} does not go to byte {end}", "limit")
        size = self._logs.append(run_id, stream, offset, payload)
        with self._lock:
            self._dirty.add((run_id, stream))
        return size

    def results(self, holder: Holder, run_id: str, seq: int, value: bytes) -> bool:
        """Results while the run goes on. Answers whether they are news; what is not an object is left out."""
        if not self._live(holder, run_id):
            return False
        try:
            text = _object(value)
        except Invalid as error:
            raise ProtocolError(f"results of run {run_id}: {error}", "bad_results") from None
        return self._store.put_results(run_id, seq, text)

    def exited(self, holder: Holder, record: m.Exited) -> m.Nack | None:
        """The exit record. None: it is committed, now or before. Else what the worker must send again (I3, I4)."""
        grip = self._grip_of(holder, record.run)
        if grip is None:
            raise ProtocolError(f"run {record.run} is not leased to this worker", "not_yours")
        if not grip.is_live:
            return None
        sizes = {stream: record.sizes.get(stream, 0) for stream in (*record.sizes, *STREAM_LIMITS)}
        have = {stream: self._logs.size(record.run, stream) for stream in sizes}
        if any(have[stream] < size for stream, size in sizes.items()):
            return m.Nack(id=0, run=record.run, sizes={stream: have[stream] for stream in record.sizes})
        synced = self._logs.sync_run(record.run, [stream for stream, size in have.items() if size])
        differ = [one for one in synced if not self._agrees(one, sizes[one.stream], record.digests.get(one.stream))]
        if differ and grip.restarts < 1:
            grip.restarts += 1
            for one in differ:
                self._logs.restart(record.run, one.stream)
            return m.Nack(id=0, run=record.run, sizes=dict.fromkeys(record.sizes, 0), restart=True)
        try:
            self._finish(holder, record, synced, not differ)
        except IllegalTransition:
            _log.warning("late end of run %s from %s changes nothing", record.run, holder.name)
        self._drop(record.run)
        self._logs.close_run(record.run)
        return None

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
        records = [self._logs.sync(run_id, stream) for run_id, stream in sorted(dirty)]
        if records:
            self._store.put_streams(records)
        return len(records)

    # ---- inside

    def _agrees(self, have: StreamRecord, size: int, digest: str | None) -> bool:
        """Whether what the worker has of a stream is what we have, or the beginning of it (F07).

        A worker whose machine went down may have kept less than it had sent; then ours is the stream.
        """
        if have.size == size:
            return have.sha256 == digest  # public: digests of a log, a receipt and no proof
        prefix = hashlib.sha256()
        for offset in range(0, size, PIECE):
            prefix.update(self._logs.read(have.run_id, have.stream, offset, min(PIECE, size - offset)))
        return size == 0 or prefix.hexdigest() == digest  # public too

    def _finish(self, holder: Holder, record: m.Exited, synced: list[StreamRecord], agree: bool) -> None:
        run_id = record.run
        notes = [_printable(note) for note in record.notes]
        results: str | None = None
        try:
            if bytes(record.value):
                results = _object(bytes(record.value))
            elif record.sizes.get(RESULTS):
                results = _object(self._logs.read(run_id, RESULTS, 0, RESULTS_LIMIT))
        except Invalid as error:
            notes.append(f"results invalid: {error}")
        if not agree:
            notes.append("log_mismatch: the digests of worker and master differ; both are kept")
        ahead = sum(one.size - record.sizes.get(one.stream, 0) for one in synced)
        if agree and ahead:
            notes.append(f"log_ahead: the server had {ahead} bytes more than the worker kept; they stay")
        status = Status(record.status)
        said = record.reason or None
        reason = Reason(said) if said in _REASONS else None
        if reason != said or not run_state.fits(status, reason):
            notes.append(f"the worker said {record.status} for the reason {record.reason!r}, which is not one")
            status, reason = Status.ERRORED, Reason.PROTOCOL_ERROR
        now = self._clock.now()
        finished_at = min(self._stamp(holder, record.at), now)
        finish = run_state.Finish(at=finished_at, status=status, reason=reason, sentence=_printable(record.sentence))
        output = next((one for one in synced if one.stream == OUTPUT), None)
        receipt = Receipt(
            size=output.size if output else 0,
            sha256=output.sha256 if output else record.digests.get(OUTPUT),
            complete=True,
            verified=agree and not ahead,
        )
        has_exit = record.code is not None or record.signal is not None
        ended = Exit(code=record.code, signal=record.signal, command=record.command) if has_exit else None

        def change(run: Run) -> dict[str, Any]:
            fields: dict[str, Any] = {"exit": ended, "log": receipt, "notes": (*run.notes, *notes)}
            fields["accepted_at"] = run.accepted_at or now
            if run.started_at is None and record.started_at is not None:
                fields["started_at"] = min(self._stamp(holder, record.started_at), finished_at)
            return fields

        self._runs.advance(
            run_id,
            finish,
            store=lambda after, version: self._store.finish(after, synced, results, version),
            change=change,
        )

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

    def end_by_evidence(self, run: Run, reason: Reason, sentence: str) -> None:
        """End a run by evidence, with what its log holds so far."""
        streams = self._logs.sync_run(run.id, [one for one in STREAM_LIMITS if self._logs.size(run.id, one)])
        output = next((one for one in streams if one.stream == OUTPUT), None)
        receipt = Receipt(size=output.size if output else 0, sha256=output.sha256 if output else None)
        event = run_state.Finish(at=self._clock.now(), status=Status.ERRORED, reason=reason, sentence=sentence)
        try:
            self._runs.advance(
                run.id,
                event,
                store=lambda after, version: self._store.finish(after, streams, None, version),
                change=lambda _: {"log": receipt},
            )
        except IllegalTransition:
            _log.info("run %s ended before %s was noted", run.id, reason)
        self._drop(run.id)
        self._logs.close_run(run.id)

    def _stamp(self, holder: Holder, at: float) -> datetime:
        """A worker's stamp on our clock, in whole milliseconds; nonsense becomes now (F23)."""
        now = self._clock.now()
        try:
            stamp = datetime.fromtimestamp(round(at, 3), UTC) - timedelta(seconds=holder.clock_offset)
        except (ValueError, OverflowError, OSError):
            return now
        stamp = stamp.replace(microsecond=stamp.microsecond // 1000 * 1000)
        return min(stamp, now)

    @staticmethod
    def is_of(lease: Lease, holder: Holder) -> bool:
        """Whether the lease was given to this worker and this journal."""
        return lease.worker_id == holder.worker_id and lease.journal_id == holder.journal_id

    def _live(self, holder: Holder, run_id: str) -> bool:
        grip = self._grip_of(holder, run_id)
        if grip is None:
            raise ProtocolError(f"run {run_id} is not leased to this worker", "not_yours")
        return grip.is_live

    def _grip_of(self, holder: Holder, run_id: str) -> Grip | None:
        """The grip of this worker and journal on a run; None when it has none, which is refused and counted."""
        grip = self._grips.get(run_id)
        if grip is None:
            lease = self._store.lease(run_id)
            if lease is not None:
                try:
                    is_live = self._runs.get(run_id).status in run_state.LEASED
                except NotFound:
                    is_live = False
                grip = self.remember(run_id, lease, is_live=is_live)
        if grip is None or (grip.worker_id, grip.journal_id) != (holder.worker_id, holder.journal_id):
            self.refuse(holder, run_id, "spoke about a run that is not leased to it")
            return None
        return grip

    def remember(self, run_id: str, lease: Lease, *, is_live: bool) -> Grip:
        """Whose words about the run are taken from now on."""
        grip = Grip(worker_id=lease.worker_id, journal_id=lease.journal_id, is_live=is_live)
        with self._lock:
            self._grips[run_id] = grip
        return grip

    def _drop(self, run_id: str) -> None:
        with self._lock:
            self._grips.pop(run_id, None)
            self._dirty = {one for one in self._dirty if one[0] != run_id}

    def refuse(self, holder: Holder, run_id: str, what: str) -> None:
        """Count and log words that nobody may say (S-20, F14)."""
        self.refused += 1
        _log.warning("security: worker %s %s: %s", holder.name, what, run_id)


def _printable(text: str) -> str:
    """A worker's words as people may see them on a terminal or a page (S-16)."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _object(raw: bytes) -> str:
    """Results as canonical text. Raises Invalid when they are not a JSON object within the limits."""
    value = documents.strict_json(raw, RESULTS_LIMIT)
    if not isinstance(value, dict):
        raise Invalid("results must be a JSON object")
    return documents.canonical(value)


__all__ = ["Assignment", "Gap", "Holder", "Leases"]
