"""How a connection is opened, with which settings, and how its errors are told (reliability.md section 3)."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from appliance.model.errors import ApplianceError, Conflict, Full, Unavailable, Unusable
from appliance.model.run_state import IllegalTransition

APPLICATION_ID = 0x4F524341  # "ORCA", so that `file` and we know our databases
BUSY = 5000  # ms; apsw's recommended 100 is too short
WAL_LIMIT = 256 << 20  # bytes; above it a reader must have kept a snapshot for very long (F19)

# Name, value to set, value that must be read back.
_SETTINGS: tuple[tuple[str, str | int, str | int], ...] = (
    ("journal_mode", "wal", "wal"),
    ("synchronous", "full", 2),  # measured: NORMAL loses acknowledged commits at a power loss
    ("foreign_keys", 1, 1),
    ("trusted_schema", 0, 0),
    ("journal_size_limit", 64 << 20, 64 << 20),
    ("wal_autocheckpoint", 1000, 1000),
)
_REMOTE = ("nfs", "cifs", "smb", "fuse", "afs", "ceph", "gluster", "lustre", "ocfs2", "gfs2")

# Nothing was spoiled and the next try may do better; all other storage errors are for an operator (F18, F20).
_PASSING = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.InterruptError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.SchemaChangeError,
)
_SPOILED = (apsw.IOError, apsw.CorruptError, apsw.NotADBError)
_FATAL = (*_SPOILED, apsw.ReadOnlyError, apsw.PermissionsError)


def connect(path: Path, *, vfs: str | None = None, is_reader: bool = False) -> apsw.Connection:
    """A connection with all settings, read back. Raises Conflict if one does not hold."""
    connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=200)
    try:
        connection.set_busy_timeout(BUSY)
        for name, value, expected in _SETTINGS:
            if is_reader and name == "journal_mode":
                continue  # a reader has no say in it
            connection.pragma(name, value)
            found = connection.pragma(name)
            if found != expected:
                raise Conflict(f"the database does not accept {name} = {value}; it says {found}")
        if is_reader:
            connection.pragma("query_only", 1)
        for option in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
            connection.config(option, 0)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def look_at(path: Path, vfs: str | None = None) -> Iterator[apsw.Connection]:
    """A connection that changes no byte of the file, not even at its end: whose it is may still be unknown."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(BUSY)
        yield connection
    finally:
        connection.close()


def settings_that_differ(connection: apsw.Connection) -> list[str]:
    """Settings of a connection that are not as they must be, as sentences."""
    found = ((name, connection.pragma(name), expected) for name, _, expected in _SETTINGS)
    return [f"{name} is {value}, not {expected}" for name, value, expected in found if value != expected]


def restore_advice(path: Path) -> str:
    """What to do about a database that cannot be used (F20)."""
    return f"restore the newest good backup: orchestra --data {path.parent} restore FILE"


def prepare_file(path: Path, *, may_make: bool = True) -> None:
    """Make the file 0600 if it is not there; the files beside it take its mode. Raises Unusable if others may read it.

    Raises Unusable, too, for one that is not there and may not be made, and for one that is empty, unless
    ``first_start`` is there: the mark is the caller's to remove.
    Before anything in this process has the file open: afterwards the guard would refuse.
    """
    if not path.exists() and not may_make:
        raise Unusable(
            f"{path} is gone, and logs of its runs are here: {restore_advice(path)}; or move them away to begin anew"
        )
    if not path.exists():
        first_start(path).touch(0o600)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    elif not path.stat().st_size and not first_start(path).exists():
        raise Unusable(
            f"{path} is empty, so what was in it is gone: {restore_advice(path)}; or delete it, if nothing ever was"
        )
    for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if one.exists() and one.stat().st_mode & 0o077:
            raise Unusable(f"{one} may be read by others; run: chmod 600 {one}")


def refuse_remote(directory: Path) -> None:
    """Raise Unusable on a network or FUSE file system: locks and fsync do not mean there what they must mean."""
    kind = file_system(directory, Path("/proc/self/mountinfo").read_text())
    if kind.startswith(_REMOTE):
        raise Unusable(f"{directory} is on a {kind} file system; keep the database on a local disk")


def file_system(directory: Path, mounts: str) -> str:
    """The type of the file system a directory is on; ``mounts`` is the text of ``/proc/self/mountinfo``."""
    place = directory.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        point = Path(fields[4].replace("\\040", " "))
        if len(point.parts) >= best and place.is_relative_to(point):  # of equal ones the last is mounted on top
            best, kind = len(point.parts), fields[fields.index("-") + 1]
    return kind


def first_start(database: Path) -> Path:
    """The mark of a database that is being made: while it is there, nothing was ever in it that could be lost (F40)."""
    return Path(f"{database}.first")


def unfinished_restore(database: Path) -> Path:
    """The mark of a restore that has begun to move files: while it is there, they are not to be used."""
    return Path(f"{database}.restoring")


class DirectoryLock:
    """The lock that keeps two masters from one database. The kernel lets it go with the process, however that ends."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database}.lock")
        self._file: int | None = None

    def take(self) -> None:
        """Raises Conflict when another process, or another part of this one, holds it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise Conflict(f"another server has this database open ({self._path} is locked); stop it first") from None
        self._file = file

    def release(self) -> None:
        """A second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_fatal(error: BaseException) -> bool:
    """Whether this error must stop all writing (F18): the disk or the file did what it never should."""
    return isinstance(error, _FATAL) and not is_full(error)


def is_spoiled(error: BaseException) -> bool:
    """Whether this error, of a read, shows that the disk or the file is not what it was."""
    return isinstance(error, _SPOILED) and not is_full(error)


def is_full(error: BaseException) -> bool:
    """Whether the disk is full. Growing the -shm file reports that as an I/O error."""
    if isinstance(error, apsw.FullError):
        return True
    return isinstance(error, apsw.IOError) and (
        getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT)
    )


def translate(error: apsw.Error) -> ApplianceError | IllegalTransition:
    """The error of ours that an error of SQLite's means to a caller."""
    if is_full(error):
        return Full("no space is left on the server's disk; free some, or delete old runs")
    if isinstance(error, apsw.ConstraintError):
        if str(error).startswith("run:"):  # our triggers say so
            return IllegalTransition(str(error))
        return Conflict(f"the database refuses this change: {error}")
    if isinstance(error, _PASSING):
        return Unavailable("the database is busy; try again")
    return Unavailable(f"storage error, the server must be restarted: {error}")
