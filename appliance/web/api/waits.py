"""Why runs wait: of one run with every worker, and the queue as a whole (W2)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.model.permissions import Right, may, visible_projects
from appliance.model.times import from_millis, to_millis
from appliance.model.waiting import Candidate, Why
from appliance.waits import QueueFilter
from appliance.web.api.documents import RunDocument, run_fields
from appliance.web.paging import PageQuery, read_cursor, write_cursor
from appliance.web.routes import Parts, Request, Response, Route, document

Filter = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=20)]


class ConditionDocument(msgspec.Struct, frozen=True):
    """A condition of the job, held against a worker. ``needs`` and ``has`` are words for people."""

    name: str
    needs: str
    has: str
    is_met: bool


class CandidateDocument(msgspec.Struct, frozen=True):
    """How a worker stands to the run. ``state``: ready, full, draining, not connected, does not fit ..."""

    worker: str
    state: str
    sentence: str
    slots: int
    used: int
    conditions: list[ConditionDocument]


class NeedDocument(msgspec.Struct, frozen=True):
    """A condition of the job, and how many workers meet it."""

    name: str
    needs: str
    met_by: int


class WhyDocument(msgspec.Struct, frozen=True):
    """Why a run waits. ``kind`` is null when it does not wait; ``position`` of ``waiting``: where it stands in line.

    ``workers``: how many there are in each state. ``items``: workers, those that come nearest to having the run first.
    """

    run: str
    project: str
    job: str
    number: int
    status: str
    kind: str | None
    sentence: str
    position: int | None
    waiting: int | None
    needs: list[NeedDocument]
    workers: dict[str, int]
    items: list[CandidateDocument]
    next: str | None = None


class WaitingDocument(RunDocument, frozen=True, kw_only=True):
    """A run that waits; ``waits`` says why, ``kind`` the same in a word. ``position``: see the answer to ``why``."""

    kind: str
    position: int | None


class QueueDocument(msgspec.Struct, frozen=True):
    """A part of the queue, in the order in which runs are given out. ``counts``: how many wait for which reason."""

    items: list[WaitingDocument]
    counts: dict[str, int]
    next: str | None = None


class QueueQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Filters of the queue; a repeated one means "or"."""

    project: Filter = ()
    job: Filter = ()
    why: Annotated[tuple[Why, ...], msgspec.Meta(max_length=20)] = ()


def why(request: Request, parts: Parts) -> Response:
    """Why a run waits. Who may not see workers gets the reason without them."""
    run, query = request.the_run, request.query
    found = parts.waits.explain(run)
    candidates = found.candidates if may(request.someone, Right.READ_WORKERS) else ()
    shown, following = part(parts, run.id, candidates, query.cursor, query.limit)
    place = found.wait.place if found.wait else None
    counts: dict[str, int] = {}
    for one in candidates:
        counts[one.stand] = counts.get(one.stand, 0) + 1
    return document(
        WhyDocument(
            run=run.id,
            project=run.project,
            job=run.job,
            number=run.number,
            status=run.status,
            kind=found.wait.why if found.wait else None,
            sentence=found.sentence,
            position=place.number if place else None,
            waiting=place.of if place else None,
            needs=[NeedDocument(one.name, one.words, one.met_by) for one in found.needs] if candidates else [],
            workers=counts,
            items=[_candidate(one) for one in shown],
            next=following,
        )
    )


def part(
    parts: Parts, run_id: str, candidates: tuple[Candidate, ...], cursor: str | None, limit: int
) -> tuple[tuple[Candidate, ...], str | None]:
    """At most ``limit`` of ranked workers behind the cursor, and the cursor of what follows. Raises Invalid."""
    listing = f"why {run_id}"
    place = read_cursor(parts.key, listing, cursor, 3)
    if place is not None:
        after = (int(place[0]), int(place[1]), place[2])
        candidates = tuple(one for one in candidates if one.rank > after)
    shown = candidates[:limit]
    if len(candidates) <= limit:
        return shown, None
    return shown, write_cursor(parts.key, listing, [str(one) for one in shown[-1].rank])


def _candidate(one: Candidate) -> CandidateDocument:
    conditions = [ConditionDocument(each.name, each.needs, each.has, each.is_met) for each in one.conditions]
    return CandidateDocument(one.name, one.stand, one.sentence, one.slots, one.used, conditions)


def queue(request: Request, parts: Parts) -> Response:
    """Runs of the projects one may see that wait, in the order in which they are given out."""
    query: QueueQuery = request.query
    place = read_cursor(parts.key, "queue", query.cursor, 2)
    found = parts.waits.queue(
        QueueFilter(visible_projects(request.someone), query.project, query.job, query.why),
        (from_millis(int(place[0])), place[1]) if place else None,
        query.limit,
    )
    after = found.after
    return document(
        QueueDocument(
            items=[
                WaitingDocument(
                    **run_fields(run),
                    waits=wait.sentence,
                    kind=wait.why,
                    position=wait.place.number if wait.place else None,
                )
                for run, wait in found.rows
            ],
            counts={str(one): count for one, count in found.counts.items()},
            next=write_cursor(parts.key, "queue", [str(to_millis(after[0])), after[1]]) if after else None,
        )
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/runs/<run_id>/why",
        why,
        Right.READ,
        "run",
        query=PageQuery,
        answer=WhyDocument,
        summary="Why a run waits",
    ),
    Route(
        "GET",
        "/api/v1/queue",
        queue,
        Right.READ,
        query=QueueQuery,
        answer=QueueDocument,
        summary="Runs that wait, in the order in which they are given out",
    ),
)
