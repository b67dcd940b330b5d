"""Workers: their accounts, their tokens, and what they last said of themselves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.events import Events, WorkerChanged, WorkerRevoked
from appliance.model import tokens
from appliance.model.entities import Token, User, Worker
from appliance.model.errors import Conflict, Forbidden, Invalid, NotFound
from appliance.model.names import check_name
from appliance.model.permissions import standing
from appliance.model.times import show_clock_offset, show_time

RETIRED = 100  # journals that are remembered after they were replaced
PROPERTIES = 100  # a token's own properties, at most


def join_line(url: str, token: str) -> str:
    """What is typed on a new worker's machine. ``url`` is an address of ours, never text of a user."""
    return f"orchestra worker join {url} {token}"


class Presence(Protocol):
    """Who is connected, as the master's roster knows it."""

    def is_connected(self, worker_id: str) -> bool: ...
    def used(self, worker_id: str) -> int: ...
    def last_heard(self, worker_id: str) -> datetime | None: ...
    def refusal(self, worker_id: str) -> str: ...


class Nobody:
    """The presence where no master runs in this process."""

    def is_connected(self, worker_id: str) -> bool:
        """Never."""
        return False

    def used(self, worker_id: str) -> int:
        """None."""
        return 0

    def last_heard(self, worker_id: str) -> datetime | None:
        """Never."""
        return None

    def refusal(self, worker_id: str) -> str:
        """None."""
        return ""


class WorkerState(msgspec.Struct, frozen=True):
    """A worker and its present state. ``properties``: reported ones with those of its token over them.

    ``used``: slots in use; of a worker that is not connected, the runs that it has by the last that was heard.
    ``silent_since``: when it was last heard, if it is not connected and has been. ``refusal``: why the master does not
    take it, such as its version (F37) or its owner (F25). ``left``: live runs of one that is refused.
    """

    worker: Worker
    is_active: bool
    used: int
    properties: dict[str, Any]
    silent_since: datetime | None = None
    refusal: str = ""
    left: int = 0

    @property
    def trouble(self) -> str:
        """What an administrator should know, as a sentence; "" when all is well."""
        verb = "waits" if self.left == 1 else "wait"
        wait = f"; {self.left} of its runs {verb}" if self.left else ""
        if self.worker.revoked_at is not None:
            return f"its token was revoked by {self.worker.revoked_by} at {show_time(self.worker.revoked_at)}{wait}"
        return f"{self.refusal}{wait}" if self.refusal else ""

    @property
    def clock(self) -> str:
        """What is wrong with its clock, as a sentence; "" when nothing is. No run is harmed by it (F23)."""
        off = show_clock_offset(self.worker.clock_offset)
        return f"its clock was {off} the server's when it connected last: set it right" if off else ""


class Registration(msgspec.Struct, frozen=True):
    """What a worker says of itself in its hello."""

    journal_id: str
    software: str
    slots: int
    properties: Mapping[str, Any]
    clock_offset: float


