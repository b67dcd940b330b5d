# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Lists of runs that cost the same however many runs there are (J25, J27, R11).

A list is walked along one index, newest or oldest first. The filter that leaves fewest runs picks it; the others are
looked at on the way. Alternatives (three projects, two statuses) are one walk each, merged: an index is only in order
for one value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from appliance.db.repository import RunFilter, RunKey
from appliance.db.sqlite.run_rows import first_place, id_in, place_of
from appliance.db.sqlite.words import Words
from appliance.model.run_state import LIVE, TERMINAL, Status

BAD_END = "status IN ('aborted', 'cancelled', 'errored', 'failed')"
_MOST_WALKS = 400  # above that a wider index is walked once instead
_BAD = TERMINAL - {Status.SUCCEEDED}
_PARTIAL = {  # an index, and the term that is its own
    "run_by_worker": "worker IS NOT NULL",
    "run_by_status": "status <> 'succeeded'",
    "run_by_project_status": BAD_END,
}


class Walk(msgspec.Struct, frozen=True):
    """One way along an index: the columns it is fixed in, and the alternatives for their values."""

    index: str = ""  # none: the table itself, which lies in the order of time
    columns: tuple[str, ...] = ()
    values: tuple[tuple[int | str, ...], ...] = ((),)


class Meant(msgspec.Struct, frozen=True):
    """A filter in the words of the database. None = any; ``pairs`` are the projects and jobs meant that ever ran."""

    projects: list[int] | None = None
    jobs: list[int] | None = None
    pairs: list[tuple[int, int]] | None = None
    workers: list[int] | None = None
    statuses: list[Status] = []
    sources: list[str] = []


def find(
    connection: apsw.Connection,
    words: Words,
    columns: str,
    where: RunFilter,
    after: RunKey | None,
    limit: int,
    *,
    oldest_first: bool = False,
) -> list[Sequence[Any]]:
    """Rows of ``run``, newest or oldest first. Must run inside one snapshot: it may take several statements."""
    meant = _meant(connection, words, where)
    if meant is None:
        return []
    walk = choose(meant)
    conditions, bindings = _conditions(meant, walk)
    if where.since is not None:
        conditions.append("place >= ?")
        bindings.append(first_place(where.since))
    if where.until is not None:
        conditions.append("place < ?")
        bindings.append(first_place(where.until))
    if after is not None:
        conditions.append("place > ?" if oldest_first else "place < ?")
        bindings.append(place_after(connection, after))
    if len(walk.values) == 1:
        sql = statement(columns, walk, conditions, oldest_first=oldest_first)
        return list(connection.execute(sql, (*walk.values[0], *bindings, limit)))
    places = statement("place", walk, conditions, oldest_first=oldest_first)
    found: list[int] = []
    for values in walk.values:
        found.extend(row[0] for row in connection.execute(places, (*values, *bindings, limit)))
    found.sort(reverse=not oldest_first)
    by_place = f"SELECT {columns} FROM run WHERE place = ?"
    return [row for place in found[:limit] for row in connection.execute(by_place, (place,))]


def place_after(connection: apsw.Connection, after: RunKey) -> int:
    """Where the page before ended, be its last run still there or not."""
    place: int | None = connection.execute("SELECT place FROM run WHERE id = ?", (id_in(after.id),)).get
    return place_of(after.created_at, after.id) if place is None else place


def statement(columns: str, walk: Walk, conditions: Iterable[str], *, oldest_first: bool = False) -> str:
    """The SQL of one walk. INDEXED BY makes SQLite refuse rather than scan."""
    terms = [*(f"{column} = ?" for column in walk.columns), *conditions]
    if walk.index in _PARTIAL:
        terms.append(_PARTIAL[walk.index])
    clause = f" WHERE {' AND '.join(terms)}" if terms else ""
    way = f"INDEXED BY {walk.index}" if walk.index else "NOT INDEXED"
    return f"SELECT {columns} FROM run {way}{clause} ORDER BY place {'ASC' if oldest_first else 'DESC'} LIMIT ?"


def choose(meant: Meant) -> Walk:
    """The index to walk."""
    statuses = meant.statuses
    is_rare = bool(statuses) and Status.SUCCEEDED not in statuses
    by_status = Walk("run_by_status", ("status",), tuple((one,) for one in statuses))
    if statuses and LIVE.issuperset(statuses):
        return by_status  # few, whoever's they are
    projects = meant.projects
    candidates = []
    if projects is not None and statuses and _BAD.issuperset(statuses):
        pairs = tuple(itertools.product(projects, statuses))
        candidates.append(Walk("run_by_project_status", ("project", "status"), pairs))
    if meant.pairs is not None:
        candidates.append(Walk("run_by_job", ("project", "job"), tuple(meant.pairs)))
    if meant.workers is not None:
        candidates.append(Walk("run_by_worker", ("worker",), tuple((one,) for one in meant.workers)))
    if is_rare:
        candidates.append(by_status)
    if projects is not None:
        candidates.append(Walk("run_by_project", ("project",), tuple((one,) for one in projects)))
    if meant.sources:
        candidates.append(Walk("run_by_source", ("source_type",), tuple((one,) for one in meant.sources)))
    return next((walk for walk in candidates if len(walk.values) <= _MOST_WALKS), Walk())


def _meant(connection: apsw.Connection, words: Words, where: RunFilter) -> Meant | None:
    """The filter in the words of the database; None: it can match nothing."""
    projects = pairs = jobs = workers = None
    if where.project or where.visible is not None:
        names = frozenset(where.project) if where.project else where.visible
        if where.visible is not None and names is not None:
            names = names & where.visible
        projects = words.known(connection, names or ())
    if where.job:
        jobs = words.known(connection, where.job)
        pairs = [
            (project, job)
            for job in jobs
            for (project,) in connection.execute("SELECT project FROM counter WHERE job = ?", (job,))
            if projects is None or project in projects
        ]
    if where.worker:
        workers = words.known(connection, where.worker)
    if any(one is not None and not one for one in (projects, pairs, workers)):
        return None
    return Meant(
        projects=projects,
        jobs=jobs,
        pairs=pairs,
        workers=workers,
        statuses=sorted(set(where.status)),
        sources=sorted(set(where.source)),
    )


def _conditions(meant: Meant, walk: Walk) -> tuple[list[str], list[Any]]:
    """What the walk itself does not settle, as SQL terms and their bindings."""
    conditions: list[str] = []
    bindings: list[Any] = []
    alternatives: tuple[tuple[str, Sequence[int | str] | None], ...] = (
        ("project", meant.projects),
        ("job", meant.jobs),
        ("worker", meant.workers),
        ("status", meant.statuses or None),
        ("source_type", meant.sources or None),
    )
    for column, values in alternatives:
        if values is not None and column not in walk.columns:
            # json_each keeps the text of the statement the same for any number of values, so that it stays prepared.
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
            bindings.append(msgspec.json.encode(values).decode())
    return conditions, bindings
