"""Bringing the schema up to date: numbered files, each one transaction with its record, a backup before (F40).

``migrations/sqlite/mNNNN_name.py`` is installed as ``appliance.migrations.sqlite`` and loaded by name. ``user_version``
is the number of the newest one applied, so that a start with nothing to do needs neither sqlite-utils nor a look at the
table of records.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec

import appliance
from appliance.db.disk import Disk
from appliance.db.sqlite.connection import APPLICATION_ID, restore_advice
from appliance.model.errors import Conflict, Unusable

_log = logging.getLogger(__name__)

_PACKAGE = "appliance.migrations.sqlite"
_FILE = re.compile(r"m([0-9]{4})_[a-z0-9_]+\.py")
SET = "appliance"


class Migration(msgspec.Struct, frozen=True):
    """One change of the schema; ``change`` gets a ``sqlite_utils.Database`` inside its transaction."""

    number: int
    name: str
    change: Callable[[Any], None]


class Step(msgspec.Struct, frozen=True):
    """What a dry run found: a migration and the SQL that it would run."""

    name: str
    statements: tuple[str, ...]


def folder() -> Path:
    """Where the migrations are: in the installed package, else in the source tree beside ``appliance``."""
    try:
        return Path(next(iter(importlib.import_module(_PACKAGE).__path__)))
    except ModuleNotFoundError:
        return Path(appliance.__file__).parent.parent / "migrations" / "sqlite"


def load(directory: Path | None = None) -> list[Migration]:
    """All migrations in order. Raises Conflict when a number is missing or taken twice."""
    directory = directory or folder()
    found: list[Migration] = []
    for path in sorted(directory.glob("m*.py")):
        match = _FILE.fullmatch(path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise Conflict(f"{path} breaks the row of migrations: number {len(found) + 1} was expected")
        spec = importlib.util.spec_from_file_location(f"{_PACKAGE}.{path.stem}", path)
        if spec is None or spec.loader is None:
            raise Conflict(f"{path} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(Migration(number=int(match[1]), name=path.stem, change=module.apply))
    if not found:
        raise Conflict(f"there are no migrations in {directory}: the installation is incomplete")
    return found


def check_identity(connection: apsw.Connection, newest: int) -> None:
    """Raise Unusable for a file that is not ours, or that a newer version of this program has changed (F20)."""
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application == 0 and version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        return  # empty: about to become ours
    if application != APPLICATION_ID:
        path = Path(connection.filename)
        raise Unusable(
            f"{path} is no database of the appliance (application_id {application:#x}); {restore_advice(path)}"
        )
    if version > newest:
        raise Unusable(
            f"the database has schema {version}, this program knows up to {newest}: install the newer version again, "
            f"or {restore_advice(Path(connection.filename))} (one from before the upgrade)"
        )


def bring_up_to_date(connection: apsw.Connection, path: Path, migrations: list[Migration]) -> list[str]:
    """Apply what is missing; answers the names. Raises what a migration raised, and then its changes are undone.

    When anything was applied before, a copy is made first, beside the database: ``NAME.before-mNNNN-….bak``.
    """
    check_identity(connection, len(migrations))
    version: int = connection.pragma("user_version")
    missing = migrations[version:]
    if not missing:
        return []
    if version:
        copy = back_up(connection, path, f"before-{missing[0].name}")
        _log.info("the database was copied to %s before the migration", copy)
    else:
        connection.pragma("application_id", APPLICATION_ID)  # first: what a kill leaves from here on is known as ours
    _apply(connection, missing)
    problems = [str(row) for row in connection.execute("PRAGMA integrity_check") if row != ("ok",)]
    if problems:
        raise Unusable(f"the database is damaged after the migration; restore the backup: {problems[0]}")
    _log.info("migrations applied: %s", ", ".join(one.name for one in missing))
    return [one.name for one in missing]


def back_up(connection: apsw.Connection, path: Path, label: str) -> Path:
    """Copy the database, through SQLite's backup API, to a new 0600 file beside it; answers its path.

    What a kill has left of earlier copies is removed. For whoever holds the database's lock.
    """
    for left in path.parent.glob(f"{path.name}.*.bak.tmp*"):
        left.unlink()
    copy = path.with_name(f"{path.name}.{label}-{secrets.token_hex(4)}.bak")
    unfinished = copy.with_name(f"{copy.name}.tmp")
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    target = apsw.Connection(str(unfinished))
    try:
        with target.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(1000)
        target.pragma("journal_mode", "delete")  # one file, complete in itself
    finally:
        target.close()
    unfinished.rename(copy)
    Disk().sync_directory(copy.parent)
    return copy


def dry_run(connection: apsw.Connection, migrations: list[Migration]) -> list[Step]:
    """What ``bring_up_to_date`` would do, found by doing it to a copy in memory. The database is only read."""
    check_identity(connection, len(migrations))
    missing = migrations[connection.pragma("user_version") :]
    copy = apsw.Connection(":memory:")
    try:
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(1000)
        steps = []
        for migration in missing:
            statements: list[str] = []

            def note(event: dict[str, Any], into: list[str] = statements) -> None:
                if not event["trigger"]:
                    into.append(event["sql"].strip())

            copy.trace_v2(apsw.SQLITE_TRACE_STMT, note)
            _apply(copy, [migration])
            copy.trace_v2(0, None)
            steps.append(Step(name=migration.name, statements=tuple(statements)))
        return steps
    finally:
        copy.close()


def _apply(connection: apsw.Connection, migrations: list[Migration]) -> None:
    from sqlite_utils import Database, Migrations  # dear to import, and only needed here

    from appliance.db.sqlite.facade import Connection

    database = Database(Connection(connection), execute_plugins=False)  # type: ignore[arg-type]  # looks like sqlite3's
    changes = Migrations(SET)
    for migration in migrations:
        changes(name=migration.name)(_whole(migration))
    # Off, as SQLite's documentation asks for when tables are rebuilt; each transaction checks them before it ends.
    connection.pragma("foreign_keys", 0)
    try:
        changes.apply(database)
    finally:
        connection.pragma("foreign_keys", 1)


def _whole(migration: Migration) -> Callable[[Any], None]:
    """The change with what belongs into its transaction: the check of foreign keys and the marks of the file."""

    def change(database: Any) -> None:
        migration.change(database)
        broken = database.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise Conflict(f"{migration.name} leaves a row of {broken[0]} without its {broken[2]}")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {migration.number:d}")

    return change
