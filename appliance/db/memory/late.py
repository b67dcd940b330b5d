"""Late reports, in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from appliance.db.repository import LateStore
from appliance.model.entities import Late
from appliance.model.run_state import TERMINAL

if TYPE_CHECKING:
    from appliance.db.memory.runs import MemoryRuns


class MemoryLate(LateStore):
    """See :class:`~appliance.db.repository.LateStore`."""

    def __init__(self, lock: threading.RLock, runs: MemoryRuns) -> None:
        self._lock = lock
        self._runs = runs
        self._reports: dict[str, Late] = {}

    def put(self, run_id: str, late: Late) -> bool:
        """See the interface."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.status not in TERMINAL or run_id in self._reports:
                return False
            self._reports[run_id] = late
            return True

    def get(self, run_id: str) -> Late | None:
        """See the interface."""
        with self._lock:
            return self._reports.get(run_id)
