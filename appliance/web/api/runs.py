"""Runs: lists, one run, its log by range, its results, cancel and abort."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from appliance.db.repository import RunFilter, RunKey
from appliance.model.entities import Run
from appliance.model.permissions import Right, visible_projects
from appliance.model.run_state import TERMINAL, Status
from appliance.model.times import from_millis, from_rfc3339, to_millis
from appliance.runs import LOG_PAGE, Asked
from appliance.web import sorting
from appliance.web.api.documents import (
    AskedDocument,
    DefinitionDocument,
    RunDocument,
    definition_document,
    run_document,
    run_fields,
)
from appliance.web.api.lists import Listing
from appliance.web.paging import PageQuery, read_cursor, write_cursor
from appliance.web.routes import Parts, Request, Response, Route, content, document

Filter = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=20)]
Instant = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})]


class RunQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Filters of the list; a repeated one means "or". ``since`` and ``until`` are about the time of the trigger."""

    project: Filter = ()
    job: Filter = ()
    worker: Filter = ()
    status: Annotated[tuple[Status, ...], msgspec.Meta(max_length=20)] = ()
    source: Filter = ()
    since: Instant | None = None
    until: Instant | None = None
    sort: sorting.RunSort = sorting.RUNS[0]


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of bytes of a log."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=LOG_PAGE)] = LOG_PAGE


def runs(request: Request, parts: Parts) -> Response:
    """Runs of the projects one may see, newest first if not asked otherwise."""
    query: RunQuery = request.query
    sort = sorting.chosen(query.sort, sorting.RUNS)
    listing = f"runs by {sort}"
    place = read_cursor(parts.key, listing, query.cursor, 2)
    after = RunKey(from_millis(int(place[0])), place[1]) if place else None
    where = run_filter(query, visible_projects(request.someone))
    found = parts.runs.find(where, after, query.limit + 1, oldest_first=not sorting.is_backwards(sort))
    shown = found[: query.limit]
    cursor = None
    if len(found) > len(shown):
        cursor = write_cursor(parts.key, listing, [str(to_millis(shown[-1].created_at)), shown[-1].id])
    return document(Listing([run_document(run) for run in shown], cursor))


def run_filter(query: RunQuery, visible: frozenset[str] | None) -> RunFilter:
    """What the repository is asked for. Raises Invalid for a time that is none."""
    return RunFilter(
        visible=visible,
        project=query.project,
        job=query.job,
        worker=query.worker,
        status=query.status,
        source=query.source,
        since=None if query.since is None else from_rfc3339(query.since),
        until=None if query.until is None else from_rfc3339(query.until),
    )


def run(request: Request, parts: Parts) -> Response:
    """One run, by id or by number."""
    found = request.the_run
    waits = parts.waits.reasons([found]).get(found.id, "")
    return document(run_document(found, parts.runs.log_size(found.id), parts.runs.late(found), waits))


def definition(request: Request, parts: Parts) -> Response:
    """The job as it was when the run was triggered, and how it differs now."""
    return document(definition_document(parts.projects.ran_with(request.the_run)))


