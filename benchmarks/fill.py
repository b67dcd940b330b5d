"""A database with many ended runs, made from one real one."""

from __future__ import annotations

from pathlib import Path

import apsw

_ID = "printf('00000000-0000-4000-8000-%012x', n)"
_SECOND = 1000


def multiply_runs(database: Path, count: int) -> None:
    """Copy the newest run ``count`` times, with what other tables hold of it, each copy one second older.

    For a stopped server. The triggers that watch over single runs are taken away meanwhile, and put back. Raises
    RuntimeError if a foreign key does not hold afterwards.
    """
    connection = apsw.Connection(str(database))
    with connection:
        triggers = list(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        newest = "SELECT id FROM run WHERE finished_at IS NOT NULL ORDER BY created_at DESC LIMIT 1"
        source, project, job, last = next(
            connection.execute(
                "SELECT id, project, job, (SELECT last FROM counter WHERE counter.project = run.project AND"
                f" counter.job = run.job) FROM run WHERE id = ({newest})"
            )
        )
        connection.execute("UPDATE counter SET last = ? WHERE project = ? AND job = ?", (last + count, project, job))
        changed = {"id": _ID, "number": f"{last} + n"}
        changed |= {name: f"{name} - {_SECOND} * n" for name in _columns(connection, "run") if name.endswith("_at")}
        _copy(connection, "run", "id", changed, source, count)
        for table in _tables(connection):
            if "run_id" in _columns(connection, table):
                _copy(connection, table, "run_id", {"run_id": _ID, "key": "key || n"}, source, count)
        for _, statement in triggers:
            connection.execute(statement)
    if list(connection.execute("PRAGMA foreign_key_check")):
        raise RuntimeError("the multiplied runs break a foreign key")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _tables(connection: apsw.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [str(name) for (name,) in found]


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")')]


def _copy(connection: apsw.Connection, table: str, key: str, changed: dict[str, str], source: str, count: int) -> None:
    columns = _columns(connection, table)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(changed.get(name, f'"{name}"') for name in columns)
    connection.execute(
        f"WITH RECURSIVE copy (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < {count}) "
        f'INSERT INTO "{table}" ({names}) SELECT {values} FROM copy, "{table}" WHERE "{table}"."{key}" = ?',
        (source,),
    )
