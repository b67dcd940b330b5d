"""Workers, and the tokens that new ones join with."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from appliance.lost_runs import Fate
from appliance.model.permissions import Right
from appliance.model.worker_states import Duty
from appliance.web import sorting, worker_lists
from appliance.web.api.documents import WorkerDocument, worker_document
from appliance.web.api.lists import Listing
from appliance.web.paging import PageQuery
from appliance.web.routes import Parts, Request, Response, Route, document, nothing
from appliance.workers import join_line

WorkerWord = Annotated[str, msgspec.Meta(max_length=20, extra_json_schema={"enum": list(Duty)})]


class WorkerPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switch a worker on or off; what it runs goes on."""

    is_enabled: bool


class WorkersQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which workers, and in which order. ``name``: part of it; ``property``: ``key=value``."""

    state: tuple[WorkerWord, ...] = ()
    name: worker_lists.Text = ""
    property: worker_lists.Text = ""
    sort: sorting.WorkerSort = sorting.WORKERS[0]


class RevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of its runs: kept as they are, aborted when it is back, or given up for good."""

    runs: Fate = "keep"


class WorkerTokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new worker's account. Its properties win over what the worker says of itself."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    properties: dict[str, Any] = {}


class WorkerTokenDocument(msgspec.Struct, frozen=True):
    """``token`` and the line to type on the new machine, shown this once."""

    token: str
    join: str


def workers(request: Request, parts: Parts) -> Response:
    """Workers, by name if not asked otherwise."""
    query: WorkersQuery = request.query
    wanted = worker_lists.Wanted(query.state, query.name, query.property)
    found, following = worker_lists.part(
        parts.workers, parts.key, "workers", wanted, query.sort, query.cursor, query.limit
    )
    return document(Listing([worker_document(state) for state in found], following))


def worker(request: Request, parts: Parts) -> Response:
    """One worker."""
    return document(worker_document(parts.workers.named(request.params["worker"])))


def enable_worker(request: Request, parts: Parts) -> Response:
    """Give it new runs, whatever it was kept from; or none."""
    state = parts.workers.enable(request.params["worker"], request.body.is_enabled, request.someone.name)
    return document(worker_document(state))


def drain_worker(request: Request, parts: Parts) -> Response:
    """Let it finish what it has and give it nothing new, until it is enabled; ``is_drained`` says when it has."""
    return document(worker_document(parts.workers.drain(request.params["worker"], by=request.someone.name)))


def disconnect_worker(request: Request, parts: Parts) -> Response:
    """Close its connection now, and let it in again once it is enabled. Its runs go on there."""
    return document(worker_document(parts.workers.disconnect(request.params["worker"], request.someone.name)))


def remove_worker(request: Request, parts: Parts) -> Response:
    """Delete a worker and its token; 409 while it has runs."""
    parts.workers.remove(request.params["worker"], request.someone.name)
    return nothing()


def revoke_worker(request: Request, parts: Parts) -> Response:
    """Take a worker's token away; nothing is accepted from it until it has a new one."""
    state = parts.lost_runs.revoke(request.params["worker"], request.someone.name, request.body.runs)
    return document(worker_document(state))


def create_token(request: Request, parts: Parts) -> Response:
    """A new worker's account with its token."""
    _, text = parts.workers.create(request.body.name, request.someone.name, request.body.properties)
    return document(WorkerTokenDocument(text, join_line(request.origin, text)), 201)


ROUTES = (
    Route(
        "GET",
        "/api/v1/workers",
        workers,
        Right.READ_WORKERS,
        query=WorkersQuery,
        answer=Listing[WorkerDocument],
        summary="Workers",
    ),
    Route("GET", "/api/v1/workers/<worker>", worker, Right.READ_WORKERS, answer=WorkerDocument, summary="A worker"),
    Route(
        "PATCH",
        "/api/v1/workers/<worker>",
        enable_worker,
        Right.MANAGE_WORKERS,
        body=WorkerPatch,
        answer=WorkerDocument,
        summary="Switch a worker on or off",
    ),
    Route(
        "POST",
        "/api/v1/workers/<worker>/drain",
        drain_worker,
        Right.MANAGE_WORKERS,
        answer=WorkerDocument,
        summary="Let a worker finish what it has, and give it nothing new",
    ),
    Route(
        "POST",
        "/api/v1/workers/<worker>/disconnect",
        disconnect_worker,
        Right.MANAGE_WORKERS,
        answer=WorkerDocument,
        summary="Close a worker's connection until it is enabled",
    ),
    Route(
        "DELETE",
        "/api/v1/workers/<worker>",
        remove_worker,
        Right.MANAGE_WORKERS,
        status=204,
        summary="Remove a worker",
    ),
    Route(
        "POST",
        "/api/v1/workers/<worker>/revoke",
        revoke_worker,
        Right.MANAGE_WORKERS,
        body=RevokeBody,
        answer=WorkerDocument,
        summary="Take a worker's token away",
    ),
    Route(
        "POST",
        "/api/v1/workers/tokens",
        create_token,
        Right.MANAGE_WORKERS,
        body=WorkerTokenBody,
        status=201,
        answer=WorkerTokenDocument,
        summary="Make a worker's account and its token",
    ),
)
