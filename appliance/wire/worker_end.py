"""The worker's end: what it holds, what it has told, and what to say next. No I/O.

One object for the life of the worker process; connections come and go beneath it. Facts come in from the disk side
(``accepted``, ``started``, ``grew``, ``exited``), frames from the socket side (``receive``); out come actions for the
disk side and frames for the socket side. Nothing here is durable: the journal is, and builds this anew at each start.

Order on one connection: hello → welcome → for each run its bytes, then ``exited`` → ``committed``. A run's bytes are
read again from where the master says, so what a cut cable swallowed is sent once more, and nothing else is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

import msgspec

from appliance.wire import CHUNK, PROTOCOLS, Close, ProtocolError, frames, inventory
from appliance.wire import messages as m
from appliance.wire.local_runs import (
    Abort,
    Action,
    Commit,
    Delete,
    Draining,
    Facts,
    Identity,
    Keep,
    LocalRun,
    Read,
    Recall,
    Record,
    Refused,
    Secrets,
    Store,
)

UNSAID = 10_000  # messages that wait for the socket: more than that, and nothing more is taken from it (J19)
NACKS = 3  # times a run is sent again on one connection before it waits for the next


class WorkerEnd:
    """Everything the worker knows of its runs and of the connection. One thread at a time."""

    protocols = PROTOCOLS

    def __init__(self, identity: Identity, runs: Iterable[LocalRun], digest: Callable[[str], str]) -> None:
        """``digest`` gives the SHA-256 (hex) of a request's text."""
        self.identity = identity
        self.runs: dict[str, LocalRun] = {}
        self.kept: dict[str, m.Held] = {}  # committed runs that wait for their retention, oldest commit first
        for run in sorted(runs, key=lambda run: run.committed_at):
            if run.committed:
                self.kept[run.run] = inventory.kept(run)
            else:
                self.runs[run.run] = run
        self.is_welcome = self._is_greeted = False
        self._digest = digest
        self._storing: dict[str, tuple[str, str]] = {}  # run -> (cap, digest) of a request on its way to the disk
        self._out: deque[str] = deque()
        self._next_id = 1
        self._ready: deque[str] = deque()  # runs that may have something to tell, each at most once
        self._is_ready: set[str] = set()
        self._resumes: dict[str, m.Resume] = {}
        self._recalled: set[str] = set()  # told again, and not yet resumed
        self._kept_at_hello: tuple[m.Held, ...] = ()
        self._should_list = False  # those too
        self._windows = (0, 0)

    # ---- connection

    def connect(self, **facts: Unpack[Facts]) -> None:
        """A new connection is open: forget what was told on the old one, and say hello with the inventory.

        No request may be on its way to the disk: the inventory must be newer than every assignment that was read.
        Raises ValueError otherwise.
        """
        if self._storing:
            raise ValueError("a request is still being stored")
        self.disconnect()
        self._kept_at_hello = tuple(self.kept.values())
        self._next_id = 1
        fields: dict[str, object] = {
            **msgspec.structs.asdict(self.identity),
            **facts,
            "protocols": self.protocols,
            "recalls": True,
            "last": next(reversed(self.kept.values()), None),
        }
        first, *rest = inventory.pages(map(inventory.held, self.runs.values()), len(msgspec.json.encode(fields)))
        self._say(m.Hello, **fields, runs=first, more=bool(rest))
        self._list(rest)

    def _list(self, pages: Sequence[list[m.Held]]) -> None:
        for number, page in enumerate(pages, 1):
            self._say(m.InventoryPage, runs=page, more=number < len(pages))

    def disconnect(self) -> None:
        """The connection is gone; nothing said on it counts any more."""
        self.is_welcome = self._is_greeted = False
        self._out.clear()
        self._ready.clear()
        self._is_ready.clear()
        self._resumes.clear()
        self._recalled.clear()
        for run in self.runs.values():
            run.resumed = run.told_started = run.told_exit = False
            run.told_results, run.nacks = -1, 0
            run.sent, run.acked = {}, {}

    def receive(self, frame: str | bytes) -> list[Action]:
        """Take one frame from the master. Raises ProtocolError with ``close`` set when the connection cannot go on."""
        if isinstance(frame, bytes):
            raise ProtocolError("binary frame from the master", close=Close.PROTOCOL)
        if len(self._out) > UNSAID:
            raise ProtocolError("the master asks and does not listen", "rate", close=Close.RATE)
        try:
            message = m.from_master(frame)
        except ProtocolError as error:
            if error.close is not None:
                raise
            self._say(m.ErrorReply, re=error.re, code=error.code, text=str(error)[:500])
            return []
        if not self.is_welcome:
            return self._greeted(message)
        return self._told(message)

    def resume(self) -> None:
        """The identity is durable: tell each run from where the master has it."""
        self.is_welcome = True
        for resume in self._resumes.values():
            self._resume(resume)
        self._resumes.clear()
        if self._should_list:  # one that was deleted since may not be missing: the hello has vouched for it
            self._list(inventory.pages(self._kept_at_hello))

    def _resume(self, resume: m.Resume) -> None:
        if run := self.runs.get(resume.run):
            run.resumed = True
            run.sent, run.acked = dict(resume.sizes), dict(resume.sizes)
            self._wake(resume.run)

    # ---- facts from the disk side

    def accepted(self, run_id: str) -> None:
        """The request is durable."""
        cap, digest = self._storing.pop(run_id)
        self.runs[run_id] = LocalRun(run=run_id, cap=cap, digest=digest, sizes={}, sent={}, acked={}, resumed=True)
        self._tell(m.Accepted, run=run_id)

    def declined(self, run_id: str, reason: str) -> None:
        """The request was not stored, and never will be."""
        self._storing.pop(run_id, None)
        self._tell(m.Declined, run=run_id, reason=reason[:4000])

    def started(self, run_id: str, at: float) -> None:
        """The first command began."""
        if (run := self.runs.get(run_id)) and run.started_at is None:
            run.started_at = at
            run.needs_secrets = False
            self._wake(run_id)

    def grew(self, run_id: str, sizes: dict[int, int]) -> None:
        """Streams of a run have these sizes on disk now."""
        if run := self.runs.get(run_id):
            run.sizes = {**run.sizes, **sizes}
            self._wake(run_id)

    def results(self, run_id: str, seq: int, value: bytes) -> None:
        """The run has new results, an object as JSON of at most RESULTS_INLINE bytes."""
        if run := self.runs.get(run_id):
            run.results = (seq, value)
            self._wake(run_id)

    def exited(self, run_id: str, sizes: dict[int, int], record: Record) -> None:
        """The exit record is durable; ``sizes`` are final."""
        if (run := self.runs.get(run_id)) and run.record is None:
            run.sizes, run.record = dict(sizes), record
            self._wake(run_id)

    def forgotten(self, run_id: str) -> None:
        """The run is deleted from the disk."""
        self.runs.pop(run_id, None)
        self.kept.pop(run_id, None)
        self._tell(m.Forgotten, run=run_id)

    def recalled(self, run: LocalRun, request: str) -> None:
        """The run counts as not committed, durably; ``run`` is as it is on disk."""
        self.kept.pop(run.run, None)
        known = self.runs.setdefault(run.run, run)
        known.committed = known.resumed = False
        self._recalled.add(run.run)
        self._tell(m.Recalled, run=run.run, request=request)

    def not_recalled(self, run_id: str) -> None:
        """The run cannot be read any more, or was deleted."""
        self._tell(m.Unknown, run=run_id)

    def removed(self, run_id: str) -> None:
        """A committed run was deleted after its retention; nobody needs to hear."""
        self.kept.pop(run_id, None)

    def beat(self, at: float, load: float, disk_free: int) -> None:
        """A sign of life."""
        self._tell(m.Beat, at=at, load=load, disk_free=disk_free)

    def drain(self, on: bool) -> None:
        """Ask the master for nothing new, or for work again."""
        self._tell(m.Drain, on=on)

    # ---- what to send

    def next(self) -> str | Read | None:
        """The next thing to send: a control message, or bytes to be read first. None: wait for a fact or a frame."""
        if self._out:
            return self._out.popleft()
        if not self.is_welcome:
            return None
        flying = sum(run.flying for run in self.runs.values()) if self._ready else 0
        for _ in range(len(self._ready)):
            run_id = self._ready.popleft()
            run = self.runs.get(run_id)
            told = self._next_of(run, flying) if run else None
            if told is not None:
                self._ready.append(run_id)  # behind the others: every run gets its turn (F31)
                return told
            self._is_ready.discard(run_id)
        return None

    def chunk(self, read: Read, payload: bytes) -> bytes | None:
        """The frame for bytes that ``next`` asked for; None when there is nothing to send.

        No bytes mean that the disk no longer has what it said it has: the run is told nothing more on this connection.
        """
        run = self.runs.get(read.run)
        if run is None or not payload:
            if run is not None:
                run.resumed = False
            return None
        run.sent[read.stream] = read.offset + len(payload)
        return frames.encode(read.run, read.stream, read.offset, payload)

    def _next_of(self, run: LocalRun, flying: int) -> str | Read | None:
        if not run.resumed or run.told_exit:
            return None
        if run.started_at is not None and not run.told_started:
            run.told_started = True
            return self._text(m.Started, run=run.run, at=run.started_at)
        if run.results and run.results[0] > run.told_results and run.record is None:
            run.told_results = run.results[0]
            return self._text(m.Results, run=run.run, seq=run.results[0], value=msgspec.Raw(run.results[1]))
        room = min(self._windows[0] - run.flying, self._windows[1] - flying, CHUNK)
        for stream in sorted(run.sizes):
            offset = run.sent.get(stream, 0)
            left = run.sizes[stream] - offset
            if left > 0:
                return Read(run=run.run, stream=stream, offset=offset, length=min(left, room)) if room > 0 else None
        if run.record is None:
            return None
        run.told_exit = True
        return self._text(m.Exited, run=run.run, **run.record.told(run.sizes))

    # ---- what the master says

    def _greeted(self, message: m.FromMaster) -> list[Action]:
        match message:
            case m.Welcome(protocol=spoken) if not self.protocols[0] <= spoken <= self.protocols[1]:
                raise ProtocolError(f"protocol {spoken} was not offered", "version", close=Close.VERSION)
            case m.Welcome(cluster=cluster) if self.identity.cluster not in (None, cluster):
                raise ProtocolError("another appliance answers at this address", close=Close.OTHER_CLUSTER)
            case m.Welcome() if not self._is_greeted:
                self._is_greeted = True
                self._windows = (message.run_window, message.worker_window)
                self.identity = msgspec.structs.replace(
                    self.identity, cluster=message.cluster, epoch=message.epoch, incarnation=message.incarnation
                )
                self._should_list = message.reconcile
                return self._merged(message)
            case m.ResumePage() if self._is_greeted:
                return self._merged(message)
            case m.ErrorReply():
                return [Refused(code=message.code, text=message.text)]
            case _:
                raise ProtocolError(f"{type(message).__name__} before welcome", "order", close=Close.PROTOCOL)

    def _merged(self, page: m.Welcome | m.ResumePage) -> list[Action]:
        self._resumes |= {one.run: one for one in page.resume if one.run in self.runs}
        actions: list[Action] = [*inventory.aborts(self.runs, page.resume)]
        actions += [Delete(run=run_id) for run_id in page.forget]
        actions += [Refused(code="unknown_run", text=f"the master does not know {run_id}") for run_id in page.unknown]
        if not page.more:
            actions.append(Keep(identity=self.identity))
        return actions

    def _told(self, message: m.FromMaster) -> list[Action]:
        match message:
            case m.Assign():
                return self._assigned(message)
            case m.Ack(run=run_id, stream=stream, offset=offset):
                if run := self.runs.get(run_id):
                    run.acked[stream] = max(run.acked.get(stream, 0), min(offset, run.sent.get(stream, 0)))
                    self._wake_all()
            case m.Nack(run=run_id):
                self._nacked(message)
            case m.Committed(run=run_id, proof=proof):
                if (run := self.runs.get(run_id)) and run.told_exit:  # never before it was told (I5)
                    del self.runs[run_id]
                    run.proof = proof
                    self.kept[run_id] = inventory.kept(run)
                    self._wake_all()  # its share of the window is free
                    return [Commit(run=run_id, proof=proof)]
            case m.Forget(run=run_id):
                return [Delete(run=run_id)]
            case m.Abort(run=run_id, grace=grace):
                if (run := self.runs.get(run_id)) and run.record is None:
                    return [Abort(run=run_id, grace=grace)]
            case m.Withdraw(run=run_id) if run_id not in self._storing:  # else ``accepted`` or ``declined`` follows
                known = run_id in self.runs or run_id in self.kept
                self._tell(m.Accepted if known else m.Unknown, re=message.id, run=run_id)
            case m.Recall(run=run_id):
                if run_id in self.runs or run_id in self.kept:
                    return [Recall(run=run_id)]
                self._tell(m.Unknown, re=message.id, run=run_id)
            case m.ResumePage(resume=resumes) if resumes and self._recalled.issuperset(one.run for one in resumes):
                for resume in resumes:
                    self._recalled.discard(resume.run)
                    self._resume(resume)
                return [*inventory.aborts(self.runs, resumes)]
            case m.Drain(on=on):
                return [Draining(on=on)]
            case m.ErrorReply(code=code, text=text):
                return [Refused(code=code, text=text, re=message.re)]
            case m.Welcome() | m.ResumePage():
                raise ProtocolError("a second welcome", "order", close=Close.PROTOCOL)
        return []

    def _assigned(self, message: m.Assign) -> list[Action]:
        digest = self._digest(message.request)
        run = self.runs.get(message.run)
        if message.run in self._storing:
            known, is_stored = self._storing[message.run][1], False
        elif run is not None:
            known, is_stored = run.digest, True
        elif message.run in self.kept:
            known, is_stored = self.kept[message.run].digest, True
        else:
            self._storing[message.run] = (message.cap, digest)
            return [Store(run=message.run, cap=message.cap, request=message.request, secrets=message.secrets)]
        if known != digest:  # public: digests of two requests that we were given
            self._tell(m.ErrorReply, re=message.id, code="conflict", text="another request for the same run")
            return []
        if is_stored:  # else it is on its way to the disk, and ``accepted`` follows
            self._tell(m.Accepted, re=message.id, run=message.run)
        if run is not None and run.needs_secrets:
            run.needs_secrets = False
            return [Secrets(run=message.run, secrets=message.secrets)]
        return []

    def _nacked(self, message: m.Nack) -> None:
        run = self.runs.get(message.run)
        if run is None:
            return
        run.nacks += 1
        if run.nacks > NACKS:
            return  # sending it for ever would help nobody; the next connection begins anew
        there = dict.fromkeys(run.sizes, 0) if message.restart else {**run.sent, **message.sizes}
        run.sent = {stream: min(size, run.sizes.get(stream, 0)) for stream, size in there.items()}
        run.acked = dict(run.sent)
        run.told_exit = False
        self._wake(message.run)

    # ---- output

    def _text(self, kind: Callable[..., m.Message], **fields: object) -> str:
        text = m.encode(kind(id=self._next_id, **fields))
        self._next_id += 1
        return text

    def _say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        self._out.append(self._text(kind, **fields))

    def _tell(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """Say it if the conversation is open; else the next hello says it by its inventory."""
        if self.is_welcome:
            self._say(kind, **fields)

    def _wake(self, run_id: str) -> None:
        if run_id not in self._is_ready:
            self._is_ready.add(run_id)
            self._ready.append(run_id)

    def _wake_all(self) -> None:
        for run in self.runs.values():
            if run.resumed and not run.told_exit:
                self._wake(run.run)
