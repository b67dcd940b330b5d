# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Workers, in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import apsw

from appliance.db.repository import WorkerStore
from appliance.db.sqlite.accounts import insert_token
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.rows import Rows, behind
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Token, Worker
from appliance.model.times import to_millis

_WORKERS = Rows(Worker)
_FIXED = frozenset({"id", "name", "created_at", "last_contact_at", "version"})
_CHANGING = tuple(name for name in _WORKERS.columns if name not in _FIXED)

_SELECT = f"SELECT {_WORKERS.names} FROM worker"
_UPDATE = (
    f"UPDATE worker SET {', '.join(f'{name} = ?' for name in _CHANGING)}, version = version + 1 "
    f"WHERE id = ? AND version = ? RETURNING 1"
)
_REVOKE = """
    UPDATE worker SET revoked_at = ?, revoked_by = ?, version = version + 1
    WHERE id = ? AND revoked_at IS NULL RETURNING 1
"""
_GRANTED = ("owner", "properties")  # in the order of the columns
_GRANT_AGAIN = """
    UPDATE worker SET owner = ?, properties = ?, revoked_at = NULL, revoked_by = NULL, version = version + 1
    WHERE id = ? AND version = ? AND revoked_at IS NOT NULL RETURNING 1
"""
_HAS_LIVE_RUNS = """
    SELECT 1 FROM run INDEXED BY run_leased
    WHERE worker_id = (SELECT word FROM word WHERE text = ?) AND status IN ('assigned', 'running', 'lost') LIMIT 1
"""


class SqliteWorkers(WorkerStore):
    """See :class:`~appliance.db.repository.WorkerStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def add(self, worker: Worker, token: Token) -> bool:
        """See the interface."""
        sql = f"INSERT INTO worker ({_WORKERS.names}) VALUES ({_WORKERS.places}) ON CONFLICT DO NOTHING RETURNING 1"

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(sql, _WORKERS.to_row(worker)).get is None:
                return False
            insert_token(connection, token)
            return True

        return self._writer.do(verb)

    def get(self, worker_id: str) -> Worker | None:
        """See the interface."""
        return self._one(f"{_SELECT} WHERE id = ?", worker_id)

    def named(self, name: str) -> Worker | None:
        """See the interface."""
        return self._one(f"{_SELECT} WHERE name = ?1 AND name = ?1 COLLATE BINARY", name)

    def list(self, after: str | None, limit: int, *, backwards: bool = False) -> list[Worker]:
        """See the interface."""
        where, bindings = behind(after, limit, backwards)
        sql = f"{_SELECT} {where}"
        return self._readers.read(
            lambda connection: [_WORKERS.from_row(row) for row in connection.execute(sql, bindings)]
        )

    def replace(self, worker: Worker, if_version: int) -> bool:
        """See the interface. Id, name and ``created_at`` never change."""
        bindings = (*_WORKERS.to_row(worker, _CHANGING), worker.id, if_version)
        return self._writer.do(lambda connection: connection.execute(_UPDATE, bindings).get is not None)

    def revoke(self, worker_id: str, by: str, at: datetime) -> bool:
        """See the interface."""

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(_REVOKE, (to_millis(at), by, worker_id)).get is None:
                return False
            connection.execute("DELETE FROM token WHERE worker_id = ?", (worker_id,))
            return True

        return self._writer.do(verb)

    def grant_again(self, worker: Worker, token: Token, if_version: int) -> bool:
        """See the interface."""
        bindings = (*_WORKERS.to_row(worker, _GRANTED), worker.id, if_version)

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(_GRANT_AGAIN, bindings).get is None:
                return False
            insert_token(connection, token)
            return True

        return self._writer.do(verb)

    def beats(self, heard: Mapping[str, datetime]) -> None:
        """See the interface."""
        rows = [(to_millis(at), worker_id) for worker_id, at in heard.items()]

        def verb(connection: apsw.Connection) -> None:
            connection.executemany("UPDATE worker SET last_contact_at = ? WHERE id = ?", rows)

        if rows:
            self._writer.do(verb)

    def remove(self, worker_id: str) -> bool:
        """See the interface."""

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(_HAS_LIVE_RUNS, (worker_id,)).get is not None:
                return False
            return connection.execute("DELETE FROM worker WHERE id = ? RETURNING 1", (worker_id,)).get is not None

        return self._writer.do(verb)

    def _one(self, sql: str, key: str) -> Worker | None:
        rows = self._readers.read(lambda connection: connection.execute(sql, (key,)).fetchall())
        return _WORKERS.from_row(rows[0]) if rows else None
