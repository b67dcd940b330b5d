"""Projects, their jobs, and the trigger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from appliance.model.documents import canonical
from appliance.model.entities import IdempotencyKey, Job, Source
from appliance.model.errors import NotFound
from appliance.model.names import check_key
from appliance.model.permissions import Right, visible_projects
from appliance.web import sorting
from appliance.web.api import lists
from appliance.web.api.documents import ProjectDocument, RunDocument, job_document, project_document, run_document
from appliance.web.api.lists import FileQuery, Listing
from appliance.web.routes import Parts, Request, Response, Route, document

_BY_NAME: Mapping[str, Callable[[Any], str]] = {"name": lambda one: one.identifier.lower()}


class FlagBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switch something on or off."""

    is_enabled: bool


class TriggerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new run. ``on``: any worker; every worker of a pool comes in a later version."""

    parameters: dict[str, Any] = {}
    on: Literal["any"] = "any"


def projects(request: Request, parts: Parts) -> Response:
    """The projects one may see, in the order of the files or of their names."""
    sort = sorting.chosen(request.query.sort, sorting.FILES)
    found = sorting.ordered(parts.projects.projects(visible_projects(request.someone)), sort, _BY_NAME)
    return lists.whole(
        parts.key, f"projects by {sort}", request.query, found, lambda project: project.identifier, project_document
    )


def project(request: Request, parts: Parts) -> Response:
    """One project."""
    return document(project_document(parts.projects.project(request.params["project"])))


def enable_project(request: Request, parts: Parts) -> Response:
    """Switch a project on or off."""
    found = parts.projects.enable_project(request.params["project"], request.body.is_enabled, request.someone.name)
    return document(project_document(found))


def jobs(request: Request, parts: Parts) -> Response:
    """The jobs of a project, in the order of the file or of their names."""
    sort = sorting.chosen(request.query.sort, sorting.FILES)
    found = sorting.ordered(parts.projects.jobs(request.params["project"]), sort, _BY_NAME)
    return lists.whole(
        parts.key,
        f"jobs of {request.params['project']} by {sort}",
        request.query,
        found,
        lambda job: job.identifier,
        lambda job: _job(parts, job),
    )


def job(request: Request, parts: Parts) -> Response:
    """One job, as in the project file, with its state and its newest run."""
    return document(_job(parts, parts.projects.job(request.params["project"], request.params["job"])))


def enable_job(request: Request, parts: Parts) -> Response:
    """Switch a job on or off."""
    found = parts.projects.enable_job(
        request.params["project"], request.params["job"], request.body.is_enabled, request.someone.name
    )
    return document(_job(parts, found))


def trigger(request: Request, parts: Parts) -> Response:
    """A new run (201). With an Idempotency-Key that was used before: the first run, unchanged (200)."""
    project, job = request.params["project"], request.params["job"]
    source = Source(type="user", user=request.someone.name, token_id=request.someone.token_id, via="service")
    run, is_new = parts.runs.trigger(project, job, request.body.parameters, source, key=_key(request, project, job))
    return document(run_document(run), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


def _key(request: Request, project: str, job: str) -> IdempotencyKey | None:
    key = request.idempotency_key
    if key is None:
        return None
    digest = canonical({"project": project, "job": job, "parameters": request.body.parameters})
    return IdempotencyKey(f"user:{request.someone.name}", check_key(key), digest)


def _job(parts: Parts, job: Job) -> dict[str, Any]:
    try:
        last = parts.runs.numbered(job.project, job.identifier, "latest")
    except NotFound:
        last = None
    return job_document(job, last)


ROUTES = (
    Route(
        "GET",
        "/api/v1/projects",
        projects,
        Right.READ,
        query=FileQuery,
        answer=Listing[ProjectDocument],
        summary="Projects",
    ),
    Route(
        "GET", "/api/v1/projects/<project>", project, Right.READ, "project", answer=ProjectDocument, summary="A project"
    ),
    Route(
        "PATCH",
        "/api/v1/projects/<project>",
        enable_project,
        Right.MANAGE_USERS,
        "project",
        body=FlagBody,
        answer=ProjectDocument,
        summary="Switch a project on or off",
    ),
    Route(
        "GET",
        "/api/v1/projects/<project>/jobs",
        jobs,
        Right.READ,
        "project",
        query=FileQuery,
        answer=Listing[dict[str, Any]],
        summary="Jobs of a project",
    ),
    Route(
        "GET",
        "/api/v1/projects/<project>/jobs/<job>",
        job,
        Right.READ,
        "project",
        answer=dict[str, Any],
        summary="A job",
    ),
    Route(
        "PATCH",
        "/api/v1/projects/<project>/jobs/<job>",
        enable_job,
        Right.SWITCH,
        "project",
        body=FlagBody,
        answer=dict[str, Any],
        summary="Switch a job on or off",
    ),
    Route(
        "POST",
        "/api/v1/projects/<project>/jobs/<job>/runs",
        trigger,
        Right.TRIGGER,
        "project",
        body=TriggerBody,
        status=201,
        statuses=(200,),
        answer=RunDocument,
        takes=("Idempotency-Key",),
        summary="Trigger a run",
    ),
)
