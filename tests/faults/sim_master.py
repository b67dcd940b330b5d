"""A simulated life of the master: the product's own use cases, dispatcher, roster, sweeper and conversations.

Models stand for ``App`` (the order of the start), for the gateway and ``Connection`` (``Voice``: outbox, unsent
assignments, the reminder on an event) and for the lanes: there is one thread, so every word is done whole before the
next, unless the master dies in it.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from appliance.clock import SteadyClock
from appliance.db.logs import LogStore
from appliance.db.repository import Repository
from appliance.events import Events
from appliance.inventories import Inventories
from appliance.job_versions import JobVersions
from appliance.leases import Leases
from appliance.master.conversation import Conversation
from appliance.master.dispatcher import Dispatcher
from appliance.master.roster import Roster
from appliance.master.sweeper import Sweeper
from appliance.model import run_state
from appliance.model.caps import make_incarnation
from appliance.model.entities import Worker
from appliance.model.requests import Limits
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.wire import ProtocolError
from appliance.wire import messages as m
from appliance.wire.master_end import Greeting, MasterEnd, Merged, Stage
from appliance.workers import Workers
from tests.faults.sim_disk import Fuse, SimLogDisk
from tests.faults.sim_ledger import WatchedRepository
from tests.faults.sim_network import Cable, Goodbye

if TYPE_CHECKING:
    from tests.faults.simulator import World

KEY = b"k" * 32


class Voice:
    """The gateway's part of one connection: the master's end of the protocol over a cable."""

    def __init__(self, master: Master, worker: Worker, cable: Cable) -> None:
        lineage = master.lineage
        self.cable = cable
        self.worker_id = worker.id
        self.end = MasterEnd(lineage.cluster, lineage.epoch, lineage.incarnation, master.world.clock.monotonic)
        self._master = master
        self._outbox: deque[tuple[str, str | None]] = deque()  # text, and the run it assigns
        self._unsent: list[str] = []
        self.conversation = Conversation(
            worker,
            self,
            runs=master.runs,
            leases=master.leases,
            inventories=master.inventories,
            workers=master.workers,
            roster=master.roster,
            events=master.events,
            clock=master.world.clock,
            send=master.dispatcher.send,
        )

    # ---- what the product calls

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """See ``roster.Voice``."""
        run_id = str(fields["run"]) if kind is m.Assign else None
        if self.end.closed is not None:
            if run_id is not None:
                self._unsent.append(run_id)
            return
        self.end.say(kind, **fields)
        self._take(run_id)

    def refuse(self, error: ProtocolError) -> None:
        """See ``roster.Voice``."""
        self.end.refuse(error)
        self._take()

    def close(self, code: int, text: str) -> None:
        """See ``roster.Voice``."""
        self.end.close(code, text)

    def retire(self) -> None:
        """See ``roster.Voice``."""
        self.conversation.retire(0)

    # ---- what the simulation calls

    def hear(self) -> None:
        """One frame arrives."""
        frame = self.cable.to_master.popleft()
        event = self.end.receive(frame)
        self._take()
        master = self._master
        if self.conversation.seat is not None:
            if self.end.closed is None:
                master.world.heard[self.conversation.seat.journal_id] = (master.lineage.epoch, master.world.now)
            master.roster.heard(self.worker_id, master.world.clock.now())
        if isinstance(event, Greeting):
            self._greet(event)
        elif event is not None:
            self.conversation.take(event)

    def flush(self) -> None:
        """The writer's turn: what is to be sent goes on its way; a conversation that is over is closed."""
        while self._outbox:
            text, _ = self._outbox.popleft()
            self._master.fuse.burn("before a frame is sent")
            self.cable.send_to_worker(text)
        if self.end.closed is not None:
            self.cable.send_to_worker(Goodbye(*self.end.closed))
            self.cable.leave_master()

    def ended(self) -> None:
        """The connection is gone, and the master has noticed."""
        unsent = self._unsent + [run_id for _, run_id in self._outbox if run_id is not None]
        self.end.close(1006, "gone")
        self.cable.leave_master()
        self.conversation.end(unsent)

    def _greet(self, greeting: Greeting) -> None:
        """As ``Gateway._greet``."""
        try:
            self.conversation.greet(greeting, lambda merged: self._welcome(greeting, merged))
        except Exception as error:
            self._master.world.note_error("an inventory could not be merged", error)
            self.end.close(1012, "the inventory could not be merged")

    def _welcome(self, greeting: Greeting, merged: Merged) -> None:
        self.end.welcome(greeting, merged, self._master.world.clock.now())
        self._take()

    def _take(self, run_id: str | None = None) -> None:
        self._outbox.extend((text, run_id) for text in self.end.take())