class Workers:
    """The use cases about workers."""

    def __init__(
        self,
        repository: Repository,
        clock: Clock,
        events: Events,
        presence: Presence,
        random: Callable[[int], bytes],
    ) -> None:
        """``random`` gives so many random bytes."""
        self._store = repository.workers
        self._runs = repository.runs
        self._accounts = repository.accounts
        self._clock = clock
        self._events = events
        self.presence = presence
        self._random = random

    # ---- administration

    def create(self, name: str, owner: str, properties: Mapping[str, Any] | None = None) -> tuple[Worker, str]:
        """Make a worker and its token; answers both. The token's text is shown once and not kept (S-85).

        A worker whose token was revoked gets a new one, with this owner, and goes on where it was (F25).
        Raises Invalid, Conflict (the name is taken).
        """
        check_name("worker", name)
        given = dict(properties or {})
        if len(given) > PROPERTIES:
            raise Invalid(f"over {PROPERTIES} properties", {"properties": f"at most {PROPERTIES}"})
        now = self._clock.now()
        secret = self._random(tokens.SIZE)
        worker = Worker(
            id=str(uuid.UUID(bytes=self._random(16), version=4)),
            name=name,
            owner=owner,
            created_at=now,
            properties=given,
        )
        token = Token(
            id=str(uuid.UUID(bytes=self._random(16), version=4)),
            kind="worker",
            hash=tokens.stored_hash(secret),
            created_at=now,
            worker_id=worker.id,
            label=name,
        )
        if not self._store.add(worker, token):
            worker = self._grant_again(worker, token)
        self._events.publish(WorkerChanged(worker.id))
        return worker, tokens.render("worker", secret)

    def list(self, after: str | None = None, limit: int = 100, *, backwards: bool = False) -> list[WorkerState]:
        """By name, from Z to A when ``backwards``."""
        workers = self._store.list(after, limit, backwards=backwards)
        runs = self._runs.leased_counts() if workers else {}
        owners = {name: self._accounts.user(name) for name in {worker.owner for worker in workers}}
        return [self._state(worker, owners[worker.owner], runs) for worker in workers]

    def named(self, name: str) -> WorkerState:
        """One worker by name. Raises NotFound."""
        worker = self._store.named(name)
        if worker is None:
            raise NotFound(f"no worker {name[:64]!r}")
        return self.state(worker)

    def get(self, worker_id: str) -> Worker:
        """One worker. Raises NotFound."""
        worker = self._store.get(worker_id)
        if worker is None:
            raise NotFound("no such worker")
        return worker

    def enable(self, name: str, is_enabled: bool) -> WorkerState:
        """Give it new runs, or none; what it has goes on (F43). Raises NotFound."""
        worker = self.named(name).worker
        return self.state(self._change(worker.id, is_enabled=is_enabled))

    def drain(self, name: str, is_draining: bool) -> WorkerState:
        """Let it finish what it has and take nothing new, until it is asked to work again. Raises NotFound."""
        worker = self.named(name).worker
        return self.state(self._change(worker.id, is_draining=is_draining))

    def remove(self, name: str) -> None:
        """Delete a worker and its token; its connection is closed at once. Raises NotFound, Conflict (live runs)."""
        worker = self.named(name).worker
        if not self._store.remove(worker.id):
            raise Conflict(
                f"{name} still has runs: disable it and wait for them, or abort them; "
                f"if it will never be back, give them up with: orchestra worker revoke {name} --give-up"
            )
        self._events.publish(WorkerRevoked(worker.id))
        self._events.publish(WorkerChanged(worker.id))

    def revoke(self, name: str, by: str) -> Worker:
        """Take its token away; its connection is closed at once (F25). May be called again. Raises NotFound."""
        worker = self.named(name).worker
        if self._store.revoke(worker.id, by, self._clock.now()):
            self._events.publish(WorkerRevoked(worker.id))
            self._events.publish(WorkerChanged(worker.id))
        return self.get(worker.id)

    def check_standing(self, worker_id: str) -> None:
        """Raise Forbidden if nothing may be taken from the worker: revoked, removed, or its owner is disabled (F25)."""
        worker = self._store.get(worker_id)
        if worker is None:
            raise Forbidden("this worker was removed")
        if why := standing(worker, self._accounts.user(worker.owner)):
            raise Forbidden(why)

    def state(self, worker: Worker) -> WorkerState:
        """A worker with its present state."""
        return self._state(worker, self._accounts.user(worker.owner), self._runs.leased_counts())

    def _state(self, worker: Worker, owner: User | None, runs: Mapping[str, int]) -> WorkerState:
        """``runs``: how many each worker has; looked at for one that is not connected."""
        refusal = standing(worker, owner) or self.presence.refusal(worker.id)
        is_active = self.presence.is_connected(worker.id)
        return WorkerState(
            worker=worker,
            is_active=is_active,
            used=self.presence.used(worker.id) if is_active else runs.get(worker.id, 0),
            properties=worker.known,
            silent_since=self.silent_since(worker),
            refusal=refusal,
            left=runs.get(worker.id, 0) if refusal else 0,
        )

    def last_heard(self, worker_id: str) -> datetime | None:
        """When the worker last gave a sign of life, in this life of the master or before."""
        worker = self._store.get(worker_id)
        return self.presence.last_heard(worker_id) or (worker.last_contact_at if worker else None)

    def silent_since(self, worker: Worker) -> datetime | None:
        """When a worker that is not connected was last heard; None for one that is, or that never was."""
        if self.presence.is_connected(worker.id):
            return None
        return self.presence.last_heard(worker.id) or worker.last_contact_at

    # ---- what the master notes

    def register(self, worker_id: str, said: Registration) -> Worker:
        """Note what a worker said of itself when it connected. Raises NotFound."""
        before = self.get(worker_id)
        retired = before.retired_journals
        if before.journal_id not in (None, said.journal_id):
            retired = (*retired, str(before.journal_id))[-RETIRED:]
        return self._change(
            worker_id,
            journal_id=said.journal_id,
            retired_journals=retired,
            version_text=said.software,
            slots=said.slots,
            reported=dict(said.properties),
            clock_offset=said.clock_offset,
        )

    def heard(self, when: Mapping[str, datetime]) -> None:
        """Note when workers were last heard; one write for all of them."""
        if when:
            self._store.beats(when)

    def _grant_again(self, asked: Worker, token: Token) -> Worker:
        while True:
            worker = self._store.named(asked.name)
            if worker is None or worker.revoked_at is None:
                raise Conflict(
                    f"a worker called {asked.name!r} exists already: choose another name, remove it, or take its token "
                    f"away first with: orchestra worker revoke {asked.name}"
                )
            after = msgspec.structs.replace(worker, owner=asked.owner, properties=asked.properties or worker.properties)
            its = msgspec.structs.replace(token, worker_id=worker.id)
            if self._store.grant_again(after, its, worker.version):
                return self.get(worker.id)

    def _change(self, worker_id: str, **fields: Any) -> Worker:
        while True:
            worker = self.get(worker_id)
            after = msgspec.structs.replace(worker, **fields, version=worker.version + 1)
            if self._store.replace(after, worker.version):
                self._events.publish(WorkerChanged(worker_id))
                return after
