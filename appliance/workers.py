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
from appliance.model.entities import Token, Worker
from appliance.model.errors import Conflict, Invalid, NotFound
from appliance.model.names import check_name

RETIRED = 100  # journals that are remembered after they were replaced
PROPERTIES = 100  # a token's own properties, at most


def join_line(url: str, token: str) -> str:
    """What is typed on a new worker's machine. ``url`` is an address of ours, never text of a user."""
    return f"orchestra worker join {url} {token}"


class Presence(Protocol):
    """Who is connected, as the master's roster knows it."""

    def is_connected(self, worker_id: str) -> bool: ...
    def used(self, worker_id: str) -> int: ...


class Nobody:
    """The presence where no master runs in this process."""

    def is_connected(self, worker_id: str) -> bool:
        """Never."""
        return False

    def used(self, worker_id: str) -> int:
        """None."""
        return 0


class WorkerState(msgspec.Struct, frozen=True):
    """A worker and its present state. ``properties``: reported ones with those of its token over them."""

    worker: Worker
    is_active: bool
    used: int
    properties: dict[str, Any]


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
        self._clock = clock
        self._events = events
        self.presence = presence
        self._random = random

    # ---- administration

    def create(self, name: str, owner: str, properties: Mapping[str, Any] | None = None) -> tuple[Worker, str]:
        """Make a worker and its token; answers both. The token's text is shown once and not kept (S-85).

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
            raise Conflict(f"a worker called {name!r} exists already: choose another name, or remove it first")
        self._events.publish(WorkerChanged(worker.id))
        return worker, tokens.render("worker", secret)

    def list(self, after: str | None = None, limit: int = 100) -> list[WorkerState]:
        """By name."""
        return [self.state(worker) for worker in self._store.list(after, limit)]

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
            raise Conflict(f"{name} still has runs: disable it and wait for them, or abort them")
        self._events.publish(WorkerRevoked(worker.id))
        self._events.publish(WorkerChanged(worker.id))

    def state(self, worker: Worker) -> WorkerState:
        """A worker with its present state."""
        return WorkerState(
            worker=worker,
            is_active=self.presence.is_connected(worker.id),
            used=self.presence.used(worker.id),
            properties=worker.known,
        )

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

    def _change(self, worker_id: str, **fields: Any) -> Worker:
        while True:
            worker = self.get(worker_id)
            after = msgspec.structs.replace(worker, **fields, version=worker.version + 1)
            if self._store.replace(after, worker.version):
                self._events.publish(WorkerChanged(worker_id))
                return after