class Master:
    """One life, from a start to a kill."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self.world = world
        self.fuse = fuse
        self.voices: list[Voice] = []
        watched = WatchedRepository(world.repository, fuse, world.ledger, world.refuses)
        repository = cast(Repository, watched)
        clock = world.clock
        self.disk = SimLogDisk(world.platter, fuse)
        self.logs = LogStore(world.platter.root, world.boot, disk=self.disk, on_fatal=world.note_fatal)
        leased = repository.runs.leased()
        records = [record for run, _ in leased for record in repository.runs.streams(run.id)]
        self.logs.recover(records, [run.id for run, _ in leased])
        incarnation = make_incarnation(KEY, world.rng.randbytes(8))
        self.lineage = repository.lineage.open_epoch(incarnation, world.boot, clock.now())
        self.events = Events()
        self.roster = Roster(clock.monotonic)
        versions = JobVersions(repository)
        limits = Limits()
        self.runs = Runs(repository, self.logs, clock, self.events, versions, limits, new_id=self._new_id)
        self.leases = Leases(repository, self.runs, self.logs, clock, KEY)
        recoveries = Recoveries(repository, clock, self.events)
        self.inventories = Inventories(repository, self.runs, self.leases, self.logs, clock, KEY, recoveries)
        self.workers = Workers(repository, clock, self.events, self.roster, world.rng.randbytes)
        epoch = self.lineage.epoch
        self.dispatcher = Dispatcher(
            repository,
            self.leases,
            self.roster,
            self.events,
            lambda: epoch,
            lambda _: "t",
            versions,
            limits,
            may_give=lambda: not self.disk.is_full,
        )
        steady = SteadyClock(clock)
        self.sweeper = Sweeper(repository, self.runs, self.leases, self.workers, self.roster, steady, versions, limits)
        self.sweeper._since = clock.monotonic()  # what ``start`` does before it starts threads
        self.dispatcher.load()
        self.events.subscribe(self._remind)

    def dial(self, worker: Worker) -> Cable:
        """A worker connects. As in the gateway, an older connection that has not said its hello is closed: that hello
        may still arrive, after the new one, and its inventory would be out of date (I2)."""
        for voice in self.voices:
            if voice.worker_id == worker.id and voice.end.stage is Stage.HELLO:
                voice.close(4001, "a newer connection of this worker took over")
        cable = Cable()
        self.voices.append(Voice(self, worker, cable))
        return cable

    def look_for_room(self) -> None:
        """As ``App._look_for_room``: when the disk has room again, what waited for it goes on (F16)."""
        if not self.disk.is_full:
            self.roster.resume()

    def notice(self, voice: Voice) -> None:
        """A connection is gone."""
        self.voices.remove(voice)
        voice.ended()

    def stop(self) -> None:
        """SIGTERM: every connection is closed with 1012, what arrived is made durable (F02)."""
        for voice in list(self.voices):
            voice.end.close(1012, "service restart")
            voice.flush()
            self.notice(voice)
        self.sweeper.write_beats()
        self.sweeper.sync_streams()
        self.logs.close()

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self.world.rng.getrandbits(128), version=4))

    def _remind(self, event: Any) -> None:
        """As ``Gateway._on_event``: tell the worker what is wanted."""
        run = getattr(event, "run", None)
        if run is not None and run.status in run_state.LEASED and (run.should_abort or run.should_cancel):
            seat = self.roster.seat_of(run.id)
            if seat is not None:
                seat.voice.say(m.Abort if run.should_abort else m.Withdraw, run=run.id)
        worker_id = getattr(event, "worker_id", None)
        if worker_id is not None and (worker := self.world.repository.workers.get(worker_id)) is not None:
            self.roster.update(worker)
