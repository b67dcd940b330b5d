"""A simulated worker: machine, disk, process, and the product's own journal, link and end of the protocol in it.

Real: ``Journal`` with everything beneath it, ``Link``'s doing of what the master wants, ``WorkerEnd``. A model stands
for the supervisor (``Overseer``: the same calls and the same order, without event loop, pidfds and starter) and for the
executor (sim_executor.py).
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import msgspec

from appliance.model.caps import request_digest
from appliance.model.entities import Worker
from appliance.wire.local_runs import Identity, Read
from appliance.wire.worker_end import WorkerEnd
from appliance.worker import rundir
from appliance.worker.journal import Journal, Recovered
from appliance.worker.link import Link
from appliance.worker.supervisor import Supervisor
from tests.faults.sim_disk import Died, Fuse, Platter, SimJournalDisk, close_under
from tests.faults.sim_executor import Execution
from tests.faults.sim_network import Cable, Goodbye

if TYPE_CHECKING:
    from tests.faults.simulator import World

ROOM = 1 << 40  # bytes free, unless the disk is full


class SimJournal(Journal):
    """The real journal; only how much room there is comes from the simulation."""

    is_nearly_full = False
    machine: Machine

    def forget(self, run_id: str) -> bool:
        """See the journal."""
        if self.run_directory(run_id).has(rundir.REQUEST):
            self.machine.world.note_deleted(run_id)
        return super().forget(run_id)

    def free_bytes(self) -> int:
        """See the journal."""
        return 0 if self.is_nearly_full else ROOM


class Overseer:
    """Model of ``Supervisor``: launch, watch, abort; tells the machine what is new."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._journal = machine.journal
        self._live: set[str] = set()

    def start(self, recovered: Recovered) -> None:
        """Adopt what runs, launch what waits."""
        self._live.update(recovered.running)
        for run_id in recovered.waiting:
            self.launch(run_id)

    def launch(self, run_id: str) -> None:
        """As the supervisor's."""
        run = self._journal.run(run_id)
        if run is not None and run.record is None and not run.needs_secrets and run_id not in self._live:
            self._live.add(run_id)
            self._machine.fork(run_id)

    def abort(self, run_id: str, grace: float) -> None:
        """As the supervisor's. The executor looks for the intent itself."""
        if not self._journal.intend_abort(run_id, grace) or run_id in self._live:
            return
        if self._journal.end_unstarted(run_id, "aborted", "requested", "aborted before its first command began"):
            self._live.add(run_id)
            self.look(run_id)

    def look_at_any(self, rng: random.Random) -> None:
        """The sweep, one run at a time."""
        if self._live:
            self.look(rng.choice(sorted(self._live)))

    def look(self, run_id: str) -> None:
        """As the supervisor's; whatever is wrong with one run stays with it (J07)."""
        try:
            self._look(run_id)
        except rundir.Damaged:
            self._live.discard(run_id)

    def _look(self, run_id: str) -> None:
        """Tell what is new of a run; find out what became of its executor."""
        machine, journal = self._machine, self._journal
        run = journal.run(run_id)
        if run is None:
            self._live.discard(run_id)
            return
        if run.started_at is not None:
            machine.end.started(run_id, run.started_at)
        if run.record is not None:
            self._live.discard(run_id)
            directory = journal.run_directory(run_id)
            directory.disk.sync_directory(directory.path)
            machine.tell_end(run_id, run.sizes, run.record)
            return
        machine.end.grew(run_id, run.sizes)
        if run.results is not None:
            machine.end.results(run_id, *run.results)
        if machine.is_executed(run_id) or journal.run_directory(run_id).is_locked():
            return
        if run.started_at is None:
            machine.fork(run_id)
        else:
            with contextlib.suppress(OSError):  # the disk is full; the next look tries again
                journal.settle(run_id)


