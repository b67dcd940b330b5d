"""A database with many ended runs, made from one real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import apsw

_STEP = 1000 << 21  # of a place: one second
_RANDOM = ("id", "log_sha256", "lease_cap")  # as good as random in every run, so that they take the room they take


def multiply_runs(database: Path, count: int) -> None:
    """Copy the newest ended run ``count`` times, with its results, each copy one second older.

    For a stopped server. Idempotency keys are not copied: they are kept for a week only. The triggers that watch over
    single runs are taken away meanwhile, and put back. Raises RuntimeError if a foreign key does not hold afterwards.
    """
    with closing(apsw.Connection(str(database))) as connection:
        with connection:
            triggers = list(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
            for name, _ in triggers:
                connection.execute(f'DROP TRIGGER "{name}"')
            _copy(connection, count)
            for _, statement in triggers:
                connection.execute(str(statement))
        if list(connection.execute("PRAGMA foreign_key_check")):
            raise RuntimeError("the multiplied runs break a foreign key")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(connection: apsw.Connection, count: int) -> None:
    names = [str(row[1]) for row in connection.execute("PRAGMA table_info(run)")]
    newest: list[Any] = connection.execute(
        "SELECT * FROM run WHERE finished_after IS NOT NULL ORDER BY place DESC LIMIT 1"
    ).fetchall()
    source = dict(zip(names, newest[0], strict=True))
    last: Any = connection.execute(
        "UPDATE counter SET last = last + ? WHERE project = ? AND job = ? RETURNING last",
        (count, source["project"], source["job"]),
    ).get
    random = Random(1)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            row = dict(source)
            # The oldest first, as a server would have stored them.
            row["place"] = source["place"] - (count - number) * _STEP
            row["number"] = last - number
            for name in _RANDOM:
                if isinstance(source[name], bytes):
                    row[name] = random.randbytes(len(source[name]))
            yield tuple(row.values())

    connection.executemany(f"INSERT INTO run VALUES ({', '.join('?' * len(names))})", rows())
    connection.execute(
        "INSERT INTO result (place, seq, text, laid_over) SELECT run.place, seq, text, laid_over "
        "FROM result, run WHERE result.place = ?1 AND run.place < ?1 AND run.place >= ?1 - ?2",
        (source["place"], count * _STEP),
    )
