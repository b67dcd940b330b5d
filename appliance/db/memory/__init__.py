"""The whole repository in memory: for fast tests, the simulator and trials. Nothing survives the process.

``open`` and ``close`` keep the contents, so that a test can let a master die and come back. Keep it equal to
``db.sqlite`` by the contract suite, never by reading one against the other.
"""

from __future__ import annotations

import threading

from appliance.db.memory.accounts import MemoryAccounts
from appliance.db.memory.late import MemoryLate
from appliance.db.memory.lineage import MemoryLineage
from appliance.db.memory.projects import MemoryProjects
from appliance.db.memory.runs import MemoryRuns
from appliance.db.memory.workers import MemoryWorkers
from appliance.db.repository import Repository

__all__ = ["MemoryRepository"]


class MemoryRepository(Repository):
    """See :class:`~appliance.db.repository.Repository`. One lock makes every verb atomic."""

    def __init__(self) -> None:
        lock = self._lock = threading.RLock()
        runs = MemoryRuns(lock)
        accounts = MemoryAccounts(lock)
        self.projects = MemoryProjects(lock)
        self.runs = accounts.runs = runs
        self.late = MemoryLate(lock, runs)
        self.workers = accounts.workers = MemoryWorkers(lock, runs, accounts)
        self.lineage = MemoryLineage(lock, runs, accounts.workers)
        self.accounts = accounts

    def open(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to disconnect."""

    def beat(self) -> None:
        """Nothing that could be stuck but the lock."""
        with self._lock:
            pass

    def check(self) -> list[str]:
        """Memory is always well."""
        return []
