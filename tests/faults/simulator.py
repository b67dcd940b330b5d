"""One master and a few workers in one thread, over the product's own code; clock, network, disks, processes and chance
are made up, all of one seed, so that a failure comes back with its seed.

What is real and what is a model stands at the top of machines.py, sim_master.py, sim_executor.py and sim_ledger.py. The
faults stand in sim_faults.py, the invariants in invariants.py.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from appliance.clock import FakeClock
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet, RunFilter
from appliance.model import run_state
from appliance.model.entities import IdempotencyKey, Job, Project, Run, Source
from appliance.model.errors import ApplianceError, Conflict, Unavailable
from tests.faults import invariants
from tests.faults.machines import Machine
from tests.faults.sim_disk import Died, Fuse, Platter, close_under
from tests.faults.sim_executor import Deed
from tests.faults.sim_ledger import Ledger
from tests.faults.sim_master import Master
from tests.faults.sim_network import Cable

JOB = {"identifier": "work", "definition": {"commands": [["work"]]}}
SOURCE = Source(type="user", user="sim")
HEALED_WITHIN = 60.0  # seconds (I9)


class _Errors(logging.Handler):
    """Exceptions that the product logged because it did not foresee them (I7)."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, ApplianceError):
            self._found.append(f"{record.getMessage()}: {error!r}")


