"""What the master does about the words of one worker connection. It blocks, so lanes run it; the gateway does the I/O.

The order of F15: a new connection of a worker first retires the old one, so that no word of the old one is obeyed after
the new inventory was merged.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence

import msgspec

from appliance.clock import Clock
from appliance.db.logs import Gap
from appliance.events import Events, LogGrew, RunChanged, WorkerChanged
from appliance.inventories import Inventories
from appliance.leases import Assignment, Holder, Leases
from appliance.master.messenger import farewell
from appliance.master.recalling import Recalling
from appliance.master.roster import Roster, Seat, Voice
from appliance.model.entities import Run, Worker
from appliance.model.errors import ApplianceError, Forbidden, Full, Unavailable
from appliance.model.run_state import IllegalTransition
from appliance.model.sizes import show_count
from appliance.runs import Runs
from appliance.wire import OUTPUT, Close, ProtocolError, frames
from appliance.wire import messages as m
from appliance.wire.master_end import Event, Greeting, Merged
from appliance.workers import Registration, Workers

_log = logging.getLogger(__name__)

SILENT_FOR = 60.0  # seconds after which another journal may take a worker's place (F15, F26)
OLD = "too old to tell again what was committed: what ended since the backup stays there"
ACK_EVERY = 256 * 1024  # bytes of a stream between two acks; well below the window
_TIMELESS = (frames.Data, m.Accepted, m.Beat)  # most words by far: the worker's clock plays no part in them


class Conversation:
    """One connection of one worker, from its hello to its end."""

    def __init__(
        self,
        worker: Worker,
        voice: Voice,
        *,
        runs: Runs,
        leases: Leases,
        inventories: Inventories,
        workers: Workers,
        roster: Roster,
        events: Events,
        clock: Clock,
        send: Callable[[Seat, Assignment], None],
    ) -> None:
        """``send`` puts an assignment on its way (the dispatcher's)."""
        self.worker = worker
        self.seat: Seat | None = None
        self._voice = voice
        self._runs = runs
        self._leases = leases
        self._inventories = inventories
        self._workers = workers
        self._roster = roster
        self._events = events
        self._clock = clock
        self._send = send
        self._holder: Holder | None = None
        self._recalling: Recalling | None = None  # only after a restore from a backup (F24)
        self._wall = 0.0  # our wall clock less our monotonic one at the hello, when the worker's clock was compared
        self._epoch = 0  # the last life of the master that the worker knew
        self._idle = threading.Condition()
        self._busy = 0
        self._is_over = False
        self._stalled: set[str] = set()  # runs of which a word found no room: nothing of them is obeyed since
        self._acked: dict[tuple[str, int], int] = {}
        self._gaps: dict[tuple[str, int], int] = {}

    # ---- hello

    def greet(self, greeting: Greeting, welcome: Callable[[Merged], None]) -> None:
        """Merge the inventory and take a seat, or close the connection. ``welcome`` sends the answer."""
        hello = greeting.hello
        now = self._clock.now()
        try:
            worker = self._workers.check_standing(self.worker.id)
        except Forbidden as error:
            self._voice.close(*farewell(error))
            return
        if hello.journal in worker.retired_journals:
            _log.warning("security: worker %s came with a journal that was replaced", worker.name)
            self._voice.close(Close.DUPLICATE, "this journal was replaced by another one: join with a new token")
            return
        before = self._roster.seat(worker.id)
        if worker.journal_id not in (None, hello.journal) and self._silent_for(worker) < SILENT_FOR:
            _log.warning("security: the token of worker %s is used by two machines", worker.name)
            self._voice.close(
                Close.DUPLICATE,
                "another machine with this worker's token was heard a minute ago: use one token per machine",
            )
            return
        if before is not None:
            before.voice.retire()
            self._roster.rise(before)
            before.voice.close(Close.SUPERSEDED, "a newer connection of this worker took over")
        offset = hello.at - now.timestamp()
        holder = Holder(worker_id=worker.id, journal_id=hello.journal, name=worker.name, clock_offset=round(offset, 3))
        try:
            is_recovering = self._inventories.recalls.begin_if_older(holder, hello, greeting.held)
        except Forbidden as error:
            self._voice.close(Close.OTHER_CLUSTER, str(error))
            return
        self._wall = now.timestamp() - self._clock.monotonic()
        self.worker = worker = self._workers.register(
            worker.id,
            Registration(
                journal_id=hello.journal,
                software=hello.software,
                slots=hello.slots,
                properties=hello.properties,
                clock_offset=offset,
            ),
        )
        self._inventories.reset(worker.id, hello.journal)
        self._holder = holder
        self._epoch = hello.epoch
        merge = self._inventories.reconcile(
            self._holder, greeting.held, takes_work=worker.takes_work, is_recovering=is_recovering
        )
        seat = Seat(worker, self._voice, hello.journal)
        seat.is_merging = is_recovering
        seat.since = now
        seat.is_greeting = True  # it has its runs, and gets no others before it has heard its welcome
        with self._idle:
            if self._is_over:
                return
            self.seat = seat
            self._roster.heard(worker.id, now)
            # Before the welcome: a run may end with the first word after it, and must find its slot to give it back.
            self._roster.sit(seat, merge.slots)
        try:
            # It was taken away, or drained, meanwhile: nobody saw a seat to be emptied or changed.
            self._roster.update(self._workers.check_standing(worker.id))
        except Forbidden as error:
            self.retire()
            self._voice.close(*farewell(error))
            return
        welcome(merge.merged)
        seat.is_greeting = False
        _log.info("worker %s connected with %s", worker.name, show_count(len(merge.slots), "run"))
        for assignment in merge.again:
            self._send(seat, assignment)
        for run in merge.intents:
            self.remind(run)
        if is_recovering:
            self._recall(seat, self._holder, greeting, merge.recall)
        self._events.publish(WorkerChanged(worker.id))

    def _silent_for(self, worker: Worker) -> float:
        """Seconds since the worker was last heard. What an earlier life of the master heard has only a wall clock's
        stamp: one that is far ahead of now was made before the clock was set back, and is old (F22)."""
        silent = self._roster.silent_for(worker.id)
        if silent is None:
            at = worker.last_contact_at
            silent = math.inf if at is None else abs((self._clock.now() - at).total_seconds())
        return silent

    # ---- after a restore

    def _recall(self, seat: Seat, holder: Holder, greeting: Greeting, lacking: Sequence[m.Held]) -> None:
        """Have the worker tell again what the restored database lacks, as far as its version can."""
        if greeting.hello.recalls:
            since = greeting.hello.complete_since
            self._recalling = Recalling(
                lambda run_id: self._voice.say(m.Recall, run=run_id), greeting.held, lacking, since
            )
            return
        for item in lacking:
            self._inventories.recalls.fail(holder, item)
        listed = {item.run for item in greeting.held}
        self._inventories.finish(holder, listed, 0.0, f"{greeting.hello.software} is {OLD}")
        seat.is_merging = False

    def _list(self, holder: Holder, page: m.InventoryPage) -> None:
        if self._recalling is not None:
            wants = functools.partial(self._inventories.recalls.wants, holder)
            if self._recalling.list(page, wants):
                self._finish_merge(holder, self._recalling)

    def _recalled(self, holder: Holder, run_id: str, request: str | None) -> bool:
        """The answer to a recall; ``request`` is None where the worker does not have the run. False: none was due."""
        recalling = self._recalling
        item = recalling.asked(run_id) if recalling is not None else None
        if recalling is None or item is None or self.seat is None:
            return False
        recalls = self._inventories.recalls
        slot = 0 if item.state == "exited" else self._roster.take_slot(self.seat, run_id)
        resume = None if request is None else recalls.take(holder, item, request, self._epoch, slot)
        if resume is None:
            self._roster.free_slot(run_id)
            recalls.fail(holder, item)
        else:
            if item.state != "exited" and run_id not in self.seat.slot_of:
                self._roster.take_slot(self.seat, run_id)  # it was taken from another worker, which freed its slot
            self._voice.say(m.ResumePage, resume=[resume])
            self.remind(self._runs.get(run_id))
            if item.needs_secrets and (assignment := recalls.assignment(run_id)) is not None:
                self._send(self.seat, assignment)  # its machine restarted before it began (5.4)
        if recalling.settle(run_id, is_here=resume is not None):
            self._finish_merge(holder, recalling)
        return True

    def _finish_merge(self, holder: Holder, recalling: Recalling) -> None:
        self._inventories.finish(holder, recalling.listed, recalling.complete_since)
        if self.seat is not None:
            self.seat.is_merging = False
        self._events.publish(WorkerChanged(holder.worker_id))

    def remind(self, run: Run) -> None:
        """Tell the worker what is wanted of a run that it has."""
        if run.should_abort:
            self._voice.say(m.Abort, run=run.id)
        elif run.should_cancel:
            self._voice.say(m.Withdraw, run=run.id)

    # ---- words

    def take(self, event: Event) -> None:
        """Do what one word asks. Nothing is done for a connection that is over."""
        with self._idle:
            if self._is_over or self._holder is None or getattr(event, "run", None) in self._stalled:
                return
            self._busy += 1
        try:
            holder = self._holder
            self._obey(holder if isinstance(event, _TIMELESS) else self._compared(holder), event)
        except ProtocolError as error:
            self._voice.refuse(error)
        except Full as error:
            # The same, but the connection stays: it would only come back at once, and say it all again (F16).
            self._stall(event, error)
        except Unavailable as error:
            # Nothing was stored and nothing is acknowledged: the worker keeps it and says it again (F16, F19).
            _log.warning("worker %s is asked to come back later: %s", self.worker.name, error)
            self._voice.close(Close.RESTART, "storage is not available: come back later")
        except Exception:
            _log.exception("a word of worker %s failed", self.worker.name)
            self._voice.close(Close.RESTART, "the server could not do this: come back later")
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def _compared(self, holder: Holder) -> Holder:
        """With the worker's clock as it stands to ours now: ours may have jumped since the hello (F22)."""
        jump = round(self._clock.now().timestamp() - self._clock.monotonic() - self._wall)
        return msgspec.structs.replace(holder, clock_offset=holder.clock_offset - jump) if jump else holder

    def _stall(self, event: Event, error: Full) -> None:
        run_id = getattr(event, "run", None)
        if run_id is None or self.seat is None:
            self._voice.close(Close.RESTART, "the server's disk is full: come back later")
            return
        _log.warning("worker %s keeps the rest of run %s for now: %s", self.worker.name, run_id, error)
        with self._idle:
            self._stalled.add(run_id)
        self.seat.is_stalled = True

    def retire(self, timeout: float = 20.0) -> None:
        """Obey nothing any more, and wait for what is being done."""
        with self._idle:
            self._is_over = True
            self._idle.wait_for(lambda: self._busy == 0, timeout)

    def end(self, unsent: Iterable[str]) -> None:
        """The connection is gone. ``unsent``: runs whose assignment was never given to the socket.

        Those cannot have begun, so they wait again (4.2); unless a newer connection has taken the seat, which has
        sorted them out already. Must not run beside ``greet`` of the same worker: one lane does both.
        """
        self.retire()
        if self.seat is None or not self._roster.rise(self.seat):
            return
        _log.info("worker %s disconnected", self.worker.name)
        for run_id in unsent:
            try:
                self._leases.take_back(run_id)
            except (ApplianceError, IllegalTransition) as error:
                _log.warning("run %s stays with %s until it returns: %s", run_id, self.worker.name, error)
        self._events.publish(WorkerChanged(self.worker.id))

    def _obey(self, holder: Holder, event: Event) -> None:
        match event:
            case frames.Data():
                self._append(holder, event)
            case m.Accepted(run=run_id):
                run = self._leases.accepted(holder, run_id)
                if run is not None:
                    self.remind(run)
            case m.Started(run=run_id, at=at):
                self._leases.started(holder, run_id, at)
            case m.Results(run=run_id, seq=seq, value=value):
                if self._leases.results(holder, run_id, seq, bytes(value)):
                    self._events.publish(RunChanged(self._runs.get(run_id)))
            case m.Exited():
                self._exited(holder, event)
            case m.Unknown(run=run_id):
                if not self._recalled(holder, run_id, None):
                    self._leases.unknown(holder, run_id)
            case m.InventoryPage():
                self._list(holder, event)
            case m.Recalled(run=run_id, request=request):
                if not self._recalled(holder, run_id, request):
                    raise ProtocolError(f"run {run_id} was not recalled", "order", re=event.id)
            case m.Declined(run=run_id, reason=reason):
                _log.warning("worker %s declined run %s: %s", holder.name, run_id, reason)
                if self.seat is not None:
                    self.seat.has_declined = True  # it would only decline again; its next beat ends this
                    self.seat.declined_why = reason
                self._leases.unknown(holder, run_id)
            case m.Drain(on=on):
                if self.seat is not None:
                    self.seat.wants_drain = on
                    self._events.publish(WorkerChanged(holder.worker_id))
            case m.Beat(load=load, disk_free=disk_free):
                if self.seat is not None:
                    self.seat.load, self.seat.disk_free = load, disk_free
                    if self.seat.has_declined:
                        self.seat.has_declined = False
                        self._events.publish(WorkerChanged(holder.worker_id))
            case m.ErrorReply(code=code, text=text):
                _log.warning("worker %s reports %s: %s", holder.name, code, text)
            case m.Forgotten() | Greeting():
                pass

    def _append(self, holder: Holder, piece: frames.Data) -> None:
        key = (piece.run, piece.stream)
        try:
            size = self._leases.append_log(holder, piece.run, piece.stream, piece.offset, piece.payload)
        except Gap as gap:
            if self._gaps.get(key) != gap.size:  # once for all the frames that were under way behind it
                self._gaps[key] = gap.size
                self._voice.say(m.Nack, run=piece.run, sizes={piece.stream: gap.size})
            return
        if size - self._acked.get(key, piece.offset) >= ACK_EVERY or size < self._acked.get(key, 0):
            self._acked[key] = size
            self._voice.say(m.Ack, run=piece.run, stream=piece.stream, offset=size)
        else:
            self._acked.setdefault(key, piece.offset)
        if piece.stream == OUTPUT:
            self._events.publish(LogGrew(run_id=piece.run, size=size))

    def _exited(self, holder: Holder, record: m.Exited) -> None:
        nack = self._leases.exited(holder, record)
        for stream in record.sizes:
            self._acked.pop((record.run, stream), None)
            self._gaps.pop((record.run, stream), None)
        if nack is None:
            self._voice.say(m.Committed, run=record.run, proof=self._inventories.recalls.proof(holder, record.run))
        else:
            self._voice.say(m.Nack, run=nack.run, sizes=nack.sizes, restart=nack.restart)