def log(request: Request, parts: Parts) -> Response:
    """Bytes of the log as the job wrote them: none past the end, never as a page (S-15)."""
    run = request.the_run
    is_complete = _is_log_complete(run)  # before the bytes are read, so that "complete" is never said too early
    body = parts.runs.log(run.id, request.query.offset, request.query.limit)
    size = max(parts.runs.log_size(run.id), request.query.offset + len(body) if body else 0)
    return content(
        body,
        "text/plain; charset=utf-8",
        {
            "Orchestra-Log-Size": str(size),
            "Orchestra-Log-Complete": "true" if is_complete else "false",
            "Content-Disposition": f'attachment; filename="{run.id}.txt"',
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


def _is_log_complete(run: Run) -> bool:
    return run.log.complete or (run.status in TERMINAL and run.worker_id is None)


def results(request: Request, parts: Parts) -> Response:
    """The results as they are now: the bare object."""
    return document(parts.runs.results(request.the_run.id))


def set_results(request: Request, parts: Parts) -> Response:
    """Lay values over the results, key by key; answers all of them."""
    return document(parts.runs.set_results(request.the_run.id, request.body))


def cancel(request: Request, parts: Parts) -> Response:
    """See to it that the run never starts; 409 when it may have begun, naming abort."""
    return _asked(parts.runs.cancel(request.the_run.id, request.someone.name))


def abort(request: Request, parts: Parts) -> Response:
    """End the run; 409 when it has ended."""
    return _asked(parts.runs.abort(request.the_run.id, request.someone.name))


def declare_lost(request: Request, parts: Parts) -> Response:
    """End a run whose worker is away, for good; 409 while it is connected, naming abort."""
    return document(run_document(parts.lost_runs.declare(request.the_run.id, request.someone.name)))


def late_log(request: Request, parts: Parts) -> Response:
    """The whole output that came with a late report, never as a page (S-15); empty when there is none."""
    run = request.the_run
    headers = {
        "Content-Disposition": f'attachment; filename="{run.id}-late.txt"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return content(parts.runs.open_late_log(run.id), "text/plain; charset=utf-8", headers)


def _asked(asked: Asked) -> Response:
    is_done = asked.run.status in TERMINAL
    answer = AskedDocument(**run_fields(asked.run), outcome=asked.outcome, message=asked.sentence)
    return document(answer, HTTPStatus.OK if is_done else HTTPStatus.ACCEPTED)


_ENDING = (HTTPStatus.ACCEPTED,)
ROUTES = (
    Route("GET", "/api/v1/runs", runs, Right.READ, query=RunQuery, answer=Listing[RunDocument], summary="Runs"),
    Route("GET", "/api/v1/runs/<run_id>", run, Right.READ, "run", answer=RunDocument, summary="A run"),
    Route(
        "GET",
        "/api/v1/projects/<project>/jobs/<job>/runs/<number>",
        run,
        Right.READ,
        "run",
        answer=RunDocument,
        summary="A run by its number, or latest, or last-success",
    ),
    Route(
        "GET",
        "/api/v1/runs/<run_id>/definition",
        definition,
        Right.READ,
        "run",
        answer=DefinitionDocument,
        summary="The definition that a run was triggered with",
    ),
    Route(
        "GET",
        "/api/v1/runs/<run_id>/log",
        log,
        Right.READ,
        "run",
        query=LogQuery,
        headers=("Orchestra-Log-Size", "Orchestra-Log-Complete"),
        summary="Bytes of a run's log",
    ),
    Route(
        "GET",
        "/api/v1/runs/<run_id>/results",
        results,
        Right.READ,
        "run",
        answer=dict[str, Any],
        summary="Results of a run",
    ),
    Route(
        "PATCH",
        "/api/v1/runs/<run_id>/results",
        set_results,
        Right.WRITE_RESULTS,
        "run",
        body=dict[str, Any],
        answer=dict[str, Any],
        summary="Set results of a run",
    ),
    Route(
        "POST",
        "/api/v1/runs/<run_id>/cancel",
        cancel,
        Right.CONTROL,
        "run",
        statuses=_ENDING,
        answer=AskedDocument,
        summary="Cancel a run that has not begun",
    ),
    Route(
        "POST",
        "/api/v1/runs/<run_id>/abort",
        abort,
        Right.CONTROL,
        "run",
        statuses=_ENDING,
        answer=AskedDocument,
        summary="Abort a run",
    ),
    Route(
        "POST",
        "/api/v1/runs/<run_id>/declare-lost",
        declare_lost,
        Right.CONTROL,
        "run",
        answer=RunDocument,
        summary="Give up a run whose worker is away",
    ),
    Route(
        "GET",
        "/api/v1/runs/<run_id>/late/log",
        late_log,
        Right.READ,
        "run",
        summary="The log that came with a late report",
    ),
)
