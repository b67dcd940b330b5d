# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Runs, in SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import apsw
import msgspec

from appliance.db.repository import RunFilter, RunKey, RunStore
from appliance.db.results import lay_over
from appliance.db.sqlite.find import find
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.rows import Rows, to_json
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import IdempotencyKey, Lease, NewRun, Run, StreamRecord
from appliance.model.errors import Conflict
from appliance.model.run_state import LIVE, TERMINAL, IllegalTransition, Status
from appliance.model.times import to_millis

_T = TypeVar("_T")

_RUNS, _LEASES, _STREAMS = Rows(Run), Rows(Lease), Rows(StreamRecord)

# What a trigger settles for ever is never written again.
_FIXED = frozenset(NewRun.__struct_fields__) - {"priority"} | {"number", "version"}
_CHANGING = tuple(name for name in _RUNS.columns if name not in _FIXED)
_LIVE = ", ".join(f"'{status}'" for status in sorted(LIVE))

_SELECT = f"SELECT {_RUNS.names} FROM run"
_INSERT = f"INSERT INTO run ({_RUNS.names}, source_type) VALUES ({_RUNS.places}, ?)"
_NEXT = """
    INSERT INTO counter (project, job, last) VALUES (?, ?, 1)
    ON CONFLICT (project, job) DO UPDATE SET last = last + 1 RETURNING last
"""
_UPDATE = (
    f"UPDATE run SET {', '.join(f'{name} = ?' for name in _CHANGING)}, version = ? "
    f"WHERE id = ? AND version = ? RETURNING 1"
)
# The conditions are those of the partial indexes, word for word: else SQLite does not use them.
_PENDING = f"{_SELECT} WHERE status = 'pending' AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"
_EXPIRED = (
    f"{_SELECT} WHERE status = 'pending' AND expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at, id LIMIT ?"
)
_LEASED = (
    f"SELECT {_RUNS.names_of('run')}, {_LEASES.names_of('lease')} "
    f"FROM run INDEXED BY run_leased JOIN lease ON lease.run_id = run.id "
    f"WHERE run.status IN ('assigned', 'running', 'lost')"
)
_LEASED_TO = f"{_LEASED} AND run.worker_id = ? ORDER BY run.created_at, run.id"
_LEASED_ALL = f"{_LEASED} ORDER BY run.created_at, run.id"
_PUT_STREAM = f"INSERT OR REPLACE INTO stream ({_STREAMS.names}) VALUES ({_STREAMS.places})"
_NOTE_STREAM = f"""
    INSERT OR REPLACE INTO stream ({_STREAMS.names}) SELECT {_STREAMS.places} FROM run
    WHERE run.id = ? AND (
        run.finished_at IS NULL
        OR ? > ifnull((SELECT stream.size FROM stream WHERE stream.run_id = run.id AND stream.stream = ?), -1)
    )
"""
_NEWEST = f"{_SELECT} WHERE project = ? AND job = ?"


