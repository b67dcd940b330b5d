"""Reading: a connection for each thread, that cannot write and never reads for long (reliability.md 3, rule 7)."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from appliance.db.sqlite.connection import connect, is_spoiled, translate
from appliance.model.errors import Unavailable

_T = TypeVar("_T")

DEADLINE = 2.0  # seconds; a long reader stops checkpoints
_STEPS = 20_000  # instructions of SQLite's between two looks at the clock


class _Reader:
    """A connection and the thread's right to it: ``close`` waits for the query under way."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.busy = threading.Lock()
        self.until = 0.0


class _Own(threading.local):
    reader: _Reader | None = None


class Readers:
    """Hands each thread its connection; ends with ``close``.

    ``on_fatal`` is told of each error that shows the file or the disk to be damaged: nothing may be served from it.
    """

    def __init__(
        self,
        path: Path,
        vfs: str | None = None,
        deadline: float = DEADLINE,
        on_fatal: Callable[[Exception], None] | None = None,
    ) -> None:
        self._on_fatal = on_fatal
        self._path = path
        self._vfs = vfs
        self._deadline = deadline
        self._own = _Own()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[_Reader] = weakref.WeakSet()  # a thread's connection ends with the thread
        self._is_open = False

    def open(self) -> None:
        """The file is ready: reads are answered from now on."""
        with self._lock:
            self._is_open = True

    def read(self, query: Callable[[apsw.Connection], _T]) -> _T:
        """Answer a query. Raises Unavailable when it takes longer than the deadline, or the database is closed."""
        try:
            reader = self._own.reader or self._connect()
            with reader.busy:
                self._refuse_if_closed()
                reader.until = time.monotonic() + self._deadline
                return query(reader.connection)
        except apsw.InterruptError as error:
            self._refuse_if_closed()
            raise Unavailable(f"this list took longer than {self._deadline:g} s; narrow it down") from error
        except apsw.Error as error:
            if is_spoiled(error) and self._on_fatal is not None:
                self._on_fatal(error)
            raise translate(error) from error

    def close(self) -> None:
        """End the queries under way and close all connections; later reads are refused."""
        with self._lock:
            self._is_open = False  # the progress handlers see it
            readers = list(self._all)
        for reader in readers:
            with reader.busy:
                reader.connection.close()

    def _refuse_if_closed(self) -> None:
        if not self._is_open:
            raise Unavailable("the database is not open; try again")

    def _connect(self) -> _Reader:
        with self._lock:
            self._refuse_if_closed()
            reader = _Reader(connect(self._path, vfs=self._vfs, is_reader=True))
            # Writing back is the writer's alone, who may have reason not to (F18).
            reader.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._all.add(reader)
        known = weakref.ref(reader)  # a cycle through the handler would keep the connection past its thread

        def is_too_long() -> bool:
            own = known()
            return own is None or not self._is_open or time.monotonic() > own.until

        reader.connection.set_progress_handler(is_too_long, _STEPS)
        self._own.reader = reader
        return reader
