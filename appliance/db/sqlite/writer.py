"""The one thread that writes (reliability.md section 3, rule 7): verbs queue up and share a commit.

A verb is a function of the connection. It has returned to its caller only when its transaction is durable. Each runs in
a savepoint, so one that fails undoes its own changes and nobody else's.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import apsw

from appliance.db.sqlite.connection import BUSY, WAL_LIMIT, is_fatal, translate
from appliance.model.errors import Unavailable

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

BATCH = 500  # verbs in one transaction
QUEUE = 5000  # verbs that may wait
_PATIENCE = 5.0  # seconds a caller waits for a place in the queue
_WAIT_FOR_READERS = 50  # ms in which writers wait, too
CHECKPOINT = 1000  # pages in the -wal file at which it is written back


class _Job:
    __slots__ = ("future", "result", "verb")

    def __init__(self, verb: Callable[[apsw.Connection], Any]) -> None:
        self.verb = verb
        self.future: Future[Any] = Future()
        self.result: Any = None


class Writer:
    """Owns the writing connection while it runs. ``on_fatal`` is told once, in the writer's thread, of an error after
    which nothing is written any more (F18)."""

    _connection: apsw.Connection

    def __init__(self, path: Path, on_fatal: Callable[[Exception], None] | None = None) -> None:
        self._wal = Path(f"{path}-wal")
        self._on_fatal = on_fatal
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._is_running = False
        self._broken: Exception | None = None
        self._pages = 0
        self._was_warned = False
        self._thread = threading.Thread(target=self._run, name="database writer", daemon=True)

    def start(self, connection: apsw.Connection) -> None:
        """Begin to write on this connection, which nobody else uses until ``stop`` has returned."""
        self._connection = connection
        # Instead of SQLite's own checkpoint after a commit, which keeps a failed fsync to itself (F18).
        connection.set_wal_hook(self._count_pages)
        self._is_running = True
        self._thread.start()

    def stop(self) -> None:
        """Finish what was accepted, then end the thread. The connection stays open."""
        with self._changed:
            self._is_running = False
            self._changed.notify_all()
        self._thread.join()

    @property
    def backlog(self) -> int:
        """How many verbs wait for their turn."""
        return len(self._queue)

    def do(self, verb: Callable[[apsw.Connection], _T]) -> _T:
        """Run a verb; answers what it answered once that is durable. Raises what it raised, and then nothing of it is
        stored; Unavailable when the queue is full, the database busy or the storage broken; Full on a full disk."""
        job = _Job(verb)
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._queue) < QUEUE or not self._is_running, _PATIENCE):
                raise Unavailable("too many changes wait for the database; try again")
            if not self._is_running:
                raise Unavailable("the database is not open; try again")
            self._queue.append(job)
            if len(self._queue) == 1:
                self._changed.notify_all()
        answer: _T = job.future.result()
        return answer

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or not self._is_running)
                if not self._queue:
                    return
                was_full = len(self._queue) >= QUEUE
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                if was_full:
                    self._changed.notify_all()
            try:
                if self._broken is None:
                    self._commit(batch)
            except Exception as error:  # a bug of ours, and still nobody may wait for ever
                self._break(error)
            if self._broken is not None:
                refusal = Unavailable(f"storage error, the server must be restarted: {self._broken}")
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(refusal)

    def _commit(self, batch: list[_Job]) -> None:
        """One transaction for the whole batch; all callers hear of it after the commit."""
        failed: dict[_Job, Exception] = {}
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                error = self._run_verb(job)
                if error is not None:
                    failed[job] = error
                    # SQLite itself ends the transaction on some errors, and then nobody's changes are left.
                    if not connection.in_transaction or is_fatal(error):
                        raise error
            connection.execute("COMMIT")
        except Exception as error:
            self._undo()
            self._fail(batch, error)
            return
        for job in batch:
            if job in failed:
                job.future.set_exception(_outward(failed[job]))
            else:
                job.future.set_result(job.result)
        if self._pages >= CHECKPOINT:
            self._checkpoint()

    def _run_verb(self, job: _Job) -> Exception | None:
        connection = self._connection
        connection.execute("SAVEPOINT verb")
        try:
            job.result = job.verb(connection)
        except Exception as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO verb")
                connection.execute("RELEASE verb")
            return error
        connection.execute("RELEASE verb")
        return None

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            _log.exception("a failed transaction could not be rolled back")

    def _fail(self, batch: list[_Job], error: Exception) -> None:
        if is_fatal(error):
            self._break(error)
        outward = _outward(error)
        for job in batch:
            job.future.set_exception(outward)

    def _count_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Write the -wal file back, as far as readers let us; when it has become huge, wait for them (F19).

        The callers have their answers already: what they committed is durable in the -wal file.
        """
        is_huge = self._pages * 4096 > WAL_LIMIT and not self._queue
        if is_huge and not self._was_warned:
            _log.warning("%s has over %d MiB: some reader keeps an old snapshot", self._wal, WAL_LIMIT >> 20)
        self._was_warned = is_huge
        mode = apsw.SQLITE_CHECKPOINT_RESTART if is_huge else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._connection.set_busy_timeout(_WAIT_FOR_READERS)
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return  # after the next commit again
        except apsw.Error as error:
            if is_fatal(error):
                self._break(error)
            else:
                _log.warning("%s could not be written back: %s", self._wal, error)
        finally:
            self._connection.set_busy_timeout(BUSY)

    def _break(self, error: Exception) -> None:
        """Write nothing any more. A failed sync is never tried again: the kernel may have dropped the pages (F18)."""
        self._broken = error
        _log.critical("storage error, nothing is written any more: %s", error)
        if self._on_fatal is not None:
            self._on_fatal(error)


def _outward(error: Exception) -> Exception:
    if isinstance(error, apsw.Error):
        outward = translate(error)
        outward.__cause__ = error
        return outward
    return error
