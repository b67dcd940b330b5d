"""The lives of the master, and its recoveries, in SQLite."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import apsw

from appliance.db.lineage import LOST_LIFE, NUMBERS_SKIPPED, LineageStore
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.run_rows import hex_in, id_in, id_out
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Lineage, Recovery, RecoveryWorker
from appliance.model.times import from_millis, to_millis

_EPOCH = f"""
    SELECT epoch FROM lineage WHERE incarnation = ?
    UNION ALL SELECT {LOST_LIFE} FROM lost_life WHERE incarnation = ?
"""  # noqa: S608 -- a number of our own
_NEWEST = """
    SELECT number, began_at, backup_at, released_at, released_by, ended_at,
        (SELECT count(*) FROM recovery_run WHERE recovery = number AND is_recovered = 1),
        (SELECT count(*) FROM recovery_run WHERE recovery = number AND is_recovered = 0)
    FROM recovery ORDER BY number DESC LIMIT 1
"""
_WORKERS = """
    SELECT worker.id, worker.name, worker.is_enabled, recovery_worker.journal_id, merged_at, note
    FROM recovery_worker JOIN worker ON worker.id = recovery_worker.worker_id
    WHERE recovery = ? ORDER BY worker.name
"""
# SQLite sees from the last term that the partial index has them all.
_LIVE = """
    INSERT INTO recovery_run (recovery, id, was_live)
    SELECT ?, id, 1 FROM run INDEXED BY run_by_status
    WHERE status IN ('pending', 'assigned', 'running', 'lost') AND status <> 'succeeded'
"""
_WAITING = "INSERT INTO recovery_worker (recovery, worker_id, journal_id) SELECT ?, id, journal_id FROM worker"
_NOTE = """
    INSERT INTO recovery_run (recovery, id, was_live, is_recovered) VALUES (?, ?, 0, ?)
    ON CONFLICT DO UPDATE SET is_recovered = excluded.is_recovered
"""
_CAME_BACK = "SELECT 1 FROM returned WHERE place = (SELECT place FROM run WHERE id = ?) AND cap = ?"
_FAILED = """
    SELECT 1 FROM recovery_run AS one INDEXED BY recovery_run_failed WHERE id = ? AND is_recovered = 0
    AND NOT EXISTS (SELECT 1 FROM recovery_run AS later
        WHERE later.recovery > one.recovery AND later.id = one.id AND later.is_recovered = 1)
