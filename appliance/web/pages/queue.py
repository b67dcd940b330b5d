"""``/queue``: runs that wait, in the order in which they are given out, each with its reason (W2)."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.model.errors import Invalid
from appliance.model.permissions import visible_projects
from appliance.model.times import from_rfc3339, rfc3339
from appliance.model.waiting import WORDS, Why
from appliance.waits import Queue, QueueFilter
from appliance.web.pages import links, rows
from appliance.web.pages.answers import show
from appliance.web.pages.runs import Word
from appliance.web.paging import Cursor, read_cursor, write_cursor
from appliance.web.pieces import Field, Option, Paging, Reason, WaitingRow
from appliance.web.routes import Parts, Request, Response, Route
from appliance.web.views import QueuePage

SHOWN = 50
LISTING = "pages of the queue"
REASONS = tuple(why for why in Why if why is not Why.SILENT)  # what a run that waits in line can wait for


class QueueQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The filters; an empty text is no filter."""

    project: Word = ""
    job: Word = ""
    why: Word = ""
    cursor: Cursor | None = None


def queue(request: Request, parts: Parts) -> Response:
    """One part of the queue."""
    query: QueueQuery = request.query
    if query.why and query.why not in REASONS:
        raise Invalid(f"there is no reason {query.why!r}: use one of {', '.join(REASONS)}")
    place = read_cursor(parts.key, LISTING, query.cursor or None, 2)
    found = parts.waits.queue(
        QueueFilter(
            visible=visible_projects(request.someone),
            project=_one(query.project),
            job=_one(query.job),
            why=(Why(query.why),) if query.why else (),
        ),
        (from_rfc3339(place[0]), place[1]) if place else None,
        SHOWN,
    )
    now = parts.clock.now()
    filters = {"project": query.project, "job": query.job, "why": query.why}
    following = write_cursor(parts.key, LISTING, [rfc3339(found.after[0]), found.after[1]]) if found.after else None
    return show(
        QueuePage(
            title="Queue",
            filters=_fields(query),
            is_filtered=any(filters.values()),
            reasons=_reasons(found, filters),
            rows=tuple(
                WaitingRow(rows.run_row(run, now, wait.sentence), wait.place.number if wait.place else None)
                for run, wait in found.rows
            ),
            paging=Paging(
                first=links.with_query(links.QUEUE, **filters) if query.cursor else None,
                next=links.with_query(links.QUEUE, **filters, cursor=following) if following else None,
            ),
        )
    )


def _one(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _reasons(found: Queue, filters: dict[str, Any]) -> tuple[Reason, ...]:
    """How many wait for which reason, with the way to those alone; none when all wait for the same."""
    counts = [(why.value, WORDS[why], count) for why, count in found.counts.items()]
    if len(counts) < 2 and not filters["why"]:
        return ()
    counts.insert(0, ("", "in all", sum(found.counts.values())))
    return tuple(
        Reason(
            words, count, None if why == filters["why"] else links.with_query(links.QUEUE, **{**filters, "why": why})
        )
        for why, words, count in counts
    )


def _fields(query: QueueQuery) -> tuple[Field, ...]:
    options = (Option("", "any", not query.why), *(Option(one, WORDS[one], one == query.why) for one in REASONS))
    return (
        Field("project", "Project", value=query.project, limit=64),
        Field("job", "Job", value=query.job, limit=64),
        Field("why", "Reason", kind="choice", options=options),
    )


ROUTES = (Route("GET", "/queue", queue, "self", kind="page", query=QueueQuery, summary="Runs that wait, and why"),)
