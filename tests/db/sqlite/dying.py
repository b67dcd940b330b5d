"""Opens a database, in a process of its own for each line of stdin, which dies in the middle (F40).

``python dying.py DATABASE MIGRATIONS``, then lines ``KIND NUMBER``: SIGKILL before the statement (``statement``) or
before the change of a file (``change``) of that number. The answer to each line is ``killed``, or ``opened`` when it
came to its end before. What a migration needs is loaded once, and each process forked while no database is open.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import apsw
import sqlite_utils as sqlite_utils  # dear to import: once, before the forks

from appliance.db.sqlite import SqliteRepository
from tests.db.sqlite.faults import Disk

CHANGES = ("write", "cut", "sync")


class Countdown:
    """Dies when it has been called so many times."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def open_and_die(path: Path, migrations: Path, kind: str, number: int) -> None:
    """Returns only if the database was opened with fewer statements, or changes of files, than that."""
    die = Countdown(number)
    vfs = None
    if kind == "statement":
        apsw.connection_hooks.append(lambda made: made.trace_v2(apsw.SQLITE_TRACE_STMT, die))
    else:
        disk = Disk("dying", lambda change: die() if change in CHANGES else None)
        disk.keeps = False
        vfs = disk.name
    SqliteRepository(path, vfs=vfs, migrations=migrations).open()


def main(path: Path, migrations: Path) -> None:
    """Serve stdin."""
    for line in sys.stdin:
        kind, number = line.split()
        child = os.fork()
        if child == 0:
            try:
                open_and_die(path, migrations, kind, int(number))
            except BaseException as error:
                print(f"failed: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)  # as if killed, but after its end
        _, status = os.waitpid(child, 0)
        answers = {0: "opened", signal.SIGKILL: "killed"}
        print(answers.get(status, f"ended with {status}"), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
