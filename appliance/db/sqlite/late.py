"""Late reports, in SQLite."""

from __future__ import annotations

import apsw
import msgspec

from appliance.db.repository import LateStore
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.rows import to_json
from appliance.db.sqlite.run_rows import id_in
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Late

_INSERT = """
    INSERT INTO late (place, report) SELECT place, ? FROM run WHERE id = ? AND finished_after IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING 1
"""
_SELECT = "SELECT report FROM late WHERE place = (SELECT place FROM run WHERE id = ?)"
_late = msgspec.json.Decoder(Late).decode


class SqliteLate(LateStore):
    """See :class:`~appliance.db.repository.LateStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def put(self, run_id: str, late: Late) -> bool:
        """See the interface."""
        bindings = (to_json(late), id_in(run_id))

        def verb(connection: apsw.Connection) -> bool:
            return connection.execute(_INSERT, bindings).get is not None

        return self._writer.do(verb)

    def get(self, run_id: str) -> Late | None:
        """See the interface."""
        report = self._readers.read(lambda connection: connection.execute(_SELECT, (id_in(run_id),)).get)
        return None if report is None else _late(report)
