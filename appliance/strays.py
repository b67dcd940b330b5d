"""Words of workers that led nowhere: counted, so that an administrator hears of a worker that says strange things."""

from __future__ import annotations

import threading
from collections import Counter


class Strays:
    """Words of workers that changed nothing, counted in this life of the master (F14). From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._late: Counter[str] = Counter()

    def refuse(self, worker_id: str) -> None:
        """One about a run that is not leased to who said it (S-20)."""
        with self._lock:
            self._refused[worker_id] += 1

    def pass_over(self, worker_id: str) -> None:
        """One about a run that had ended."""
        with self._lock:
            self._late[worker_id] += 1

    def of(self, worker_id: str) -> tuple[int, int]:
        """How many of a worker's were refused, and how many were late."""
        with self._lock:
            return self._refused[worker_id], self._late[worker_id]
