"""The repository on one SQLite file, which nothing but apsw ever opens (reliability.md section 3)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import apsw

from appliance.db.repository import Repository
from appliance.db.room import Room
from appliance.db.sqlite import guard, migrate
from appliance.db.sqlite.accounts import SqliteAccounts
from appliance.db.sqlite.connection import (
    DirectoryLock,
    connect,
    first_start,
    look_at,
    prepare_file,
    refuse_remote,
    restore_advice,
    settings_that_differ,
    translate,
    unfinished_restore,
)
from appliance.db.sqlite.late import SqliteLate
from appliance.db.sqlite.lineage import SqliteLineage
from appliance.db.sqlite.projects import SqliteProjects
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.runs import SqliteRuns
from appliance.db.sqlite.words import Words
from appliance.db.sqlite.workers import SqliteWorkers
from appliance.db.sqlite.writer import Writer
from appliance.model.errors import Conflict, Full, Unusable

__all__ = ["SqliteRepository", "dry_run"]

_log = logging.getLogger(__name__)

WHOLLY_CHECKED = 32 << 20  # bytes of a file whose indexes are checked at the start, too: that takes 17 times as long


class SqliteRepository(Repository):
    """See :class:`~appliance.db.repository.Repository`. The directory of ``path`` must exist.

    ``on_fatal`` is told once of a storage error after which nothing is written any more (F18): the process should end
    and be started again. ``room`` gives up its reserve when the disk is full (F16). ``vfs`` names an apsw VFS, for
    trials of faults. ``migrations`` is a folder of them. ``may_make``: whether a missing database is a new one (F20).
    """

    def __init__(
        self,
        path: Path,
        *,
        on_fatal: Callable[[Exception], None] | None = None,
        room: Room | None = None,
        vfs: str | None = None,
        migrations: Path | None = None,
        may_make: bool = True,
    ) -> None:
        self._path = path
        self._may_make = may_make
        self._vfs = vfs
        self._migrations = migrations
        self._lock = DirectoryLock(path)
        self._closing = ExitStack()  # what is open, to be closed in reverse
        self._words = Words()
        self._room = room
        self._writer = Writer(path, on_fatal, room)
        self._readers = Readers(path, vfs, on_fatal=self._writer.break_off)
        self.lineage = SqliteLineage(self._readers, self._writer)
        self.projects = SqliteProjects(self._readers, self._writer)
        self.runs = SqliteRuns(self._readers, self._writer, self._words)
        self.late = SqliteLate(self._readers, self._writer)
        self.workers = SqliteWorkers(self._readers, self._writer)
        self.accounts = SqliteAccounts(self._readers, self._writer)

    def open(self) -> None:
        """See the interface. Raises Unusable on a remote file system, readable or damaged files (F20, S-55).

        What fails leaves nothing open: the files are nobody's again. May be called again after ``close``.
        """
        guard.install()
        refuse_remote(self._path.parent)
        with ExitStack() as undo:
            self._lock.take()
            undo.callback(self._lock.release)
            if unfinished_restore(self._path).exists():
                raise Unusable("a restore was interrupted: run orchestra restore again")
            prepare_file(self._path, may_make=self._may_make)
            guard.protect(self._path)
            undo.callback(guard.release, self._path)
            connection = self._checked_in_room()
            undo.callback(connection.close)
            first_start(self._path).unlink(missing_ok=True)
            self._words.forget()
            self._readers.open()
            undo.callback(self._readers.close)
            self._writer.start(connection)
            undo.callback(self._writer.stop)
            self._closing = undo.pop_all()

    def close(self) -> None:
        """See the interface. The last connection to close writes the -wal file back."""
        closing, self._closing = self._closing, ExitStack()
        closing.close()

    def beat(self) -> None:
        """See the interface. Asks the writer's thread, after all that waits before it."""
        self._writer.beat()

    def check(self) -> list[str]:
        """See the interface. Reads the whole file: seconds for a million runs."""
        connection = connect(self._path, vfs=self._vfs, is_reader=True)
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row != ("ok",)]
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
                found.append(f"row {row} of {table} has no {parent}")
            return found + settings_that_differ(connection)
        except apsw.Error as error:
            return [str(error)]
        finally:
            connection.close()

    def _checked_in_room(self) -> apsw.Connection:
        try:
            return self._checked()
        except Full:
            if self._room is None or not self._room.used_up():
                raise
            return self._checked()

    def _checked(self) -> apsw.Connection:
        """The writing connection: sound, ours, and of the newest schema. What is not is not even touched (F20)."""
        migrations = migrate.load(self._migrations)
        try:
            if first_start(self._path).exists():
                connect(self._path, vfs=self._vfs).close()  # rolls back what a kill left, which a look cannot do
            with look_at(self._path, self._vfs) as connection:
                migrate.check_identity(connection, len(migrations))
                is_small = self._path.stat().st_size <= WHOLLY_CHECKED
                found = connection.execute(f"PRAGMA {'integrity' if is_small else 'quick'}_check(1)").get
            if found != "ok":
                raise _damaged(self._path, str(found))
            connection = connect(self._path, vfs=self._vfs)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise _damaged(self._path, str(error)) from error
        except apsw.Error as error:
            raise translate(error) from error
        try:
            migrate.bring_up_to_date(connection, self._path, migrations)
            differing = settings_that_differ(connection)
            if differing:
                raise Conflict(f"the database lost a setting during the migration: {differing[0]}")
        except (apsw.NotADBError, apsw.CorruptError) as error:
            connection.close()
            raise _damaged(self._path, str(error)) from error
        except apsw.Error as error:
            connection.close()
            raise translate(error) from error
        except BaseException:
            connection.close()
            raise
        return connection


def dry_run(path: Path, migrations: Path | None = None) -> list[migrate.Step]:
    """The migrations that the next ``open`` would apply, with their SQL; nothing is changed. Raises as ``open``."""
    guard.install()
    if not path.exists():
        return migrate.dry_run(apsw.Connection(":memory:"), migrate.load(migrations))
    connection = connect(path, is_reader=True)
    try:
        return migrate.dry_run(connection, migrate.load(migrations))
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        connection.close()


def _damaged(path: Path, what: str) -> Unusable:
    copies = sorted(path.parent.glob(f"{path.name}.*.bak"), key=lambda one: one.stat().st_mtime)
    more = f"; as it was before its last migration it is in {copies[-1]}" if copies else ""
    return Unusable(f"{path} is damaged and is left as it is ({' '.join(what.split())}); {restore_advice(path)}{more}")
