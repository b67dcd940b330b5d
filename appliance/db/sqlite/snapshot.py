"""A copy of a live database at one instant, through SQLite's backup API (reliability.md, decision 2)."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from appliance.db.sqlite import migrate
from appliance.db.sqlite.connection import connect, translate


def snapshot(path: Path, target: Path) -> str:
    """Copy the database at ``path``, in use or not, to the new file ``target`` (0600); answers its cluster, or "".

    The copy is durable and one file, complete in itself. Writers do not wait. Raises Unusable for a database that is
    not ours or of a newer schema, Unavailable and Full.
    """
    try:
        source = connect(path, is_reader=True)
    except apsw.Error as error:
        raise translate(error) from error
    try:
        migrate.check_identity(source, len(migrate.load()))
        return _copy(source, target)
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        source.close()


def _copy(source: apsw.Connection, target: Path) -> str:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    copy = apsw.Connection(str(target))
    try:
        source.execute("BEGIN")  # one instant, however long it takes and whoever writes
        found = source.execute("SELECT cluster FROM identity").get
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(1000)
        copy.pragma("journal_mode", "delete")
    finally:
        if source.in_transaction:
            source.execute("ROLLBACK")
        copy.close()
    return str(found or "")
