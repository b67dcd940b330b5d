"""Nothing in this process but apsw may reach the database file (reliability.md section 3, rule 1; F21).

Closing any other descriptor of the file drops every lock that SQLite holds on it in this process: measured,
acknowledged commits vanish. So an audit hook refuses ``sqlite3.connect`` on all but ``:memory:`` and each way by which
Python opens, deletes, renames or cuts one of the four files. apsw raises no audit event, so it passes. The hook cannot
see an ``os.open`` relative to ``dir_fd``, nor code in C.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

SUFFIXES = ("", "-wal", "-shm", "-journal")

# Event to the number of leading arguments that are paths. shutil's events come on top of those of the calls it makes.
_EVENTS = {"open": 1, "os.remove": 1, "os.truncate": 1, "os.rename": 2, "os.link": 2, "shutil.copyfile": 2}


class SecondOpener(RuntimeError):
    """Code of this process tried to reach the live database by another way than apsw. Always a bug."""


class _Guard:
    """The set of live files and the hook. The hook runs on every open of the process: about 10 us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, int] = {}
        self._paths: tuple[str, ...] = ()
        self._names: frozenset[str] = frozenset()
        self._is_installed = False

    def install(self) -> None:
        with self._lock:
            if not self._is_installed:
                sys.addaudithook(self._hear)
                self._is_installed = True

    def change(self, database: Path, by: int) -> None:
        with self._lock:
            key = os.path.realpath(database)
            self._holders[key] = self._holders.get(key, 0) + by
            if self._holders[key] <= 0:
                del self._holders[key]
            self._paths = tuple(held + suffix for held in self._holders for suffix in SUFFIXES)
            self._names = frozenset(os.path.basename(path) for path in self._paths)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect":
            if args[0] not in (":memory:", b":memory:"):
                raise SecondOpener(f"sqlite3.connect({args[0]!r}): only apsw opens database files in this process")
        elif event in _EVENTS and self._paths:
            for path in args[: _EVENTS[event]]:
                if isinstance(path, (str, bytes, os.PathLike)) and self._is_live(path):
                    raise SecondOpener(f"{event} of the live database file {os.fsdecode(path)}: use apsw")

    def _is_live(self, path: str | bytes | os.PathLike[str]) -> bool:
        found = _identity(path)
        if found is not None:
            # The -wal and -shm files come and go, so what they are is looked up each time.
            return any(found == _identity(live) for live in self._paths)
        name = os.path.basename(os.fsdecode(path))
        return name in self._names and os.path.realpath(os.fsdecode(path)) in self._paths


def _identity(path: str | bytes | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


_guard = _Guard()


def install() -> None:
    """Put the hook in force for the rest of this process. A second call does nothing."""
    _guard.install()


def protect(database: Path) -> None:
    """From now on the four files of this database are apsw's alone, until ``release``. Calls are counted."""
    _guard.change(database, 1)


def release(database: Path) -> None:
    """The database is closed: end one ``protect``."""
    _guard.change(database, -1)