class SqliteRuns(RunStore):
    """See :class:`~appliance.db.repository.RunStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def add(self, new: NewRun, key: IdempotencyKey | None = None) -> tuple[Run, bool]:
        """See the interface."""

        def verb(connection: apsw.Connection) -> tuple[Run, bool]:
            if key is not None and (first := _first_run(connection, key)) is not None:
                return first, False
            if connection.execute("SELECT 1 FROM run WHERE id = ?", (new.id,)).get is not None:
                raise Conflict(f"a run with the id {new.id} exists")
            number = connection.execute(_NEXT, (new.project, new.job)).get
            fields = {name: getattr(new, name) for name in NewRun.__struct_fields__}
            row = _RUNS.to_row(Run(number=number, status=Status.PENDING, **fields))
            connection.execute(_INSERT, (*row, new.source.type))
            if key is not None:
                connection.execute(
                    "INSERT INTO idempotency_key (owner, key, digest, run_id) VALUES (?, ?, ?, ?)",
                    (key.owner, key.key, key.digest, new.id),
                )
            return _RUNS.from_row(row), True

        return self._writer.do(verb)

    def get(self, run_id: str) -> Run | None:
        """See the interface."""
        return self._one(f"{_SELECT} WHERE id = ?", run_id)

    def numbered(self, project: str, job: str, number: int) -> Run | None:
        """See the interface."""
        return self._one(f"{_SELECT} WHERE project = ? AND job = ? AND number = ?", project, job, number)

    def newest(self, project: str, job: str, status: Status | None = None) -> Run | None:
        """See the interface."""
        if status is None:
            return self._one(f"{_NEWEST} ORDER BY number DESC LIMIT 1", project, job)
        return self._one(f"{_NEWEST} AND status = ? ORDER BY number DESC LIMIT 1", project, job, str(status))

    def find(self, where: RunFilter, after: RunKey | None, limit: int) -> list[Run]:
        """See the interface."""

        def query(connection: apsw.Connection) -> list[Run]:
            connection.execute("BEGIN")
            try:
                return [_RUNS.from_row(row) for row in find(connection, _RUNS.names, where, after, limit)]
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

        return self._readers.read(query)

    def pending(self, after: RunKey | None, limit: int) -> list[Run]:
        """See the interface."""
        place = (to_millis(after.created_at), after.id) if after else (-(1 << 62), "")
        return self._many(_PENDING, *place, limit)

    def expired(self, now: datetime, limit: int) -> list[Run]:
        """See the interface."""
        return self._many(_EXPIRED, to_millis(now), limit)

    def leased_to(self, worker_id: str) -> list[tuple[Run, Lease]]:
        """See the interface."""
        return self._leases(_LEASED_TO, worker_id)

    def leased(self) -> list[tuple[Run, Lease]]:
        """See the interface."""
        return self._leases(_LEASED_ALL)

    def lease(self, run_id: str) -> Lease | None:
        """See the interface."""
        rows = self._rows(f"SELECT {_LEASES.names} FROM lease WHERE run_id = ?", run_id)
        return _LEASES.from_row(rows[0]) if rows else None

    def grant(self, run: Run, lease: Lease, if_version: int) -> bool:
        """See the interface."""
        if run.status is not Status.ASSIGNED:
            raise IllegalTransition(f"a lease is for an assigned run, not for one that is {run.status}")

        def verb(connection: apsw.Connection) -> bool:
            if not _store(connection, run, if_version, if_version + 1):
                return False
            sql = f"INSERT OR REPLACE INTO lease ({_LEASES.names}) VALUES ({_LEASES.places})"
            connection.execute(sql, _LEASES.to_row(lease))
            return True

        return self._writer.do(verb)

    def take_back(self, run: Run, if_version: int) -> bool:
        """See the interface."""
        if run.status not in (Status.PENDING, Status.CANCELLED):
            raise IllegalTransition(f"a run cannot be taken back to {run.status}")
        back = msgspec.structs.replace(
            run, status=Status.PENDING, reason=None, sentence="", assigned_at=None, started_at=None, finished_at=None
        )

        def verb(connection: apsw.Connection) -> bool:
            status = connection.execute("SELECT status FROM run WHERE id = ? AND version = ?", (run.id, if_version)).get
            if status is None:
                return False
            if status != Status.ASSIGNED:
                raise IllegalTransition(f"a run that is {status} cannot be taken back")
            if run.status is Status.CANCELLED:
                _store(connection, back, if_version, if_version)  # by way of pending, as 4.2 says
            connection.execute("DELETE FROM lease WHERE run_id = ?", (run.id,))
            return _store(connection, run, if_version, if_version + 1)

        return self._writer.do(verb)

    def replace(self, run: Run, if_version: int) -> bool:
        """See the interface."""
        return self._writer.do(lambda connection: _store(connection, run, if_version, if_version + 1))

    def finish(self, run: Run, streams: Sequence[StreamRecord], results: str | None, if_version: int) -> bool:
        """See the interface."""
        if run.status not in TERMINAL:
            raise IllegalTransition(f"a run that is {run.status} has not ended")

        def verb(connection: apsw.Connection) -> bool:
            if not _store(connection, run, if_version, if_version + 1):
                return False
            for record in streams:
                connection.execute(_PUT_STREAM, _STREAMS.to_row(record))
            if results is not None:
                sql = (
                    "INSERT INTO result (run_id, seq, text, laid_over) VALUES (?, 0, ?, '{}') "
                    "ON CONFLICT DO UPDATE SET text = excluded.text"
                )
                connection.execute(sql, (run.id, results))
            return True

        return self._writer.do(verb)

    def streams(self, run_id: str) -> list[StreamRecord]:
        """See the interface."""
        rows = self._rows(f"SELECT {_STREAMS.names} FROM stream WHERE run_id = ? ORDER BY stream", run_id)
        return [_STREAMS.from_row(row) for row in rows]

    def put_streams(self, records: Sequence[StreamRecord]) -> None:
        """See the interface."""

        def verb(connection: apsw.Connection) -> None:
            for record in records:
                row = _STREAMS.to_row(record)
                connection.execute(_NOTE_STREAM, (*row, record.run_id, record.size, record.stream))

        self._writer.do(verb)

    def results(self, run_id: str) -> str:
        """See the interface."""
        rows = self._rows("SELECT text, laid_over FROM result WHERE run_id = ?", run_id)
        if not rows:
            return "{}"
        text, laid_over = rows[0]
        return lay_over(text, msgspec.json.decode(laid_over))

    def put_results(self, run_id: str, seq: int, text: str) -> bool:
        """See the interface."""
        sql = f"""
            INSERT INTO result (run_id, seq, text, laid_over)
            SELECT id, ?, ?, '{{}}' FROM run WHERE id = ? AND status IN ({_LIVE})
            ON CONFLICT DO UPDATE SET seq = excluded.seq, text = excluded.text WHERE excluded.seq > result.seq
            RETURNING 1
        """
        return self._writer.do(lambda connection: connection.execute(sql, (seq, text, run_id)).get is not None)

    def set_results(self, run_id: str, values: Mapping[str, Any]) -> bool:
        """See the interface."""
        text = to_json(dict(values))

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute("SELECT 1 FROM run WHERE id = ?", (run_id,)).get is None:
                return False
            before = connection.execute("SELECT laid_over FROM result WHERE run_id = ?", (run_id,)).get
            merged = text if before is None else lay_over(before, values)
            connection.execute(
                "INSERT INTO result (run_id, seq, text, laid_over) VALUES (?, -1, '{}', ?) "
                "ON CONFLICT DO UPDATE SET laid_over = excluded.laid_over",
                (run_id, merged),
            )
            return True

        return self._writer.do(verb)

    def counts(self) -> dict[Status, int]:
        """See the interface."""
        rows = self._rows(f"SELECT status, count(*) FROM run WHERE status IN ({_LIVE}) GROUP BY status")
        found = dict(rows)
        return {status: found.get(status, 0) for status in Status if status in LIVE}

    def _rows(self, sql: str, *bindings: Any) -> list[Any]:
        return self._readers.read(lambda connection: list(connection.execute(sql, bindings)))

    def _one(self, sql: str, *bindings: Any) -> Run | None:
        return next(iter(self._many(sql, *bindings)), None)

    def _many(self, sql: str, *bindings: Any) -> list[Run]:
        return [_RUNS.from_row(row) for row in self._rows(sql, *bindings)]

    def _leases(self, sql: str, *bindings: Any) -> list[tuple[Run, Lease]]:
        width = len(_RUNS.columns)
        return [(_RUNS.from_row(row), _LEASES.from_row(row[width:])) for row in self._rows(sql, *bindings)]


def _store(connection: apsw.Connection, run: Run, if_version: int, version: int) -> bool:
    """Write what may change of a run, under a new version, if it still has the old one."""
    row = _RUNS.to_row(run, _CHANGING)
    return connection.execute(_UPDATE, (*row, version, run.id, if_version)).get is not None


def _first_run(connection: apsw.Connection, key: IdempotencyKey) -> Run | None:
    """The run that came with this key. Raises Conflict when the request was another."""
    sql = "SELECT digest, run_id FROM idempotency_key WHERE owner = ? AND key = ?"
    known = connection.execute(sql, (key.owner, key.key)).get
    if known is None:
        return None
    digest, run_id = known
    if digest != key.digest:  # public: both are digests of what this caller sent itself
        raise Conflict("this Idempotency-Key was used for another request; use a new key")
    (row,) = connection.execute(f"{_SELECT} WHERE id = ?", (run_id,))
    return _RUNS.from_row(row)