class Machine:
    """A worker's machine. Its process, its executors, its power and its journal come and go."""

    def __init__(self, world: World, worker: Worker, name: str, slots: int = 3) -> None:
        self.world, self.worker, self.name, self.slots = world, worker, name, slots
        self.directory = world.directory / name
        self.memory = world.directory / f"{name}.memory"  # a tmpfs, for secrets
        self.rng = world.rng
        self.fuse = Fuse()
        self.executions: dict[str, Execution] = {}
        self.cable: Cable | None = None
        self.cables: list[Cable] = []  # all it ever had
        self.boots = 0
        self.is_offline = False  # its network is away
        self.calls_at = 0.0  # when it connects next
        self.pieces: int | None = None  # how much its runs write, unless chance says so
        self.new_journal()

    # ---- the machine

    @property
    def boot(self) -> str:
        """Id of this boot."""
        return f"{self.name}-boot-{self.boots}"

    @property
    def live(self) -> list[Execution]:
        """Executors that have not ended."""
        return [one for one in self.executions.values() if not one.is_over]

    def new_journal(self) -> None:
        """The disk is empty, the token is the same: a worker re-created (F26)."""
        self.boots += 1
        self.platter = Platter(self.directory, self.rng)
        identity = Identity(journal=f"{self.rng.getrandbits(128):032x}")
        (self.directory / "identity.json").write_bytes(msgspec.json.encode(identity))
        self.disk = SimJournalDisk(self.platter, self.fuse)
        self.start()
        self.platter.settle()

    def start(self) -> None:
        """A process begins: it reads the journal, as ``WorkerProcess.run`` does."""
        journal = self.journal = SimJournal(
            self.directory, runtime=self.memory, boot_id=self.boot, disk=self.disk, clock=self.world.clock
        )
        journal.machine = self
        recovered: Recovered | None = None
        while recovered is None:
            try:
                journal.open()
                recovered = journal.recover()
            except Died:
                journal.close()
        runs = journal.runs()
        for run in runs:
            if run.record is not None and not run.committed:
                self.world.note_end(run.run, run.sizes, run.record)
        self.end = WorkerEnd(journal.identity, runs, request_digest)
        self.overseer = Overseer(self)
        self.link = Link(
            url="http://simulated",
            token="t",
            slots=self.slots,
            properties={},
            end=self.end,
            journal=journal,
            supervisor=cast(Supervisor, self.overseer),
            clock=self.world.clock,
            on_commit=lambda _: None,
            random=self.rng.random,
        )
        self.overseer.start(recovered)

    def kill(self) -> None:
        """kill -9 of the worker process, and another one begins (F03). Executors do not notice."""
        self._end_process()
        self.start()

    def lose_power(self) -> None:
        """The machine goes down, and up again: everything that ran on it is dead (F07)."""
        for path in (self.directory / "runs").iterdir():
            if not (path / rundir.EXIT).exists():
                self.world.deed(path.name).lost_power = True
        for one in self.live:
            one.close()
        self.executions.clear()
        self._end_process()
        close_under(self.directory)
        self.platter.lose_power()
        shutil.rmtree(self.memory)
        self._note_lost_ends()
        self.boots += 1
        self.start()

    def _note_lost_ends(self) -> None:
        """An exit record whose executor was killed before it was durable may be gone; then it never was."""
        for path in (self.directory / "runs").iterdir():
            deed = self.world.deed(path.name)
            if deed.is_end_torn and deed.told is None and not (path / rundir.EXIT).exists():
                deed.ended, deed.lost_power = None, True

    def wipe(self) -> None:
        """The directory is emptied; what ran is dead."""
        self.leave()
        self.new_journal()

    def leave(self) -> None:
        """The machine is thrown away."""
        for one in self.live:
            one.close()
        self.executions.clear()
        self._end_process()
        close_under(self.directory)
        self.platter.erase()
        shutil.rmtree(self.memory)

    def _end_process(self) -> None:
        self.fuse.quench()
        self.cut()
        self.journal.close()

    # ---- executors

    def fork(self, run_id: str) -> None:
        """What the starter does."""
        if not self.is_executed(run_id):
            self.executions[run_id] = Execution(self, run_id, self.rng, self.pieces)

    def is_executed(self, run_id: str) -> bool:
        """Whether an executor of the run lives here."""
        found = self.executions.get(run_id)
        return found is not None and not found.is_over

    # ---- the process

    def cut(self) -> None:
        """The worker's end of its connection is closed."""
        if self.cable is not None:
            self.cable.leave_worker()
            self.cable = None
            self.calls_at = self.world.now + self.rng.random() * 3.0
        self.end.disconnect()

    def connect(self) -> None:
        """Call the master, as ``Link._converse`` does."""
        cable = self.world.dial(self)
        if cable is None:
            self.calls_at = self.world.now + self.rng.random() * 3.0
            return
        self.cable = cable
        self.cables.append(cable)
        self.end.connect(
            instance="1" * 32, software="sim", boot=self.boot, at=self.world.now, slots=self.slots, properties={}
        )

    def step(self) -> bool:
        """One small thing that this machine does; answers whether there was something to do."""
        self.journal.is_nearly_full = self.disk.is_full and self.rng.random() < 0.5
        return self._in_process(self._step)

    def _in_process(self, act: Callable[[], bool | None]) -> bool:
        """Let the process do something, in which it may die."""
        try:
            return bool(act())
        except Died as place:
            self.world.count("worker killed within a step", str(place))
            self._end_process()
            self.start()
            return True

    def _step(self) -> bool:
        live = self.live
        what = self.rng.randrange(6)
        if what == 0 and live:
            self.rng.choice(live).step()
            return True
        if what == 1:
            self.overseer.look_at_any(self.rng)
            return False
        if self.cable is None:
            if self.is_offline or self.world.now < self.calls_at:
                return False
            self.connect()
            return True
        if self.cable.is_overdue(self.world.now):
            self.cut()
            return True
        if what in (2, 3):
            return self._listen(self.cable)
        return self._talk(self.cable)

    def _listen(self, cable: Cable) -> bool:
        if self.world.now < cable.held_until:
            return False
        if not cable.to_worker:
            if cable.has_master:
                return False
            self.cut()
            return True
        frame = cable.to_worker.popleft()
        if isinstance(frame, Goodbye):
            self.cut()
            if frame.code in (4002, 4003):
                self.calls_at = self.world.now + 20.0
            return True
        try:
            for _ in range(2 if self.world.repeats(frame) else 1):
                for action in self.end.receive(frame):
                    self.fuse.burn("before an action")
                    self.link._do(action)
                    self.fuse.burn("after an action")
        except OSError:  # the disk is full: the link comes back later
            self.cut()
        except Exception as error:  # so does the real link; but it should not have to
            self.world.note_error("the link of a worker failed", error)
            self.cut()
        return True

    def _talk(self, cable: Cable) -> bool:
        item = self.end.next()
        if item is None:
            return False
        if isinstance(item, Read):
            payload = self.journal.read(item.run, item.stream, item.offset, item.length)
            frame: str | bytes | None = self.end.chunk(item, payload)
        else:
            frame = item
        if frame is not None:
            cable.send_to_master(frame)
            if self.world.repeats(frame):
                cable.send_to_master(frame)
        self.fuse.burn("after a send")
        return True

    def beat(self) -> None:
        """A sign of life, as ``Link._beat``."""
        if self.end.is_welcome:
            self._in_process(self.link.beat)

    def trim(self) -> None:
        """All retention is over."""
        self._in_process(self._trim)

    def _trim(self) -> None:
        for run_id in self.journal.trim(keep_bytes=0):
            self.end.removed(run_id)

    def tell_end(self, run_id: str, sizes: dict[int, int], record: object) -> None:
        """An exit record is durable; the link hears of it, as in ``WorkerProcess.exited``."""
        self.world.note_end(run_id, sizes, record)
        self.end.exited(run_id, sizes, record)  # type: ignore[arg-type]  # a Record, which the world reads too
        self.link.exited(run_id)
