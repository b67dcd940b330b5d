"""The one thread that writes (reliability.md section 3, rule 7): verbs queue up and share a commit.

A verb is a function of the connection. It has returned to its caller only when its transaction is durable. When several
share one, each has a savepoint, so that one that fails undoes its own changes and nobody else's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import apsw

from appliance.db.room import Room
from appliance.db.sqlite.connection import BUSY, WAL_LIMIT, is_fatal, is_full, translate
from appliance.model.errors import Unavailable

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

BATCH = 500  # verbs in one transaction
QUEUE = 5000  # verbs that may wait
_PATIENCE = 5.0  # seconds a caller waits for a place in the queue
_WAIT_FOR_READERS = 50  # ms in which writers wait, too
_WHILE_LOCKED = 250  # ms that a commit waits for a lock which it has waited for in vain before (F19)
CHECKPOINT = 1000  # pages in the -wal file at which it is written back


class _Job:
    """A verb and its caller, who waits until ``done`` is let go."""

    __slots__ = ("done", "error", "result", "verb")

    def __init__(self, verb: Callable[[apsw.Connection], Any]) -> None:
        self.verb = verb
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()  # lighter than a Future; each verb has one
        self.done.acquire()


class Writer:
    """Owns the writing connection while it runs. ``on_fatal`` is told once, in the writer's thread, of an error after
    which nothing is written any more (F18). ``room`` gives up its reserve for a commit that finds the disk full; while
    there is none the -wal file is written back after every commit, so that it takes no more than it has (F16)."""

    _connection: apsw.Connection
    _thread: threading.Thread

    def __init__(
        self, path: Path, on_fatal: Callable[[Exception], None] | None = None, room: Room | None = None
    ) -> None:
        self._wal = Path(f"{path}-wal")
        self._on_fatal = on_fatal
        self._room = room
        self._spared_at: datetime | None = None
        self._lock = threading.Lock()
        self._places = threading.Condition(self._lock)
        self._wanting = 0  # callers that wait for a place in the queue
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()  # None = no more will come
        self._is_running = False
        self._broken: Exception | None = None
        self._pages = 0
        self._patience = BUSY
        self._was_huge = self._was_unwritable = False

    def start(self, connection: apsw.Connection) -> None:
        """Begin to write on this connection, which nobody else uses until ``stop`` has returned."""
        self._connection = connection
        self._broken = None
        self._pages = 0
        self._patience = BUSY
        # Instead of SQLite's own checkpoint after a commit, which keeps a failed fsync to itself (F18).
        connection.set_wal_hook(self._count_pages)
        self._thread = threading.Thread(target=self._run, name="database writer", daemon=True)
        self._thread.start()
        self._is_running = True

    def stop(self) -> None:
        """Finish what was accepted, then end the thread. The connection stays open. A second call does nothing."""
        with self._lock:
            if not self._is_running:
                return
            self._is_running = False
            self._queue.put(None)
            self._places.notify_all()
        self._thread.join()
        if self._broken is not None:
            # Else closing the database would write the -wal file back and delete it, as if nothing had been (F18).
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    @property
    def backlog(self) -> int:
        """How many verbs wait for their turn."""
        return self._queue.qsize()

    def do(self, verb: Callable[[apsw.Connection], _T]) -> _T:
        """Run a verb; answers what it answered once that is durable. Raises what it raised, and then nothing of it is
        stored; Unavailable when the queue is full, the database busy or the storage broken; Full on a full disk."""
        job = _Job(verb)
        with self._lock:
            if self._queue.qsize() >= QUEUE and self._is_running:
                self._wait_for_place()
            if not self._is_running:
                raise Unavailable("the database is not open; try again")
            self._queue.put(job)
        job.done.acquire()
        if job.error is not None:
            raise job.error
        answer: _T = job.result
        return answer

    def beat(self) -> None:
        """Return once the thread has come by, however that went: not while it is stuck. Raises Unavailable if it has
        been stopped. A full queue does not matter."""
        job = _Job(lambda _connection: None)
        with self._lock:
            if not self._is_running:
                raise Unavailable("the database is not open; try again")
            self._queue.put(job)
        job.done.acquire()

    def _wait_for_place(self) -> None:
        self._wanting += 1
        try:
            if not self._places.wait_for(lambda: self._queue.qsize() < QUEUE or not self._is_running, _PATIENCE):
                raise Unavailable("too many changes wait for the database; try again")
        finally:
            self._wanting -= 1

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._take()
            if not batch:
                continue
            try:
                if self._broken is None:
                    self._commit(batch)
            except BaseException as error:  # a bug of ours, and still nobody may wait for ever
                self._undo()
                self.break_off(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            finally:
                for job in batch:
                    if job.done.locked():
                        job.error = Unavailable(f"storage error, the server must be restarted: {self._broken}")
                        job.done.release()

    def _take(self) -> tuple[list[_Job], bool]:
        """What waits, at most BATCH, and whether it is the last."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH or self._queue.empty():
                break
            job = self._queue.get()
        if self._wanting:
            with self._lock:
                self._places.notify_all()
        return batch, job is None

    def _commit(self, batch: list[_Job]) -> None:
        """One transaction for the whole batch; all callers hear of it after the commit."""
        connection = self._connection
        for job in batch:
            job.error = None  # of an earlier try
        try:
            self._begin()
            if len(batch) == 1:
                batch[0].result = batch[0].verb(connection)
            else:
                for job in batch:
                    self._run_verb(job)
            connection.execute("COMMIT")
        except Exception as error:
            self._undo()
            if is_full(error) and self._make_room():
                self._commit(batch)
            elif is_full(error) and len(batch) > 1 and self._broken is None:
                for job in batch:  # there may be room for some of them
                    self._commit([job])
            else:
                self._fail(batch, error)
            return
        for job in batch:
            job.done.release()
        if self._room is not None and self._room.full_since is not None:
            self._spare(self._room.full_since)
        elif self._pages >= CHECKPOINT:
            self._checkpoint()

    def _begin(self) -> None:
        """Take the lock. Once it was waited for in vain, others who want to write hear so sooner, until it is free."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            self._wait_for_locks(_WHILE_LOCKED)
            raise
        if self._patience != BUSY:
            self._wait_for_locks(BUSY)

    def _wait_for_locks(self, milliseconds: int) -> None:
        self._patience = milliseconds
        self._connection.set_busy_timeout(milliseconds)

    def _spare(self, full_since: datetime | None) -> None:
        """The disk is full: the -wal file gives back what it has, once, and then does not grow any more."""
        is_first, self._spared_at = self._spared_at != full_since, full_since
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE if is_first else apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _make_room(self) -> bool:
        """The disk is full: give up the reserve, and what the -wal file can spare. Whether to try again."""
        if self._room is None or not self._room.used_up():
            return False
        self._spare(self._room.full_since)
        return self._broken is None

    def _run_verb(self, job: _Job) -> None:
        """One of several verbs: its error is its own, unless it ends the transaction."""
        connection = self._connection
        connection.execute("SAVEPOINT verb")
        try:
            job.result = job.verb(connection)
        except Exception as error:
            # SQLite itself ends the transaction on some errors, and then nobody's changes are left.
            if not connection.in_transaction or is_fatal(error) or is_full(error):
                raise
            connection.execute("ROLLBACK TO verb")
            job.error = _outward(error)
        connection.execute("RELEASE verb")

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            _log.exception("a failed transaction could not be rolled back")

    def _fail(self, batch: list[_Job], error: Exception) -> None:
        """Nothing of the batch is stored: each of its callers hears why."""
        if is_fatal(error):
            self.break_off(error)
        for job in batch:
            job.error = self._room.refusal() if self._room is not None and is_full(error) else _outward(error)
            job.done.release()

    def _count_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> None:
        """Write the -wal file back, as far as readers let us; when it has become huge, wait for them (F19).

        The callers have their answers already: what they committed is durable in the -wal file.
        """
        is_huge = self._pages * 4096 > WAL_LIMIT
        if is_huge and not self._was_huge:
            _log.warning("%s has over %d MiB: some reader keeps an old snapshot", self._wal, WAL_LIMIT >> 20)
        self._was_huge = is_huge
        if is_huge and self._queue.empty():
            mode = apsw.SQLITE_CHECKPOINT_RESTART
        self._connection.set_busy_timeout(_WAIT_FOR_READERS)
        try:
            self._connection.wal_checkpoint(mode=mode)
            self._was_unwritable = False
        except apsw.BusyError:
            return  # after the next commit again
        except apsw.Error as error:
            if is_fatal(error):
                self.break_off(error)
            elif not self._was_unwritable:
                self._was_unwritable = True
                _log.warning("%s could not be written back: %s", self._wal, error)
        finally:
            self._connection.set_busy_timeout(self._patience)

    def break_off(self, error: Exception) -> None:
        """Write nothing any more. A failed sync is never tried again: the kernel may have dropped the pages (F18).

        From any thread, for an error that somebody else met; only the first one counts.
        """
        with self._lock:
            if self._broken is not None:
                return
            self._broken = error
        is_foreseen = isinstance(error, apsw.Error)
        _log.critical("storage error, nothing is written any more: %s", error, exc_info=None if is_foreseen else error)
        if self._on_fatal is not None:
            try:
                self._on_fatal(error)
            except Exception:
                _log.exception("whoever should end the server failed to")


def _outward(error: Exception) -> Exception:
    if isinstance(error, apsw.Error):
        outward = translate(error)
        outward.__cause__ = error
        return outward
    return error
