"""A few threads that do the blocking work of the worker connections: disk, digests, database.

Work of one key is done in the order it was put; work of different keys side by side. Callers bound what they put.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from queue import SimpleQueue

_log = logging.getLogger(__name__)

Work = Callable[[], None]


class Lanes:
    """``count`` threads, each with its own queue."""

    def __init__(self, count: int = 4) -> None:
        self._queues: list[SimpleQueue[Work | None]] = [SimpleQueue() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(queue,), name=f"lane-{number}", daemon=True)
            for number, queue in enumerate(self._queues)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, key: str, work: Work) -> None:
        """Do ``work`` after everything that was put with the same key. Never blocks."""
        self._queues[zlib.crc32(key.encode()) % len(self._queues)].put(work)

    def stop(self, timeout: float = 3.0) -> None:
        """Do what was put, then end; at most ``timeout`` seconds are waited for."""
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout / len(self._threads))

    @staticmethod
    def _run(queue: SimpleQueue[Work | None]) -> None:
        while (work := queue.get()) is not None:
            try:
                work()
            except Exception:
                _log.exception("a piece of work failed")
