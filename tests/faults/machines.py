"""The simulated things that a world is made of: disks, executors, cables and machines."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from appliance.db.logs import Gap
from appliance.master.conversation import Conversation
from appliance.model.caps import request_digest
from appliance.model.entities import StreamRecord, Worker
from appliance.wire import ProtocolError
from appliance.wire import messages as m
from appliance.wire.local_runs import (
    Abort,
    Action,
    Commit,
    Delete,
    Identity,
    Keep,
    LocalRun,
    Read,
    Record,
    Secrets,
    Store,
)
from appliance.wire.master_end import Greeting, MasterEnd, Merged
from appliance.wire.worker_end import WorkerEnd

if TYPE_CHECKING:
    from tests.faults.simulator import World


class Logs:
    """The master's log store on a disk that a crash of the process does not touch."""

    def __init__(self) -> None:
        self.streams: dict[tuple[str, int], bytearray] = {}

    def append(self, run_id: str, stream: int, offset: int, data: bytes | memoryview) -> int:
        have = self.streams.setdefault((run_id, stream), bytearray())
        if offset > len(have):
            raise Gap(len(have))
        have += bytes(data)[len(have) - offset :]
        return len(have)

    def size(self, run_id: str, stream: int) -> int:
        return len(self.streams.get((run_id, stream), b""))

    def read(self, run_id: str, stream: int, offset: int, limit: int) -> bytes:
        return bytes(self.streams.get((run_id, stream), b"")[offset : offset + limit])

    def sync(self, run_id: str, stream: int) -> StreamRecord:
        have = bytes(self.streams.get((run_id, stream), b""))
        return StreamRecord(run_id, stream, len(have), 0, "boot", hashlib.sha256(have).hexdigest())

    def sync_run(self, run_id: str, streams: Iterable[int]) -> list[StreamRecord]:
        return [self.sync(run_id, stream) for stream in sorted(streams)]

    def restart(self, run_id: str, stream: int) -> None:
        self.streams[run_id, stream] = bytearray()

    def close_run(self, run_id: str) -> None:
        """Nothing is held open."""


class Execution:
    """What an executor does with one run; it knows nothing of worker and master."""

    def __init__(self, run_id: str, rng: random.Random) -> None:
        self.run_id = run_id
        self.rng = rng
        self.starts = 0
        self.started_at: float | None = None
        self.log = bytearray()
        self.left = rng.randrange(0, 6)
        self.should_abort = False
        self.record: Record | None = None

    def step(self, now: float) -> None:
        """Do the next thing: begin, write, or end."""
        if self.record is not None:
            return
        if self.started_at is None:
            self.starts += 1
            self.started_at = now
        elif self.left and not self.should_abort:
            self.left -= 1
            self.log += self.rng.randbytes(self.rng.choice((1, 40, 3000, 70_000)))
        else:
            digest = {0: hashlib.sha256(self.log).hexdigest()} if self.log else {}
            aborted = self.should_abort and self.left > 0
            status, reason = (
                ("aborted", "requested") if aborted else self.rng.choice((("succeeded", None), ("failed", "exit_code")))
            )
            self.record = Record(
                status=status, at=now, digests=digest, reason=reason, sentence=reason or "", started_at=self.started_at
            )

    @property
    def sizes(self) -> dict[int, int]:
        return {0: len(self.log)} if self.log else {}


class Disk:
    """What of a worker is durable: its journal. The executors' files are in it too."""

    def __init__(self, journal: str) -> None:
        self.identity = Identity(journal=journal)
        self.requests: dict[str, tuple[str, str]] = {}  # run -> cap, request
        self.committed: set[str] = set()
        self.executions: dict[str, Execution] = {}


class Pipe:
    """One connection: frames under way in both directions, in order."""

    def __init__(self) -> None:
        self.to_master: deque[str | bytes] = deque()
        self.to_worker: deque[str] = deque()
        self.is_open = True


