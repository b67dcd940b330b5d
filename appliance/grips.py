"""What is remembered of leases while words about them come in, and of words that led nowhere."""

from __future__ import annotations

import threading
from collections import Counter

import msgspec


class Grip(msgspec.Struct):
    """What is remembered of a lease while words about it come in.

    ``is_late``: the run was ended without the worker's exit record, whose report is taken all the same.
    """

    worker_id: str
    journal_id: str
    is_live: bool
    is_late: bool = False
    restarts: int = 0


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

    @property
    def refused(self) -> int:
        """Of all workers."""
        with self._lock:
            return self._refused.total()

    @property
    def late(self) -> int:
        """Of all workers."""
        with self._lock:
            return self._late.total()