class World:
    """Everything of one seed. A context manager: it listens to the product's log, and holds descriptors."""

    def __init__(self, seed: int, directory: Path, *, workers: int = 2, slots: int = 3) -> None:
        """``directory``: empty, for the files of this world; best in memory."""
        self.rng = random.Random(seed)
        self.directory = directory
        self.clock = FakeClock()
        self.faults: Counter[str] = Counter()
        self.trace = hashlib.sha256()
        self.repository = MemoryRepository()
        self.ledger = Ledger()
        self.platter = Platter(directory / "logs", self.rng)
        self.fuse = Fuse()
        self.master: Master | None = None
        self.machines: list[Machine] = []
        self.acknowledged: set[str] = set()
        self.wishes: list[IdempotencyKey] = []  # triggers that nobody has answered yet
        self.damaged: set[str] = set()  # runs whose log on the server somebody spoilt
        self.resets: set[str] = set()  # workers that came with a new journal
        self.errors: list[str] = []
        self.heard: dict[str, tuple[int, float]] = {}  # journal -> in which life, and when, the master last heard it
        self.refusals = 0  # how often the database is busy from now on
        self.repeat_rate = 0.0
        self.is_power_at_stake = False  # whether the next death within a step is a power loss
        self.boots = 1
        self.idle_pace = 0.1  # seconds that a step takes at most in which nobody has anything to do
        self._deeds: dict[str, Deed] = {}
        self._wished = 0
        self._rises_at = 0.0
        self._log = logging.getLogger("appliance")
        self._listener = _Errors(self.errors)
        self._set_up(workers, slots)

    def _set_up(self, workers: int, slots: int) -> None:
        project = Project(identifier="p", display_name="p", document={})
        job = Job(
            project="p", identifier="work", display_name="", description="", document=JOB, definition_version="v" * 16
        )
        self.repository.projects.apply(ProjectSet((project,), (job,), ()), self.clock.now())
        self.master = Master(self, self.fuse)
        for number in range(workers):
            worker, _ = self.master.workers.create(f"w{number}", "sim")
            self.machines.append(Machine(self, worker, worker.name, slots))

    def __enter__(self) -> World:
        self._log.addHandler(self._listener)
        self._log.propagate = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.removeHandler(self._listener)
        self._log.propagate = True
        close_under(self.directory)

    # ---- what parts ask

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.now().timestamp()

    @property
    def boot(self) -> str:
        """Id of this boot of the server."""
        return f"server-boot-{self.boots}"

    def deed(self, run_id: str) -> Deed:
        """What the run has really done."""
        return self._deeds.setdefault(run_id, Deed(run_id))

    def dial(self, machine: Machine) -> Cable | None:
        """A worker calls the master."""
        return None if self.master is None or machine.is_offline else self.master.dial(machine.worker)

    def refuses(self) -> bool:
        """Whether the database is busy just now (F19)."""
        if self.refusals:
            self.refusals -= 1
            return self.rng.random() < 0.5
        return False

    def repeats(self, frame: str | bytes) -> bool:
        """Whether a frame is delivered twice (I6); a hello and a welcome are not, they would end the connection."""
        if not self.repeat_rate or self.rng.random() >= self.repeat_rate:
            return False
        if isinstance(frame, str) and any(
            kind in frame[:60] for kind in ('"hello"', '"inventory', '"welcome"', '"resume"')
        ):
            return False
        self.count("frame delivered twice")
        return True

    def read_log(self, run_id: str, stream: int) -> bytes:
        """What the master's log files hold."""
        path = self.platter.root / run_id[:2] / run_id / f"{stream}.log"
        return path.read_bytes() if path.exists() else b""

    def all_runs(self) -> list[Run]:
        """Every run there is."""
        return self.repository.runs.find(RunFilter(), None, 100_000)

    def live(self) -> list[Run]:
        """Runs that have not ended."""
        return self.repository.runs.find(RunFilter(status=tuple(sorted(run_state.LIVE))), None, 100_000)

    # ---- what parts tell

    def count(self, fault: str, note: str = "") -> None:
        """A fault was injected."""
        self.faults[fault] += 1
        self.trace.update(f"{fault} {note} {self.now:.3f};".encode())

    def note_start(self, deed: Deed) -> None:
        """The gate of a run has opened."""
        invariants.check_start(self, deed)

    def note_end(self, run_id: str, sizes: dict[int, int], record: Any) -> None:
        """A worker tells the end of a run: the same one each time."""
        told = (record.status, record.reason, dict(sizes), dict(record.digests))
        deed = self.deed(run_id)
        invariants.expect(deed.told in (None, told), "I4", f"the end of {run_id} was {deed.told} and is {told}")
        deed.told = told

    def note_deleted(self, run_id: str) -> None:
        """A worker deletes a run."""
        invariants.check_deleted(self, run_id)

    def note_error(self, what: str, error: Exception) -> None:
        """Something failed where only storage may fail."""
        if not isinstance(error, Unavailable):
            self.errors.append(f"{what}: {error!r}")

    def note_fatal(self, error: OSError) -> None:
        """The log store broke; nothing here breaks it."""
        self.errors.append(f"the log store is broken: {error}")

    # ---- the master comes and goes

    def in_master(self, act: Callable[[Master], object]) -> bool:
        """Let the master do something, in which it may die; False when it is down."""
        if self.master is None:
            return False
        try:
            act(self.master)
        except Died as place:
            kind = "server lost power within a step" if self.is_power_at_stake else "master killed within a step"
            self.count(kind, str(place))
            self.end_master(power=self.is_power_at_stake)
        except Unavailable:
            pass  # a person or a loop was told to come back later
        return True

    def end_master(self, *, power: bool) -> None:
        """kill -9 of the master, or the end of its machine: everything in memory is gone."""
        if self.master is not None:
            for voice in self.master.voices:
                voice.cable.leave_master()
                if power:
                    voice.cable.swallow(self.now)
        self.master = None
        self.fuse.quench()
        close_under(self.platter.root)
        if power:
            self.platter.lose_power()
            self.boots += 1
        self._rises_at = self.now + self.rng.random() * 4.0

    def rise(self) -> None:
        """A new life of the master over the same database and log files."""
        try:
            self.master = Master(self, self.fuse)
        except (Died, Unavailable):
            self.end_master(power=False)

    # ---- people

    def wish(self) -> None:
        """Somebody wants a run, and asks until it is answered."""
        self._wished += 1
        self.wishes.append(IdempotencyKey(owner="sim", key=f"key {self._wished}", digest=f"{self._wished:064x}"))
        self.ask_for_wishes()

    def ask_for_wishes(self) -> None:
        """Ask (again) for the oldest one."""
        if not self.wishes:
            return
        key = self.wishes[0]

        def trigger(master: Master) -> None:
            run, _ = master.runs.trigger("p", "work", {}, SOURCE, key=key)
            self.acknowledged.add(run.id)
            self.wishes.pop(0)

        self.in_master(trigger)

    def ask_to_end(self) -> None:
        """Somebody cancels or aborts a run, in whatever state it is (F42)."""
        if not self.acknowledged:
            return
        run_id = self.rng.choice(sorted(self.acknowledged))
        kind = self.rng.choice(("cancel", "abort"))

        def ask(master: Master) -> None:
            try:
                (master.runs.cancel if kind == "cancel" else master.runs.abort)(run_id, "sim")
                self.count(f"{kind} asked")
            except Conflict:
                pass

        self.in_master(ask)

    # ---- time

    def step(self) -> None:
        """One small thing that happens somewhere, if there is something to do; else time goes by."""
        chance = self.rng.random()
        is_busy = True
        if self.master is None and self.now >= self._rises_at:
            self.rise()
        elif chance < 0.35:
            is_busy = self.in_master(self._step_master)
        elif chance < 0.37 and self.wishes:
            self.ask_for_wishes()
        elif chance < 0.38:
            self.rng.choice(self.machines).beat()
        else:
            is_busy = self.rng.choice(self.machines).step()
        self.clock.advance(self.rng.random() * (0.01 if is_busy else self.idle_pace))

    def _step_master(self, master: Master) -> None:
        what = self.rng.randrange(20)
        if what == 0:
            master.sweeper.write_beats()
        elif what == 1:
            master.sweeper.sync_streams()
        elif what == 2:
            master.sweeper.sweep()
        elif what == 3:
            master.look_for_room()
        elif what <= 6:
            master.dispatcher.step()
        elif master.voices:
            voice = self.rng.choice(master.voices)
            cable = voice.cable
            is_cut = not cable.has_worker and not cable.to_master
            if is_cut or not cable.has_master or cable.is_overdue(self.now):
                master.notice(voice)
            elif not cable.has_worker and self.rng.random() < 0.05:
                master.notice(voice)  # before the last frames of the old connection have come
            elif what <= 11:
                voice.flush()
            elif cable.to_master and self.now >= cable.held_until:
                voice.hear()

    def settle(self, within: float = HEALED_WITHIN, most: int = 200_000) -> float:
        """No more faults: everything comes to its end; answers after how many seconds. Raises Violation (I9)."""
        began = self.now
        for _ in range(most):
            self.step()
            if self.rng.random() < 0.01 and self.is_settled():
                invariants.expect(self.now - began <= within, "I9", f"it took {self.now - began:.1f} s to heal")
                return self.now - began
        raise invariants.Violation("I1", f"did not settle: {[(run.id, run.status) for run in self.live()]}")

    def is_settled(self) -> bool:
        """Whether all runs have ended, and every worker knows."""
        return (
            not self.wishes
            and not self.live()
            and self.master is not None
            and all(one.end.is_welcome and not one.end.runs for one in self.machines)
            and all(run.committed for one in self.machines for run in one.journal.runs())
        )


__all__ = ["World"]
