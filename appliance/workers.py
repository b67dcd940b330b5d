"""Workers: their accounts, their tokens, and what they last said of themselves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.events import Events, WorkerChanged, WorkerDisconnected, WorkerRevoked
from appliance.model import tokens
from appliance.model.entities import Token, User, Worker
from appliance.model.errors import Conflict, Invalid, NotFound
from appliance.model.names import check_name
from appliance.model.permissions import SYSTEM, check_standing, standing
from appliance.model.worker_states import Vitals, WorkerState
from appliance.strays import Strays

_log = logging.getLogger(__name__)

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
    def vitals(self, worker_id: str) -> Vitals | None: ...


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

    def vitals(self, worker_id: str) -> Vitals | None:
        """None."""
        return None


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
        strays: Strays | None = None,
    ) -> None:
        """``random`` gives so many random bytes. ``strays``: what counts words that led nowhere."""
        self._store = repository.workers
        self._runs = repository.runs
        self._accounts = repository.accounts
        self._lineage = repository.lineage
        self._clock = clock
        self._events = events
        self.presence = presence
        self._random = random
        self._strays = strays or Strays()

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

    def enable(self, name: str, is_enabled: bool, by: str = SYSTEM.name) -> WorkerState:
        """Let it work, whatever it was kept from; or give it no new runs, while what it has goes on (F43).

        This and the next two are one switch: each ends what another one began. They survive a restart of either side,
        and may be said again. ``by``: who asks. Raises NotFound.
        """
        return self._switch(name, by, "enabled" if is_enabled else "disabled", is_enabled=is_enabled)

    def drain(self, name: str, by: str = SYSTEM.name) -> WorkerState:
        """Let it finish what it has and give it nothing new, until it is enabled (W6). Raises NotFound.

        Once this has returned nothing new is given to it: what ``left`` counts then is all that it will still do.
        """
        return self._switch(name, by, "drained", is_draining=True)

    def disconnect(self, name: str, by: str = SYSTEM.name) -> WorkerState:
        """Close its connection now; it is let in again once one of the two above is asked for. Its runs go on there."""
        state = self._switch(name, by, "disconnected", is_enabled=False, is_disconnected=True)
        self._events.publish(WorkerDisconnected(state.worker.id))
        return self.state(self.get(state.worker.id))

    def remove(self, name: str, by: str = SYSTEM.name) -> None:
        """Delete a worker and its token; its connection is closed at once. Raises NotFound, Conflict (live runs)."""
        worker = self.named(name).worker
        if not self._store.remove(worker.id):
            raise Conflict(
                f"{name} still has runs: wait for them, as 'orchestra worker drain {name} --wait' does, or abort them; "
                f"if it will never be back, give them up with: orchestra worker revoke {name} --give-up"
            )
        _log.info("worker %s was removed by %s", worker.name, by)
        self._events.publish(WorkerRevoked(worker.id))
        self._events.publish(WorkerChanged(worker.id))

    def revoke(self, name: str, by: str) -> Worker:
        """Take its token away; its connection is closed at once (F25). May be called again. Raises NotFound."""
        worker = self.named(name).worker
        if self._store.revoke(worker.id, by, self._clock.now()):
            _log.info("the token of worker %s was revoked by %s", worker.name, by)
            self._events.publish(WorkerRevoked(worker.id))
            self._events.publish(WorkerChanged(worker.id))
        return self.get(worker.id)

    def check_standing(self, worker_id: str) -> Worker:
        """The worker as it is now. Raises Forbidden if nothing may be taken from it: revoked, removed, or its owner is
        disabled (F25); Disconnected while an operator wants it to stay away (W6)."""
        worker = self._store.get(worker_id)
        return check_standing(worker, None if worker is None else self._accounts.user(worker.owner))

    def state(self, worker: Worker) -> WorkerState:
        """A worker with its present state."""
        return self._state(worker, self._accounts.user(worker.owner), self._runs.leased_counts())

    def _state(self, worker: Worker, owner: User | None, runs: Mapping[str, int]) -> WorkerState:
        """``runs``: how many each worker has; looked at for one that is not connected."""
        refusal = standing(worker, owner) or self.presence.refusal(worker.id)
        is_active = self.presence.is_connected(worker.id)
        leased = runs.get(worker.id, 0)
        used = self.presence.used(worker.id) if is_active else leased
        refused, late = self._strays.of(worker.id)
        return WorkerState(
            worker=worker,
            is_active=is_active,
            used=used,
            properties=worker.known,
            silent_since=self.silent_since(worker),
            refusal=refusal,
            left=max(used, leased),  # a slot is taken before the lease is committed
            is_untold=worker.is_draining and self._is_untold(worker),
            vitals=self.presence.vitals(worker.id),
            refused=refused,
            late=late,
        )

    def _is_untold(self, worker: Worker) -> bool:
        recovery = self._lineage.recovery()
        return recovery is not None and any(one.id == worker.id for one in recovery.waiting)

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
        version = {}
        if said.software != before.version_text:
            version = {"version_before": before.version_text, "version_since": self._clock.now()}
            if before.version_text:
                _log.info("worker %s came back as %s; it was %s", before.name, said.software, before.version_text)
        return self._change(
            worker_id,
            **version,
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

    def _switch(self, name: str, by: str, what: str, **flags: bool) -> WorkerState:
        worker = self.named(name).worker
        wanted = {"is_enabled": True, "is_draining": False, "is_disconnected": False, **flags}
        if any(getattr(worker, flag) != wanted[flag] for flag in wanted):
            worker = self._change(worker.id, **wanted, switched_at=self._clock.now(), switched_by=by)
            _log.info("worker %s was %s by %s", name, what, by)
        else:
            self._events.publish(WorkerChanged(worker.id))  # who changed it may not have told everybody yet
        return self.state(worker)

    def _change(self, worker_id: str, **fields: Any) -> Worker:
        while True:
            worker = self.get(worker_id)
            after = msgspec.structs.replace(worker, **fields, version=worker.version + 1)
            if self._store.replace(after, worker.version):
                self._events.publish(WorkerChanged(worker_id))
                return after
