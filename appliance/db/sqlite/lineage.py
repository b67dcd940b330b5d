"""The lives of the master, in SQLite."""

from __future__ import annotations

import hashlib
from datetime import datetime

import apsw

from appliance.db.repository import LineageStore
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Lineage
from appliance.model.times import to_millis


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

    def knows(self, epoch: int, incarnation: str) -> bool:
        """See the interface."""
        sql = "SELECT 1 FROM lineage WHERE epoch = ? AND incarnation = ?"
        return self._readers.read(lambda connection: connection.execute(sql, (epoch, incarnation)).get is not None)
