# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Runs, in SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import apsw
import msgspec

from appliance.db.repository import RunFilter, RunKey, RunStore
from appliance.db.results import lay_over
from appliance.db.sqlite import keys
from appliance.db.sqlite.find import BAD_END, find, place_after
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.recovering import UNHEARD, note_return, recover
from appliance.db.sqlite.rows import to_json
from appliance.db.sqlite.run_rows import (
    COLUMNS,
    LEASE_COLUMNS,
    NAMES,
    changes,
    hex_in,
    id_in,
    insert,
    lease_of,
    lease_row,
    parameters_in,
    parameters_out,
    run_of,
    update,
)
from appliance.db.sqlite.streams import note_stream, settled, streams_of
from appliance.db.sqlite.words import Words
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import IdempotencyKey, Lease, NewRun, Run, StreamRecord
from appliance.model.run_state import LIVE, TERMINAL, IllegalTransition, Status
from appliance.model.times import to_millis

_LIVE = ", ".join(f"'{status}'" for status in sorted(LIVE))

_SELECT = f"SELECT {NAMES} FROM run"
_NEXT = f"""
    INSERT INTO counter (project, job, last) VALUES (?, ?, 1 + ifnull(({UNHEARD}), 0))
    ON CONFLICT (project, job) DO UPDATE SET last = last + 1 RETURNING last
"""
_NUMBERED = f"{_SELECT} WHERE project = ? AND job = ? AND number = ?"
_NEWEST = f"{_SELECT} WHERE project = ? AND job = ? ORDER BY number DESC LIMIT 1"
_NEWEST_SUCCEEDED = f"""
    {_SELECT} WHERE project = ?1 AND job = ?2
    AND number = (SELECT last_succeeded FROM counter WHERE counter.project = ?1 AND counter.job = ?2)
"""
# The conditions are those of the partial indexes, word for word: else SQLite does not use them.
_NEWEST_BAD = (
    f"{_SELECT} INDEXED BY run_by_outcome WHERE project = ? AND job = ? AND status = ? AND {BAD_END} "
    f"ORDER BY number DESC LIMIT 1"
)
_NEWEST_LIVE = (
    f"{_SELECT} INDEXED BY run_by_status WHERE project = ? AND job = ? AND status = ? AND status <> 'succeeded' "
    f"ORDER BY number DESC LIMIT 1"
)
_PENDING = (
    f"{_SELECT} INDEXED BY run_by_status WHERE status = 'pending' AND status <> 'succeeded' AND place > ? "
    f"ORDER BY place LIMIT ?"
)
_COUNTS = f"""
    SELECT status, count(*) FROM run INDEXED BY run_by_status
    WHERE status IN ({_LIVE}) AND status <> 'succeeded' GROUP BY status
"""
_EXPIRED = (
    f"{_SELECT} INDEXED BY run_expires WHERE status = 'pending' AND expires_at IS NOT NULL AND expires_at <= ? "
    f"ORDER BY expires_at, place LIMIT ?"
)
_LEASE = f"place, id, {', '.join(LEASE_COLUMNS)}, (SELECT text FROM request WHERE request.place = run.place)"
_IS_LEASED = "run INDEXED BY run_leased WHERE status IN ('assigned', 'running', 'lost') AND lease_worker IS NOT NULL"
_LEASED = f"SELECT {NAMES}, {_LEASE} FROM {_IS_LEASED}"
_LEASED_ALL = f"{_LEASED} ORDER BY place"
_LEASED_TO = f"{_LEASED} AND worker_id = ? ORDER BY place"
_LEASED_COUNTS = f"SELECT worker_id, count(*) FROM {_IS_LEASED} GROUP BY worker_id"
_NOW = "SELECT place, status, worker_id, worker FROM run WHERE id = ? AND version = ?"
_NO_LEASE = (None,) * len(LEASE_COLUMNS)

_Now = tuple[int, str, int | None, int | None]


