"""A master and workers that talk through the real protocol ends, use cases, roster and dispatcher, in one thread.

Only what lies outside is made up: clock, network, disks, executors and chance, all of one seed, so that a failure comes
back with its seed. Faults: a cut connection with everything under way, a killed master, a killed worker, a request that
cannot be stored. Executors live on through all of them, as the real ones do.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

from appliance.clock import FakeClock
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet, RunFilter
from appliance.events import Events
from appliance.inventories import Inventories
from appliance.job_versions import JobVersions
from appliance.leases import Leases
from appliance.master.dispatcher import Dispatcher
from appliance.master.roster import Roster
from appliance.model import run_state
from appliance.model.entities import Job, Project, Run, Source
from appliance.model.requests import Limits
from appliance.model.run_state import Status
from appliance.runs import Runs
from appliance.wire import messages as m
from appliance.workers import Workers
from tests.faults.machines import Disk, Logs, Machine, Voice

KEY = b"k" * 32
JOB = {"identifier": "work", "definition": {"commands": [["work"]]}}


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, workers: int = 2) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.repository = MemoryRepository()
        self.logs: Any = Logs()
        self.declines = 0.05
        self.voices: list[Voice] = []
        self.triggered: list[str] = []
        self.wanted_abort: set[str] = set()
        self.live_master()
        at = self.clock.now()
        project = Project(identifier="p", display_name="p", document={})
        job = Job(
            project="p", identifier="work", display_name="", description="", document=JOB, definition_version="v" * 16
        )
        self.repository.projects.apply(ProjectSet((project,), (job,), ()), at)
        self.machines = []
        for number in range(workers):
            worker, _ = self.workers.create(f"w{number}", "sim")
            self.machines.append(Machine(self, worker, Disk(f"{number + 1:032x}")))

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    def live_master(self) -> None:
        """A new life of the master over the same database and log files."""
        self.lineage = self.repository.lineage.open_epoch(f"{self.rng.getrandbits(128):032x}", "boot", self.clock.now())
        self.events = Events()
        self.roster = Roster()
        new_id = lambda: str(uuid.UUID(int=self.rng.getrandbits(128), version=4))  # noqa: E731  # ids of the seed
        versions = JobVersions(self.repository)
        self.runs = Runs(self.repository, self.logs, self.clock, self.events, versions, new_id=new_id)
        self.leases = Leases(self.repository, self.runs, self.logs, self.clock, KEY)
        self.inventories = Inventories(self.repository, self.runs, self.leases, self.logs, self.clock, KEY)
        self.workers = Workers(self.repository, self.clock, self.events, self.roster, self.rng.randbytes)
        self.dispatcher = Dispatcher(
            self.repository,
            self.leases,
            self.roster,
            self.events,
            lambda: self.lineage.epoch,
            lambda _: "t",
            versions,
            Limits(),
        )
        self.dispatcher.load()
        self.events.subscribe(self._remind)

    def kill_master(self) -> None:
        """kill -9 of the master: everything in memory and on the cables is gone."""
        for machine in self.machines:
            machine.cut()
            machine.voice = None
        self.voices.clear()
        self.live_master()

    def step(self, faults: bool) -> None:
        """One small thing that happens somewhere."""
        rng = self.rng
        self.clock.advance(rng.random() * 0.2)
        chance = rng.random()
        if faults and chance < 0.004:
            self.kill_master()
        elif faults and chance < 0.02:
            rng.choice(self.machines).kill()
        elif faults and chance < 0.05:
            rng.choice(self.machines).cut()
        elif chance < 0.08:
            for voice in [one for one in self.voices if not one.pipe.is_open]:
                voice.ended()
                self.voices.remove(voice)
        elif chance < 0.15:
            self.dispatcher.step()
        elif faults and chance < 0.17 and self.triggered:
            self._ask(rng.choice(self.triggered))
        elif chance < 0.2:
            for machine in self.machines:
                machine.end.beat(self.now, 0.0, 0)
        else:
            rng.choice(self.machines).step()

    def trigger(self) -> None:
        run, _ = self.runs.trigger("p", "work", {}, Source(type="user", user="sim"))
        self.triggered.append(run.id)

    def settle(self, most: int = 60_000) -> None:
        """No more faults: everything comes to its end."""
        self.declines = 0.0
        for _ in range(most):
            self.step(faults=False)
            if self.rng.random() < 0.02 and not self.live():
                return
        raise AssertionError(f"did not settle: {[(run.id, run.status) for run in self.live()]}")

    def live(self) -> list[Run]:
        return self.repository.runs.find(RunFilter(status=tuple(sorted(run_state.LIVE))), None, 1000)

    def check(self) -> None:
        """The invariants I1 to I4 and I6."""
        for run_id in self.triggered:
            run = self.repository.runs.get(run_id)
            assert run is not None and run.status in run_state.TERMINAL, run
            done = [machine.disk.executions[run_id] for machine in self.machines if run_id in machine.disk.executions]
            starts = sum(one.starts for one in done)
            assert starts <= 1, f"{run_id} was started {starts} times"
            if run.status is Status.CANCELLED:
                assert starts == 0
                continue
            (one,) = done
            assert one.record is not None
            assert (run.status, run.reason) == (one.record.status, one.record.reason), run
            assert self.logs.read(run_id, 0, 0, 1 << 30) == bytes(one.log)
            assert run.log.size == len(one.log) and run.log.complete and run.log.verified
            assert run.version > 1

    def _ask(self, run_id: str) -> None:
        try:
            (self.runs.cancel if self.rng.random() < 0.5 else self.runs.abort)(run_id, "sim")
        except Exception as error:
            if type(error).__name__ != "Conflict":
                raise

    def _remind(self, event: Any) -> None:
        """What the gateway does on an event: tell the worker what is wanted."""
        run = getattr(event, "run", None)
        if run is not None and run.status in run_state.LEASED and (run.should_abort or run.should_cancel):
            seat = self.roster.seat_of(run.id)
            if seat is not None:
                seat.voice.say(m.Abort if run.should_abort else m.Withdraw, run=run.id)


__all__ = ["World"]
