"""``/runs``: all runs that the reader may see, with filters, order and place in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from appliance.db.repository import RunFilter, RunKey
from appliance.model.entities import Run
from appliance.model.errors import Invalid
from appliance.model.permissions import visible_projects
from appliance.model.run_state import Status
from appliance.model.times import from_rfc3339, rfc3339
from appliance.web import sorting
from appliance.web.pages import links, rows
from appliance.web.pages.answers import show
from appliance.web.pages.orders import asked, orders
from appliance.web.paging import Cursor, read_cursor, write_cursor
from appliance.web.pieces import Field, Option, Paging
from appliance.web.routes import Parts, Request, Response, Route
from appliance.web.views import RunsPage

SHOWN = 50
YEARS = (1971, 9000)  # no day of these leaves what a database holds
Word = Annotated[str, msgspec.Meta(max_length=64)]
STATUSES = tuple(status.value for status in Status if status is not Status.SKIPPED)
SOURCES = ("user", "schedule", "pipeline", "controller", "webhook", "chain")


class RunsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The filters; an empty text is no filter. Several statuses are alternatives. ``since`` and ``until`` are days, in
    UTC, and belong to what is shown."""

    project: Word = ""
    job: Word = ""
    worker: Word = ""
    status: tuple[Word, ...] = ()
    source: Word = ""
    since: Word = ""
    until: Word = ""
    sort: Word = ""
    cursor: Cursor | None = None


def runs(request: Request, parts: Parts) -> Response:
    """One part of the list, newest first if not asked otherwise."""
    query: RunsQuery = request.query
    statuses = tuple(status for status in query.status if status)
    if unknown := set(statuses) - set(STATUSES):
        raise Invalid(f"there is no status {min(unknown)!r}: use one of {', '.join(STATUSES)}")
    sort, order = asked(query.sort, sorting.RUNS)
    listing = f"pages by {sort}"
    days, wrong = _days(query)
    where = RunFilter(
        visible=visible_projects(request.someone),
        project=_one(query.project),
        job=_one(query.job),
        worker=_one(query.worker),
        status=tuple(Status(status) for status in statuses),
        source=_one(query.source),
        since=days.get("since"),
        until=days["until"] + timedelta(days=1) if "until" in days else None,
    )
    found: list[Run] = []
    if not wrong:
        after = place(parts, listing, query.cursor)
        found = parts.runs.find(where, after, SHOWN + 1, oldest_first=not sorting.is_backwards(sort))
    filters: dict[str, Any] = {
        "project": query.project,
        "job": query.job,
        "worker": query.worker,
        "status": statuses,
        "source": query.source,
        "since": query.since,
        "until": query.until,
    }
    following = next_place(parts, listing, found, SHOWN)
    return show(
        RunsPage(
            title="Runs",
            filters=_fields(query, statuses, wrong),
            is_filtered=any(filters.values()),
            sort=order,
            orders=orders(links.RUNS, sorting.RUNS, sort, **filters),
            runs=rows.run_rows(found[:SHOWN], parts),
            paging=Paging(
                first=links.with_query(links.RUNS, **filters, sort=order) if query.cursor else None,
                next=links.with_query(links.RUNS, **filters, sort=order, cursor=following) if following else None,
            ),
        ),
        HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK,
    )


def place(parts: Parts, listing: str, cursor: str | None) -> RunKey | None:
    """Where a cursor of a list of runs points. Raises Invalid."""
    found = read_cursor(parts.key, listing, cursor or None, 2)
    return None if found is None else RunKey(from_rfc3339(found[0]), found[1])


def next_place(parts: Parts, listing: str, found: Sequence[Run], shown: int) -> str | None:
    """The cursor of what follows the first ``shown`` runs, if more were found."""
    if len(found) <= shown:
        return None
    last = found[shown - 1]
    return write_cursor(parts.key, listing, [rfc3339(last.created_at), last.id])


def _one(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _days(query: RunsQuery) -> tuple[dict[str, datetime], dict[str, str]]:
    """The days of the filter as the instants at which they begin, and what is wrong with the others."""
    days: dict[str, datetime] = {}
    wrong: dict[str, str] = {}
    for name, text in (("since", query.since), ("until", query.until)):
        if not text:
            continue
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            wrong[name] = "Must be a day such as 2026-01-31"
            continue
        if YEARS[0] <= day.year <= YEARS[1]:
            days[name] = day
        else:
            wrong[name] = "There are no runs of such a day"
    return days, wrong


def _fields(query: RunsQuery, statuses: Sequence[str], wrong: Mapping[str, str]) -> tuple[Field, ...]:
    return (
        Field("project", "Project", value=query.project, limit=64),
        Field("job", "Job", value=query.job, limit=64),
        Field("worker", "Worker", value=query.worker, limit=64),
        Field("source", "Source", kind="choice", options=_options(SOURCES, (query.source,))),
        Field("since", "From day", kind="date", value=query.since, error=wrong.get("since", ""), limit=64),
        Field("until", "To day", kind="date", value=query.until, error=wrong.get("until", ""), limit=64),
        Field("status", "Status", kind="set", options=tuple(Option(one, one, one in statuses) for one in STATUSES)),
    )


def _options(values: Sequence[str], chosen: Sequence[str]) -> tuple[Option, ...]:
    return (Option("", "any", not any(chosen)), *(Option(value, value, value in chosen) for value in values))


ROUTES = (Route("GET", "/runs", runs, "self", kind="page", query=RunsQuery, summary="Runs"),)
