"""Reading: a connection for each thread, that cannot write and never reads for long (reliability.md 3, rule 7)."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from appliance.db.sqlite.connection import connect, translate
from appliance.model.errors import Unavailable

_T = TypeVar("_T")

DEADLINE = 2.0  # seconds; a long reader stops checkpoints
_STEPS = 20_000  # instructions of SQLite's between two looks at the clock


class _Own(threading.local):
    connection: apsw.Connection | None = None
    until: float = 0.0


class Readers:
    """Hands each thread its connection; ends with ``close``."""

    def __init__(self, path: Path, vfs: str | None = None, deadline: float = DEADLINE) -> None:
        self._path = path
        self._vfs = vfs
        self._deadline = deadline
        self._own = _Own()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()  # a thread's connection ends with the thread
        self._is_open = False

    def open(self) -> None:
        """The file is ready: reads are answered from now on."""
        with self._lock:
            self._is_open = True

    def read(self, query: Callable[[apsw.Connection], _T]) -> _T:
        """Answer a query on one snapshot. Raises Unavailable when it takes longer than the deadline."""
        own = self._own
        try:
            connection = own.connection or self._connect()
            own.until = time.monotonic() + self._deadline
            return query(connection)
        except apsw.InterruptError as error:
            raise Unavailable(f"this list took longer than {self._deadline:g} s; narrow it down") from error
        except apsw.ConnectionClosedError as error:
            raise Unavailable("the server is stopping; try again") from error
        except apsw.Error as error:
            raise translate(error) from error

    def close(self) -> None:
        """Close all connections; later reads are refused."""
        with self._lock:
            self._is_open = False
            connections = list(self._all)
        for connection in connections:
            connection.interrupt()
            connection.close()

    def _connect(self) -> apsw.Connection:
        with self._lock:
            if not self._is_open:
                raise Unavailable("the database is not open")
            connection = connect(self._path, vfs=self._vfs, is_reader=True)
            self._all.add(connection)
        own = self._own
        connection.set_progress_handler(lambda: time.monotonic() > own.until, _STEPS)
        own.connection = connection
        return connection
