"""What makes out an older database, and storing a run again that it does not know (F24)."""

from __future__ import annotations

import apsw

from appliance.db.lineage import NUMBERS_SKIPPED
from appliance.db.sqlite.run_rows import (
    LEASE_COLUMNS,
    changes,
    id_in,
    insert,
    lease_row,
    parameters_in,
    update,
)
from appliance.db.sqlite.words import Words
from appliance.model.entities import Lease, NewRun, Run

# How many numbers a job leaves out that is new here: a worker that has not told yet may know runs of it (F24).
UNHEARD = f"""
    SELECT {NUMBERS_SKIPPED} FROM recovery_worker CROSS JOIN worker ON worker.id = recovery_worker.worker_id
    WHERE recovery = (SELECT max(number) FROM recovery) AND merged_at IS NULL LIMIT 1
"""  # noqa: S608 -- a number of our own
_LAST = "SELECT last FROM counter WHERE project = ? AND job = ?"
_TAKEN = "SELECT 1 FROM run WHERE project = ? AND job = ? AND number = ?"
_GIVEN = """
    INSERT INTO counter (project, job, last) VALUES (?, ?, ?)
    ON CONFLICT (project, job) DO UPDATE SET last = max(last, excluded.last)
"""


_RETURN = "INSERT INTO returned (place, cap) SELECT place, lease_cap FROM run WHERE place = ? ON CONFLICT DO NOTHING"


def note_return(connection: apsw.Connection, place: int) -> None:
    """The assignment of a run goes, and its cap is remembered. For verbs."""
    connection.execute("DELETE FROM request WHERE place = ?", (place,))
    connection.execute(_RETURN, (place,))


def recover(connection: apsw.Connection, words: Words, run: Run, lease: Lease) -> int | None:
    """Store an assigned run and its lease; answers its number, which is another one if that was taken. For verbs.

    ``None``: there is a run with this id.
    """
    if connection.execute("SELECT 1 FROM run WHERE id = ?", (id_in(run.id),)).get is not None:
        return None
    pair = words.number(connection, run.project), words.number(connection, run.job)
    last: int = connection.execute(_LAST, pair).get or 0
    number, skipped = run.number, NUMBERS_SKIPPED
    if connection.execute(_TAKEN, (*pair, number)).get is not None:
        number, skipped = last + 1, 0
    if number > last:
        connection.execute(_GIVEN, (*pair, number + skipped))
    new = NewRun(**{name: getattr(run, name) for name in NewRun.__struct_fields__})
    place = insert(connection, words, new, number, parameters_in(run.parameters))
    more = ("status", "worker_id", "worker", *LEASE_COLUMNS)
    values = (
        str(run.status),
        words.number_or_none(connection, run.worker_id),
        words.number_or_none(connection, run.worker),
        *lease_row(connection, words, lease, place),
    )
    connection.execute(update(*more), (*changes(connection, words, run, 1), *values, place))
    connection.execute("INSERT INTO request (place, text) VALUES (?, ?)", (place, lease.request))
    return number