class SqliteRuns(RunStore):
    """See :class:`~appliance.db.repository.RunStore`."""

    def __init__(self, readers: Readers, writer: Writer, words: Words) -> None:
        self._readers = readers
        self._writer = writer
        self._words = words

    def add(self, new: NewRun, key: IdempotencyKey | None = None) -> tuple[Run, bool]:
        """See the interface. Runs whose ids begin with the same 21 bits in one millisecond lie as they came."""
        parameters = parameters_in(new.parameters)
        words = self._words

        def verb(connection: apsw.Connection) -> int | str:
            if key is not None and (first := keys.first_run(connection, key)) is not None:
                return first
            pair = words.number(connection, new.project), words.number(connection, new.job)
            number: int = connection.execute(_NEXT, pair).get
            place = insert(connection, words, new, number, parameters)
            if key is not None:
                keys.note(connection, key, new.created_at, place)
            return number

        number = self._writer.do(verb)
        if isinstance(number, str):
            first = self.get(number)
            assert first is not None, "runs are not deleted"
            return first, False
        fields = {name: getattr(new, name) for name in NewRun.__struct_fields__}
        fields["parameters"] = parameters_out(parameters)
        return Run(number=number, status=Status.PENDING, **fields), True

    def keyed(self, key: IdempotencyKey) -> Run | None:
        """See the interface."""
        run_id = self._readers.read(lambda connection: keys.first_run(connection, key))
        return None if run_id is None else self.get(run_id)

    def get(self, run_id: str) -> Run | None:
        """See the interface."""
        return self._one(f"{_SELECT} WHERE id = ?", id_in(run_id))

    def numbered(self, project: str, job: str, number: int) -> Run | None:
        """See the interface."""
        return self._of_job(_NUMBERED, project, job, number)

    def newest(self, project: str, job: str, status: Status | None = None) -> Run | None:
        """See the interface."""
        if status is None:
            return self._of_job(_NEWEST, project, job)
        if status is Status.SUCCEEDED:
            return self._of_job(_NEWEST_SUCCEEDED, project, job)
        return self._of_job(_NEWEST_LIVE if status in LIVE else _NEWEST_BAD, project, job, status)

    def find(self, where: RunFilter, after: RunKey | None, limit: int, *, oldest_first: bool = False) -> list[Run]:
        """See the interface."""
        words = self._words

        def query(connection: apsw.Connection) -> list[Run]:
            connection.execute("BEGIN")
            try:
                rows = find(connection, words, NAMES, where, after, limit, oldest_first=oldest_first)
                return [run_of(connection, words, row) for row in rows]
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

        return self._readers.read(query)

    def pending(self, after: RunKey | None, limit: int) -> list[Run]:
        """See the interface."""

        def query(connection: apsw.Connection) -> list[Run]:
            place = -1 if after is None else place_after(connection, after)
            return [run_of(connection, self._words, row) for row in connection.execute(_PENDING, (place, limit))]

        return self._readers.read(query)

    def expired(self, now: datetime, limit: int) -> list[Run]:
        """See the interface."""
        return self._many(_EXPIRED, to_millis(now), limit)

    def leased_to(self, worker_id: str) -> list[tuple[Run, Lease]]:
        """See the interface."""

        def query(connection: apsw.Connection) -> list[tuple[Run, Lease]]:
            known = self._words.known(connection, (worker_id,))
            return self._leases(connection, _LEASED_TO, known) if known else []

        return self._readers.read(query)

    def leased(self) -> list[tuple[Run, Lease]]:
        """See the interface."""
        return self._readers.read(lambda connection: self._leases(connection, _LEASED_ALL, ()))

    def leased_counts(self) -> dict[str, int]:
        """See the interface."""
        text = self._words.text
        return self._readers.read(
            lambda connection: {text(connection, word): n for word, n in connection.execute(_LEASED_COUNTS)}
        )

    def lease(self, run_id: str) -> Lease | None:
        """See the interface."""
        sql = f"SELECT {_LEASE} FROM run WHERE id = ? AND lease_worker IS NOT NULL"

        def query(connection: apsw.Connection) -> Lease | None:
            for row in connection.execute(sql, (id_in(run_id),)):
                return lease_of(connection, self._words, row[:-1], row[-1])
            return None

        return self._readers.read(query)

    def grant(self, run: Run, lease: Lease, if_version: int) -> bool:
        """See the interface."""
        if run.status is not Status.ASSIGNED:
            raise IllegalTransition(f"a lease is for an assigned run, not for one that is {run.status}")
        words = self._words

        def verb(connection: apsw.Connection) -> bool:
            now = _now(connection, run, if_version)
            if now is None:
                return False
            values = lease_row(connection, words, lease, now[0])
            self._change(connection, now, run, if_version + 1, LEASE_COLUMNS, values)
            connection.execute("INSERT OR REPLACE INTO request (place, text) VALUES (?, ?)", (now[0], lease.request))
            return True

        return self._writer.do(verb)

    def recover(self, run: Run, lease: Lease) -> Run | None:
        """See the interface."""
        if run.status is not Status.ASSIGNED:
            raise IllegalTransition(f"a lease is for an assigned run, not for one that is {run.status}")
        number = self._writer.do(lambda connection: recover(connection, self._words, run, lease))
        return None if number is None else msgspec.structs.replace(run, number=number, version=1)

    def take_back(self, run: Run, if_version: int) -> bool:
        """See the interface."""
        if run.status not in (Status.PENDING, Status.CANCELLED):
            raise IllegalTransition(f"a run cannot be taken back to {run.status}")
        back = msgspec.structs.replace(
            run, status=Status.PENDING, reason=None, sentence="", assigned_at=None, started_at=None, finished_at=None
        )

        def verb(connection: apsw.Connection) -> bool:
            now = _now(connection, run, if_version)
            if now is None:
                return False
            if now[1] != Status.ASSIGNED:
                raise IllegalTransition(f"a run that is {now[1]} cannot be taken back")
            note_return(connection, now[0])
            self._change(connection, now, back, if_version + 1, LEASE_COLUMNS, _NO_LEASE)
            if run.status is Status.CANCELLED:  # by way of pending, as 4.2 says
                now = _now(connection, run, if_version + 1)
                assert now is not None
                self._change(connection, now, run, if_version + 1)
            return True

        return self._writer.do(verb)

    def replace(self, run: Run, if_version: int) -> bool:
        """See the interface."""

        def verb(connection: apsw.Connection) -> bool:
            now = _now(connection, run, if_version)
            if now is not None:
                self._change(connection, now, run, if_version + 1)
            return now is not None

        return self._writer.do(verb)

    def finish(self, run: Run, streams: Sequence[StreamRecord], results: str | None, if_version: int) -> bool:
        """See the interface."""
        if run.status not in TERMINAL:
            raise IllegalTransition(f"a run that is {run.status} has not ended")
        sha256 = hex_in(run.log.sha256)

        def verb(connection: apsw.Connection) -> bool:
            now = _now(connection, run, if_version)
            if now is None:
                return False
            packed = settled(connection, self._words, now[0], streams, sha256)
            self._change(connection, now, run, if_version + 1, ("streams",), (packed,))
            if results is not None:
                sql = (
                    "INSERT INTO result (place, seq, text) VALUES (?, 0, ?) "
                    "ON CONFLICT DO UPDATE SET text = excluded.text"
                )
                connection.execute(sql, (now[0], results))
            return True

        return self._writer.do(verb)

    def streams(self, run_id: str) -> list[StreamRecord]:
        """See the interface."""
        return self._readers.read(lambda connection: streams_of(connection, self._words, run_id))

    def put_streams(self, records: Sequence[StreamRecord]) -> None:
        """See the interface."""

        def verb(connection: apsw.Connection) -> None:
            for record in records:
                note_stream(connection, self._words, record)

        self._writer.do(verb)

    def results(self, run_id: str) -> str:
        """See the interface."""
        sql = "SELECT text, laid_over FROM run CROSS JOIN result ON result.place = run.place WHERE run.id = ?"
        rows: list[Any] = self._readers.read(lambda connection: connection.execute(sql, (id_in(run_id),)).fetchall())
        if not rows:
            return "{}"
        text, laid_over = rows[0]
        return lay_over(text, {} if laid_over is None else msgspec.json.decode(laid_over))

    def put_results(self, run_id: str, seq: int, text: str) -> bool:
        """See the interface."""
        sql = f"""
            INSERT INTO result (place, seq, text)
            SELECT place, ?, ? FROM run WHERE id = ? AND status IN ({_LIVE})
            ON CONFLICT DO UPDATE SET seq = excluded.seq, text = excluded.text WHERE excluded.seq > result.seq
            RETURNING 1
        """
        bindings = (seq, text, id_in(run_id))
        return self._writer.do(lambda connection: connection.execute(sql, bindings).get is not None)

    def set_results(self, run_id: str, values: Mapping[str, Any]) -> bool:
        """See the interface."""
        text = to_json(dict(values))

        def verb(connection: apsw.Connection) -> bool:
            place = connection.execute("SELECT place FROM run WHERE id = ?", (id_in(run_id),)).get
            if place is None:
                return False
            before = connection.execute("SELECT laid_over FROM result WHERE place = ?", (place,)).get
            merged = text if before is None else lay_over(before, values)
            connection.execute(
                "INSERT INTO result (place, seq, text, laid_over) VALUES (?, -1, '{}', ?) "
                "ON CONFLICT DO UPDATE SET laid_over = excluded.laid_over",
                (place, merged),
            )
            return True

        return self._writer.do(verb)

    def counts(self) -> dict[Status, int]:
        """See the interface."""
        rows: list[Any] = self._readers.read(lambda connection: connection.execute(_COUNTS).fetchall())
        found = dict(rows)
        return {status: found.get(status, 0) for status in Status if status in LIVE}

    # ---- inside readers

    def _one(self, sql: str, *bindings: Any) -> Run | None:
        return next(iter(self._many(sql, *bindings)), None)

    def _many(self, sql: str, *bindings: Any) -> list[Run]:
        words = self._words
        return self._readers.read(
            lambda connection: [run_of(connection, words, row) for row in connection.execute(sql, bindings)]
        )

    def _of_job(self, sql: str, project: str, job: str, *bindings: Any) -> Run | None:
        words = self._words

        def query(connection: apsw.Connection) -> Run | None:
            for project_word in words.known(connection, (project,)):
                for job_word in words.known(connection, (job,)):
                    for row in connection.execute(sql, (project_word, job_word, *bindings)):
                        return run_of(connection, words, row)
            return None

        return self._readers.read(query)

    def _leases(self, connection: apsw.Connection, sql: str, bindings: Sequence[Any]) -> list[tuple[Run, Lease]]:
        width, words = len(COLUMNS), self._words
        return [
            (run_of(connection, words, row), lease_of(connection, words, row[width:-1], row[-1]))
            for row in connection.execute(sql, bindings)
        ]

    # ---- inside verbs

    def _change(
        self,
        connection: apsw.Connection,
        now: _Now,
        run: Run,
        version: int,
        more: tuple[str, ...] = (),
        values: tuple[Any, ...] = (),
    ) -> None:
        """Write what may change of a run, under a new version, with ``values`` for ``more`` columns."""
        words = self._words
        place, *before = now
        after = (
            str(run.status),
            words.number_or_none(connection, run.worker_id),
            words.number_or_none(connection, run.worker),
        )
        for name, old, new in zip(("status", "worker_id", "worker"), before, after, strict=True):
            if old != new:
                more, values = (*more, name), (*values, new)
        connection.execute(update(*more), (*changes(connection, words, run, version), *values, place))


def _now(connection: apsw.Connection, run: Run, if_version: int) -> _Now | None:
    """The place of a run that still has this version, and what indexes hold of it."""
    rows: list[Any] = connection.execute(_NOW, (id_in(run.id), if_version)).fetchall()
    return rows[0] if rows else None