class Voice:
    """The gateway's part: the master's end of one connection over a pipe."""

    def __init__(self, world: World, worker: Worker, pipe: Pipe) -> None:
        lineage = world.lineage
        self.pipe = pipe
        self.end = MasterEnd(lineage.cluster, lineage.epoch, lineage.incarnation, world.clock.monotonic)
        self.world = world
        self.unsent: list[str] = []
        self.conversation = Conversation(
            worker,
            self,
            runs=world.runs,
            leases=world.leases,
            inventories=world.inventories,
            workers=world.workers,
            roster=world.roster,
            events=world.events,
            clock=world.clock,
            send=world.dispatcher.send,
        )
        self.is_ended = False

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        if not self.pipe.is_open or self.end.closed:
            if kind is m.Assign:
                self.unsent.append(str(fields["run"]))
            return
        self.end.say(kind, **fields)
        self._send()

    def refuse(self, error: ProtocolError) -> None:
        self.end.refuse(error)
        self._send()

    def close(self, code: int, text: str) -> None:
        self.end.close(code, text)
        self._send()

    def retire(self) -> None:
        self.conversation.retire(0)

    def hear(self, frame: str | bytes) -> None:
        event = self.end.receive(frame)
        self._send()
        if isinstance(event, Greeting):
            self.conversation.greet(event, lambda merged: self._welcome(event, merged))
        elif event is not None:
            self.conversation.take(event)

    def ended(self) -> None:
        """The connection is gone; the master notices."""
        if not self.is_ended:
            self.is_ended = True
            self.end.close(1006, "gone")
            self.conversation.end(self.unsent)

    def _welcome(self, greeting: Greeting, merged: Merged) -> None:
        self.end.welcome(greeting, merged, self.world.clock.now())
        self._send()

    def _send(self) -> None:
        for text in self.end.take():
            if self.pipe.is_open:
                self.pipe.to_worker.append(text)
        if self.end.closed and self.pipe.is_open:
            self.pipe.is_open = False  # frames under way are lost with it


class Machine:
    """A worker: its process comes and goes, its disk and its executors stay."""

    def __init__(self, world: World, worker: Worker, disk: Disk) -> None:
        self.world, self.worker, self.disk = world, worker, disk
        self.pipe: Pipe | None = None
        self.voice: Voice | None = None
        self.start()

    def start(self) -> None:
        """A new process reads the journal."""
        disk = self.disk
        runs = []
        for run_id, (cap, request) in disk.requests.items():
            done = disk.executions.setdefault(run_id, Execution(run_id, self.world.rng))
            runs.append(
                LocalRun(
                    run=run_id,
                    cap=cap,
                    digest=request_digest(request),
                    sizes=done.sizes,
                    started_at=done.started_at,
                    record=done.record,
                    committed=run_id in disk.committed,
                )
            )
        self.end = WorkerEnd(disk.identity, runs, request_digest)

    def kill(self) -> None:
        """kill -9 of the worker process."""
        self.cut()
        self.start()

    def cut(self) -> None:
        """The connection is gone for the worker at once, for the master when it notices."""
        if self.pipe is not None:
            self.pipe.is_open = False
            self.pipe = None
        self.end.disconnect()

    def connect(self) -> None:
        if self.voice is not None and not self.voice.is_ended and self.world.rng.random() < 0.5:
            self.voice.ended()  # sometimes the master has noticed, sometimes the new connection comes first
        self.pipe = Pipe()
        self.voice = Voice(self.world, self.worker, self.pipe)
        self.world.voices.append(self.voice)
        self.end.connect(instance="1" * 32, software="sim", boot="b", at=self.world.now, slots=3, properties={})

    def step(self) -> None:
        """One small thing that this machine does."""
        rng, disk = self.world.rng, self.disk
        live = [one for run_id, one in disk.executions.items() if run_id not in disk.committed]
        what = rng.randrange(4)
        if what == 0 and live:
            one = rng.choice(live)
            had_record = one.record is not None
            one.step(self.world.now)
            if one.started_at is not None:
                self.end.started(one.run_id, one.started_at)
            self.end.grew(one.run_id, one.sizes)
            if one.record is not None and not had_record:
                self.end.exited(one.run_id, one.sizes, one.record)
        elif self.pipe is None or not self.pipe.is_open:
            self.cut()
            self.connect()
        elif what == 1 and self.pipe.to_worker:
            for action in self.end.receive(self.pipe.to_worker.popleft()):
                self.obey(action)
        elif what == 2 and (item := self.end.next()) is not None:
            if isinstance(item, Read):
                log = disk.executions[item.run].log
                chunk = self.end.chunk(item, bytes(log[item.offset : item.offset + item.length]))
                if chunk is not None:
                    self.pipe.to_master.append(chunk)
            else:
                self.pipe.to_master.append(item)
        elif what == 3 and self.pipe.to_master and self.voice is not None:
            self.voice.hear(self.pipe.to_master.popleft())

    def obey(self, action: Action) -> None:
        disk = self.disk
        match action:
            case Keep(identity=identity):
                disk.identity = identity
                self.end.resume()
            case Store(run=run_id, cap=cap, request=request):
                if self.world.rng.random() < self.world.declines:
                    self.end.declined(run_id, "no space")
                    return
                disk.requests[run_id] = (cap, request)
                disk.executions[run_id] = Execution(run_id, self.world.rng)
                self.end.accepted(run_id)
            case Abort(run=run_id):
                disk.executions[run_id].should_abort = True
            case Commit(run=run_id):
                disk.committed.add(run_id)
            case Delete(run=run_id):
                disk.requests.pop(run_id, None)
                disk.executions.pop(run_id, None)
                self.end.forgotten(run_id)
            case Secrets():
                pass
