"""Workers, in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from appliance.db.memory.keyset import by_name
from appliance.db.repository import WorkerStore
from appliance.model.entities import Token, Worker
from appliance.model.errors import Conflict

if TYPE_CHECKING:
    from appliance.db.memory.accounts import MemoryAccounts
    from appliance.db.memory.runs import MemoryRuns


class MemoryWorkers(WorkerStore):
    """See :class:`~appliance.db.repository.WorkerStore`."""

    def __init__(self, lock: threading.RLock, runs: MemoryRuns, accounts: MemoryAccounts) -> None:
        self._lock = lock
        self._runs = runs
        self._accounts = accounts
        self._workers: dict[str, Worker] = {}

    def add(self, worker: Worker, token: Token) -> bool:
        """See the interface."""
        with self._lock:
            if worker.id in self._workers or any(_same(one.name, worker.name) for one in self._workers.values()):
                return False
            self._workers[worker.id] = _own(worker)
            try:
                self._accounts.add_token(token)
            except Conflict:
                del self._workers[worker.id]
                raise
            return True

    def journals(self) -> dict[str, str | None]:
        """Of all workers, by worker id. For ``MemoryLineage`` only."""
        return {worker.id: worker.journal_id for worker in self._workers.values()}

    def get(self, worker_id: str) -> Worker | None:
        """See the interface."""
        with self._lock:
            return self._workers.get(worker_id)

    def named(self, name: str) -> Worker | None:
        """See the interface."""
        with self._lock:
            return next((one for one in self._workers.values() if one.name == name), None)

    def list(self, after: str | None, limit: int, *, backwards: bool = False) -> list[Worker]:
        """See the interface."""
        with self._lock:
            return by_name(self._workers.values(), lambda one: one.name, after, limit, backwards)

    def replace(self, worker: Worker, if_version: int) -> bool:
        """See the interface. Id, name and ``created_at`` never change."""
        with self._lock:
            before = self._workers.get(worker.id)
            if before is None or before.version != if_version:
                return False
            self._workers[worker.id] = msgspec.structs.replace(
                _own(worker),
                name=before.name,
                created_at=before.created_at,
                last_contact_at=before.last_contact_at,
                version=if_version + 1,
            )
            return True

    def revoke(self, worker_id: str, by: str, at: datetime) -> bool:
        """See the interface."""
        with self._lock:
            before = self._workers.get(worker_id)
            if before is None or before.revoked_at is not None:
                return False
            self._workers[worker_id] = msgspec.structs.replace(
                before, revoked_at=at, revoked_by=by, version=before.version + 1
            )
            self._accounts.drop_worker(worker_id)
            return True

    def grant_again(self, worker: Worker, token: Token, if_version: int) -> bool:
        """See the interface."""
        with self._lock:
            before = self._workers.get(worker.id)
            if before is None or before.revoked_at is None or before.version != if_version:
                return False
            self._accounts.add_token(token)
            self._workers[worker.id] = msgspec.structs.replace(
                before,
                owner=worker.owner,
                properties=_own(worker).properties,
                revoked_at=None,
                revoked_by=None,
                version=if_version + 1,
            )
            return True

    def beats(self, heard: Mapping[str, datetime]) -> None:
        """See the interface."""
        with self._lock:
            for worker_id, at in heard.items():
                if worker_id in self._workers:
                    worker = msgspec.structs.replace(self._workers[worker_id], last_contact_at=at)
                    self._workers[worker_id] = worker

    def remove(self, worker_id: str) -> bool:
        """See the interface."""
        with self._lock:
            if worker_id not in self._workers or self._runs.has_live(worker_id):
                return False
            del self._workers[worker_id]
            self._accounts.drop_worker(worker_id)
            return True


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _own(worker: Worker) -> Worker:
    copied = msgspec.json.decode(msgspec.json.encode([worker.properties, worker.reported]))
    return msgspec.structs.replace(worker, properties=copied[0], reported=copied[1])
