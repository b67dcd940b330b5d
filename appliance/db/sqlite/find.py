# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Lists of runs that cost the same however many runs there are (J25, J27, R11).

A list is walked along one index, newest first. The filter that leaves fewest runs picks it; the others are looked at on
the way. Alternatives (three projects, two statuses) are one walk each, merged: an index is only in order for one value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from appliance.db.repository import RunFilter, RunKey
from appliance.model.run_state import LIVE, Status
from appliance.model.times import to_millis

_MOST_WALKS = 400  # above that a wider index is walked once instead


class Walk(msgspec.Struct, frozen=True):
    """One way along an index: the columns it is fixed in, and the alternatives for their values."""

    index: str
    columns: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ((),)


def find(
    connection: apsw.Connection, columns: str, where: RunFilter, after: RunKey | None, limit: int
) -> list[Sequence[Any]]:
    """Rows of ``run``, newest first. Must run inside one snapshot: it may take several statements."""
    projects = _projects(where)
    if projects is not None and not projects:
        return []
    walk = choose(where, projects, _jobs(connection, where, projects) if where.job else None)
    conditions, bindings = _conditions(where, projects, walk, after)
    one_walk = statement(columns, walk, conditions)
    if len(walk.values) == 1:
        return list(connection.execute(one_walk, (*walk.values[0], *bindings, limit)))
    keys = statement("created_at, id, rowid", walk, conditions)
    found: list[tuple[Any, ...]] = []
    for values in walk.values:
        found.extend(connection.execute(keys, (*values, *bindings, limit)))
    found.sort(reverse=True)
    by_row = f"SELECT {columns} FROM run WHERE rowid = ?"
    return [row for *_, rowid in found[:limit] for row in connection.execute(by_row, (rowid,))]


def statement(columns: str, walk: Walk, conditions: Iterable[str]) -> str:
    """The SQL of one walk. INDEXED BY makes SQLite refuse rather than scan."""
    fixed = [f"{column} = ?" for column in walk.columns]
    terms = [*fixed, *conditions]
    if walk.index == "run_by_worker":
        terms.append("worker IS NOT NULL")  # the index is partial
    clause = f" WHERE {' AND '.join(terms)}" if terms else ""
    return f"SELECT {columns} FROM run INDEXED BY {walk.index}{clause} ORDER BY created_at DESC, id DESC LIMIT ?"


def choose(where: RunFilter, projects: list[str] | None, jobs: list[tuple[str, str]] | None) -> Walk:
    """The index to walk. ``projects``: those that may show, None = all; ``jobs``: those meant that ever ran."""
    statuses = sorted(set(where.status))
    is_rare = bool(statuses) and Status.SUCCEEDED not in statuses
    by_status = Walk("run_by_status", ("status",), tuple((one,) for one in statuses))
    if statuses and LIVE.issuperset(statuses):
        return by_status  # few, whoever's they are
    candidates = []
    if projects is not None and is_rare:
        pairs = tuple(itertools.product(projects, statuses))
        candidates.append(Walk("run_by_project_status", ("project", "status"), pairs))
    if jobs is not None:
        candidates.append(Walk("run_by_job", ("project", "job"), tuple(jobs)))
    if where.worker:
        candidates.append(Walk("run_by_worker", ("worker",), tuple((one,) for one in sorted(set(where.worker)))))
    if is_rare:
        candidates.append(by_status)
    if projects is not None:
        candidates.append(Walk("run_by_project", ("project",), tuple((one,) for one in projects)))
    if where.source:
        candidates.append(Walk("run_by_source", ("source_type",), tuple((one,) for one in sorted(set(where.source)))))
    return next((walk for walk in candidates if len(walk.values) <= _MOST_WALKS), Walk("run_by_time"))


def _projects(where: RunFilter) -> list[str] | None:
    if where.visible is None:
        return sorted(set(where.project)) if where.project else None
    return sorted(where.visible.intersection(where.project) if where.project else where.visible)


def _jobs(connection: apsw.Connection, where: RunFilter, projects: list[str] | None) -> list[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for job in where.job:
        found.update(connection.execute("SELECT project, job FROM counter WHERE job = ?", (job,)))
    return sorted(pair for pair in found if projects is None or pair[0] in projects)


def _conditions(
    where: RunFilter, projects: list[str] | None, walk: Walk, after: RunKey | None
) -> tuple[list[str], list[Any]]:
    """What the walk itself does not settle, as SQL terms and their bindings."""
    conditions: list[str] = []
    bindings: list[Any] = []
    alternatives: tuple[tuple[str, Sequence[str] | None], ...] = (
        ("project", projects),
        ("job", where.job or None),
        ("worker", where.worker or None),
        ("status", where.status or None),
        ("source_type", where.source or None),
    )
    for column, values in alternatives:
        if values is not None and column not in walk.columns:
            # json_each keeps the text of the statement the same for any number of values, so that it stays prepared.
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
            bindings.append(msgspec.json.encode(list(values)).decode())
    if where.since is not None:
        conditions.append("created_at >= ?")
        bindings.append(to_millis(where.since))
    if where.until is not None:
        conditions.append("created_at < ?")
        bindings.append(to_millis(where.until))
    if after is not None:
        conditions.append("(created_at, id) < (?, ?)")
        bindings += [to_millis(after.created_at), after.id]
    return conditions, bindings