"""


class SqliteLineage(LineageStore):
    """See :class:`~appliance.db.repository.LineageStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def open_epoch(self, incarnation: str, boot_id: str, at: datetime) -> Lineage:
        """See the interface."""

        def verb(connection: apsw.Connection) -> Lineage:
            made = hashlib.sha256(f"cluster {incarnation}".encode()).hexdigest()[:32]
            connection.execute("INSERT INTO identity (one, cluster) VALUES (1, ?) ON CONFLICT DO NOTHING", (made,))
            epoch = connection.execute(
                "INSERT INTO lineage (incarnation, boot_id, started_at) VALUES (?, ?, ?) RETURNING epoch",
                (incarnation, boot_id, to_millis(at)),
            ).get
            cluster = connection.execute("SELECT cluster FROM identity").get
            return Lineage(cluster=cluster, epoch=epoch, incarnation=incarnation)

        return self._writer.do(verb)

    def epoch_of(self, incarnation: str) -> int | None:
        """See the interface."""
        epoch: int | None = self._readers.read(lambda connection: connection.execute(_EPOCH, (incarnation,) * 2).get)
        return epoch

    def lose(self, incarnation: str) -> None:
        """See the interface."""
        sql = "INSERT INTO lost_life (incarnation) VALUES (?) ON CONFLICT DO NOTHING"

        def verb(connection: apsw.Connection) -> None:
            connection.execute(sql, (incarnation,))

        self._writer.do(verb)

    def clock_mark(self) -> datetime | None:
        """See the interface."""
        millis = self._readers.read(lambda connection: connection.execute("SELECT mark FROM clock").get)
        return None if millis is None else from_millis(millis)

    def put_clock_mark(self, at: datetime) -> None:
        """See the interface."""
        sql = "INSERT INTO clock (one, mark) VALUES (1, ?) ON CONFLICT DO UPDATE SET mark = excluded.mark"

        def verb(connection: apsw.Connection) -> None:
            connection.execute(sql, (to_millis(at),))

        self._writer.do(verb)

    def begin_recovery(self, began_at: datetime, backup_at: datetime | None = None) -> Recovery:
        """See the interface."""
        backup = None if backup_at is None else to_millis(backup_at)

        def verb(connection: apsw.Connection) -> Recovery:
            newest = _newest(connection)
            if backup_at is not None or newest is None or not _is_fresh(connection, newest):
                number = connection.execute(
                    "INSERT INTO recovery (began_at, backup_at) VALUES (?, ?) RETURNING number",
                    (to_millis(began_at), backup),
                ).get
                connection.execute("UPDATE counter SET last = last + ?", (NUMBERS_SKIPPED,))
                connection.execute(_LIVE, (number,))
                connection.execute(_WAITING, (number,))
                _end_if_complete(connection, number, began_at)
            begun = _newest(connection)
            assert begun is not None
            return begun

        return self._writer.do(verb)

    def recovery(self) -> Recovery | None:
        """See the interface."""
        return self._readers.read(_newest)

    def waiting_runs(self) -> frozenset[str]:
        """See the interface."""
        sql = "SELECT id FROM recovery_run WHERE recovery = (SELECT max(number) FROM recovery) AND was_live = 1"
        return self._readers.read(lambda connection: frozenset(id_out(run_id) for (run_id,) in connection.execute(sql)))

    def merged(self, worker_id: str, at: datetime, note: str = "") -> Recovery | None:
        """See the interface."""

        def verb(connection: apsw.Connection) -> Recovery | None:
            newest = _newest(connection)
            if newest is None:
                return None
            connection.execute(
                "UPDATE recovery_worker SET merged_at = ?, note = ? "
                "WHERE recovery = ? AND worker_id = ? AND merged_at IS NULL",
                (to_millis(at), note, newest.number, worker_id),
            )
            _end_if_complete(connection, newest.number, at)
            return _newest(connection)

        return self._writer.do(verb)

    def note_recovered(self, run_id: str, *, is_recovered: bool) -> None:
        """See the interface."""

        def verb(connection: apsw.Connection) -> None:
            number = connection.execute("SELECT max(number) FROM recovery").get
            if number is not None:
                connection.execute(_NOTE, (number, id_in(run_id), is_recovered))

        self._writer.do(verb)

    def could_not_recover(self, run_id: str) -> bool:
        """See the interface."""
        return self._readers.read(lambda connection: connection.execute(_FAILED, (id_in(run_id),)).get is not None)

    def came_back(self, run_id: str, cap: str) -> bool:
        """See the interface."""
        bindings = (id_in(run_id), hex_in(cap))
        return self._readers.read(lambda connection: connection.execute(_CAME_BACK, bindings).get is not None)

    def release(self, by: str, at: datetime) -> Recovery | None:
        """See the interface."""

        def verb(connection: apsw.Connection) -> Recovery | None:
            newest = _newest(connection)
            if newest is None or not newest.is_open:
                return None
            connection.execute(
                "UPDATE recovery SET released_at = ?1, released_by = ?2, ended_at = ?1 WHERE number = ?3",
                (to_millis(at), by, newest.number),
            )
            return _newest(connection)

        return self._writer.do(verb)


def _newest(connection: apsw.Connection) -> Recovery | None:
    rows: list[Any] = connection.execute(_NEWEST).fetchall()
    if not rows:
        return None
    number, began, backup, released, released_by, ended, recovered, failed = rows[0]
    return Recovery(
        number=number,
        began_at=from_millis(began),
        backup_at=None if backup is None else from_millis(backup),
        workers=tuple(
            RecoveryWorker(
                worker_id, name, is_enabled == 1, journal, None if merged is None else from_millis(merged), note
            )
            for worker_id, name, is_enabled, journal, merged, note in connection.execute(_WORKERS, (number,))
        ),
        recovered=recovered,
        failed=failed,
        released_at=None if released is None else from_millis(released),
        released_by=released_by,
        ended_at=None if ended is None else from_millis(ended),
    )


def _is_fresh(connection: apsw.Connection, newest: Recovery) -> bool:
    """Whether it waits for every worker there is."""
    workers: int = connection.execute("SELECT count(*) FROM worker").get
    return newest.is_open and len(newest.waiting) == workers > 0


def _end_if_complete(connection: apsw.Connection, number: int, at: datetime) -> None:
    """Note the end of a recovery that waits for no worker any more. Workers that were removed are not waited for."""
    newest = _newest(connection)
    if newest is not None and newest.ended_at is None and not newest.is_open:
        connection.execute("UPDATE recovery SET ended_at = ? WHERE number = ?", (to_millis(at), number))
