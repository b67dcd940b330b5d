"""A master without sockets: use cases, roster and dispatcher over the memory repository, and a worker's words."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

from appliance.clock import FakeClock, SteadyClock
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet
from appliance.events import Event, Events
from appliance.inventories import Inventories, Merge
from appliance.job_versions import JobVersions
from appliance.leases import Assignment, Holder, Leases
from appliance.lost_runs import LostRuns
from appliance.master.conversation import Conversation
from appliance.master.dispatcher import Dispatcher
from appliance.master.roster import Roster
from appliance.master.sweeper import Sweeper
from appliance.model import fitting
from appliance.model.caps import make_incarnation, request_digest
from appliance.model.entities import Job, Project, Run, Source, Worker
from appliance.model.fitting import Match
from appliance.model.requests import Limits, request_of
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.waits import Waits
from appliance.wire import ProtocolError
from appliance.wire import messages as m
from appliance.wire.master_end import Greeting, Merged
from appliance.workers import Registration, Workers
from tests.memory_logs import Logs

KEY = b"k" * 32
USER = Source(type="user", user="alice")
JOURNAL, OTHER_JOURNAL = "1" * 32, "2" * 32
DOCUMENT: dict[str, Any] = {
    "identifier": "work",
    "definition": {"commands": [["work"]]},
    "parameters": [{"key": "branch", "default": "main"}, {"key": "count", "type": "int", "default": 1}],
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def job(identifier: str = "work", version: str = "v1", **changes: Any) -> Job:
    """A job of the project ``p`` that runs one command; ``changes`` are of its document."""
    document = {**DOCUMENT, "identifier": identifier, **changes}
    return Job("p", identifier, "", "", document, f"{identifier}-{version}")


class Ear:
    """A voice that keeps what it was given to say."""

    def __init__(self) -> None:
        self.said: list[m.Message] = []
        self.closed: tuple[int, str] | None = None
        self.is_retired = False
        self._more = threading.Condition()

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        if self.closed is None:
            with self._more:
                self.said.append(kind(id=len(self.said) + 1, **fields))
                self._more.notify_all()

    def refuse(self, error: ProtocolError) -> None:
        self.say(m.ErrorReply, re=error.re, code=error.code, text=str(error))

    def close(self, code: int, text: str) -> None:
        self.closed = self.closed or (code, text)

    def retire(self) -> None:
        self.is_retired = True

    def wait_for(self, kind: type[m.Message], count: int) -> bool:
        """Wait until so many of a type were said."""
        with self._more:
            return self._more.wait_for(lambda: len(self.heard(kind)) >= count, timeout=30.0)

    def heard(self, kind: type[m.Message]) -> list[Any]:
        """What was said of one type."""
        return [one for one in self.said if isinstance(one, kind)]


class Place:
    """Everything of a master, and shorthands. ``restart`` begins another life over the same storage."""

    def __init__(self, *jobs: Job, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.repository = MemoryRepository()
        self.limits = limits or Limits()
        self.logs: Any = Logs()
        self.random = random.Random(5)
        self.has_room = True  # on the server's disk
        self.match: Match = fitting.match
        self.requests: dict[str, str] = {}  # as the worker keeps them
        self.digests: dict[str, str] = {}  # of those
        self.put_jobs(*(jobs or (job(),)))
        self.restart()

    def restart(self) -> None:
        """Another life of the master over the same storage."""
        self.lineage = self.repository.lineage.open_epoch(
            make_incarnation(KEY, self.random.randbytes(8)), "boot", self.clock.now()
        )
        self.events = Events()
        self.seen: list[Event] = []
        self.events.subscribe(self.seen.append)
        self.versions = JobVersions(self.repository)
        self.recoveries = Recoveries(self.repository, self.clock, self.events)
        self.steady = SteadyClock(self.clock)
        self.steady.resume(self.repository.lineage.clock_mark())
        self.roster = Roster(self.clock.monotonic)
        self.runs = Runs(
            self.repository,
            self.logs,
            self.clock,
            self.events,
            self.versions,
            self.limits,
            new_id=self.new_id,
            holds=self.recoveries.holds,
            steady=self.steady,
        )
        self.leases = Leases(self.repository, self.runs, self.logs, self.clock, KEY)
        self.inventories = Inventories(
            self.repository, self.runs, self.leases, self.logs, self.clock, KEY, self.recoveries
        )
        self.workers = Workers(self.repository, self.steady, self.events, self.roster, self.random.randbytes)
        self.lost_runs = LostRuns(self.repository, self.runs, self.leases, self.workers)
        self.dispatcher = Dispatcher(
            self.repository,
            self.leases,
            self.roster,
            self.events,
            lambda: self.lineage.epoch,
            lambda run_id: f"token of {run_id}",
            self.versions,
            self.limits,
            holds=self.recoveries.holds,
            cancel_unwanted=self.runs.cancel_unwanted,
            may_give=lambda: self.has_room,
            match=self.match,
        )
        self.waits = Waits(self.repository, self.workers, self.clock, self.dispatcher.outlook, self.recoveries)
        self.sweeper = Sweeper(
            self.repository,
            self.runs,
            self.leases,
            self.workers,
            self.roster,
            self.steady,
            self.versions,
            self.limits,
        )

    def new_id(self) -> str:
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    def put_jobs(self, *jobs: Job) -> None:
        """The configuration: the project ``p`` with these jobs."""
        self.repository.projects.apply(
            ProjectSet((Project("p", "P", {"identifier": "p"}),), jobs, ()), self.clock.now()
        )

    def now_stamp(self) -> float:
        """Seconds since 1970."""
        return self.clock.now().timestamp()

    # ---- runs

    def trigger(self, job: str = "work", **parameters: Any) -> Run:
        """A pending run; the clock moves on, so that each is younger than the one before."""
        self.clock.advance(1)
        return self.runs.trigger("p", job, parameters, USER)[0]

    def now(self, run: Run) -> Run:
        """The run as it is stored."""
        return self.runs.get(run.id)

    # ---- workers

    def worker(self, name: str = "w1", journal: str = JOURNAL, **said: Any) -> Worker:
        """A worker that has been here before, with this journal."""
        worker, _ = self.workers.create(name, "alice", said.pop("properties", None))
        registration = Registration(
            journal_id=journal,
            software="orchestra-appliance 0",
            slots=said.pop("slots", 2),
            properties=said.pop("reported", {}),
            clock_offset=0.0,
        )
        return self.workers.register(worker.id, registration)

    def worker_named(self, name: str) -> Worker:
        """A worker that was made before."""
        return self.workers.named(name).worker

    def holder(self, worker: Worker, journal: str | None = None) -> Holder:
        return Holder(worker_id=worker.id, journal_id=journal or worker.journal_id or "", name=worker.name)

    def assign(self, worker: Worker, run: Run | None = None) -> Run:
        """A run that is leased to the worker, which has not answered yet."""
        return self.assignment(worker, run).run

    def assignment(self, worker: Worker, run: Run | None = None) -> Assignment:
        run = run or self.trigger()
        document = self.versions.get(run.definition_version)
        request = request_of(run, document, self.limits)
        self.digests[run.id] = request_digest(request)
        self.requests[run.id] = request
        return self.leases.grant(run, worker, self.lineage.epoch, 0, request)

    def running(self, worker: Worker, output: bytes = b"") -> Run:
        """A run that the worker has accepted, with so much output here."""
        run = self.assign(worker)
        self.leases.accepted(self.holder(worker), run.id)
        if output:
            self.leases.append_log(self.holder(worker), run.id, 0, 0, output)
        return self.now(run)

    def lost(self, worker: Worker, *, is_accepted: bool = True) -> Run:
        """A run whose worker has been silent for too long."""
        run = self.running(worker) if is_accepted else self.assign(worker)
        self.leases.lose(run, "no contact")
        return self.now(run)

    def exited(self, run: Run, output: bytes = b"", **changes: Any) -> m.Exited:
        """The exit record of a run with this output, as the worker says it."""
        fields: dict[str, Any] = {
            "status": "succeeded",
            "at": self.clock.now().timestamp(),
            "sizes": {0: len(output)} if output else {},
            "digests": {0: sha256(output)} if output else {},
            "code": 0,
            "command": "commands[0]",
        }
        return m.Exited(id=9, run=run.id, **{**fields, **changes})

    def end(self, worker: Worker, run: Run) -> Run:
        """The worker says that the run has succeeded."""
        assert self.leases.exited(self.holder(worker), self.exited(run)) is None
        return self.now(run)

    def held(self, run: Run, state: str = "started", **changes: Any) -> m.Held:
        """A run in an inventory, as the worker that it was assigned to holds it."""
        lease = self.repository.runs.lease(run.id)
        assert lease is not None
        fields: dict[str, Any] = {
            "run": run.id,
            "cap": lease.cap,
            "digest": self.digests.get(run.id) or request_digest(lease.request),
        }
        return m.Held(**{**fields, "state": state, **changes})

    def reconcile(self, worker: Worker, *held: m.Held, takes_work: bool = True, journal: str | None = None) -> Merge:
        return self.inventories.reconcile(self.holder(worker, journal), held, takes_work=takes_work)

    # ---- connections

    def converse(self, worker: Worker, voice: Any) -> Conversation:
        """The master's part of a new connection."""
        return Conversation(
            worker,
            voice,
            runs=self.runs,
            leases=self.leases,
            inventories=self.inventories,
            workers=self.workers,
            roster=self.roster,
            events=self.events,
            clock=self.clock,
            send=self.dispatcher.send,
        )

    def hello(self, *held: m.Held, journal: str = JOURNAL, slots: int = 2, **changes: Any) -> Greeting:
        """A whole hello, as the protocol's end gives it on."""
        fields: dict[str, Any] = {
            "protocols": (1, 1),
            "software": "orchestra-appliance 0",
            "journal": journal,
            "instance": "a" * 32,
            "boot": "boot",
            "at": self.clock.now().timestamp(),
            "slots": slots,
        }
        return Greeting(hello=m.Hello(id=1, **{**fields, **changes}), held=held, protocol=1)

    def connect(self, worker: Worker, *held: m.Held, **hello: Any) -> tuple[Conversation, Ear, list[Merged]]:
        """A worker that connects: the conversation, its voice, and the welcomes that were sent."""
        ear = Ear()
        conversation = self.converse(worker, ear)
        welcomes: list[Merged] = []
        conversation.greet(self.hello(*held, **hello), welcomes.append)
        return conversation, ear, welcomes
