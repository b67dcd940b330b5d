"""The lives of the master, in memory."""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime

from appliance.db.repository import LineageStore
from appliance.model.entities import Lineage


class MemoryLineage(LineageStore):
    """See :class:`~appliance.db.repository.LineageStore`."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._cluster: str | None = None
        self._incarnations: list[str] = []

    def open_epoch(self, incarnation: str, boot_id: str, at: datetime) -> Lineage:
        """See the interface."""
        with self._lock:
            if self._cluster is None:
                self._cluster = hashlib.sha256(f"cluster {incarnation}".encode()).hexdigest()[:32]
            self._incarnations.append(incarnation)
            return Lineage(cluster=self._cluster, epoch=len(self._incarnations), incarnation=incarnation)

    def knows(self, epoch: int, incarnation: str) -> bool:
        """See the interface."""
        with self._lock:
            return 1 <= epoch <= len(self._incarnations) and self._incarnations[epoch - 1] == incarnation
