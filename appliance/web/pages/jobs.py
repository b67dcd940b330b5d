"""``/p/{project}/{job}``: the form that triggers a job, and the history of its runs."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import msgspec

from appliance.db.repository import RunFilter
from appliance.model import definitions, documents
from appliance.model.entities import IdempotencyKey, Job, Source
from appliance.model.errors import Conflict, Invalid, NotFound, Unavailable
from appliance.model.permissions import Right, may
from appliance.model.schema import JobDocument
from appliance.web import forms, sorting
from appliance.web.pages import definition, links, rows
from appliance.web.pages.answers import reader, refuse, show, switched
from appliance.web.pages.orders import asked, orders
from appliance.web.pages.runs import Word, next_place, place
from appliance.web.paging import Cursor
from appliance.web.pieces import Form, Order, Paging, RunRow
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import JobPage

HISTORY = 25


class JobQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in the history the reader is, and in which order."""

    sort: Word = ""
    cursor: Cursor | None = None


class TriggerForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``parameters`` as text. ``key`` makes a form that is sent twice trigger once (T5)."""

    parameters: dict[str, str] = {}
    key: Annotated[str, msgspec.Meta(max_length=64)] = ""


def job(request: Request, parts: Parts) -> Response:
    """The job with an empty form; the history alone of one that was removed."""
    try:
        found = _job(request, parts)
    except NotFound as missing:
        view = _removed(request, parts, request.params["project"], request.params["job"])
        if view is None:
            raise missing from None
        return show(view)
    return show(_page(request, parts, found))


def trigger(request: Request, parts: Parts) -> Response:
    """Start a run with what the form says; the form comes back, filled in, when it is wrong."""
    found = _job(request, parts)
    body: TriggerForm = request.body
    declared = definitions.job_of(found.document).parameters
    given = forms.typed(declared, body.parameters)
    user = reader(request)
    digest = hashlib.sha256(
        documents.canonical({"project": found.project, "job": found.identifier, "parameters": given}).encode()
    ).hexdigest()
    key = IdempotencyKey(owner=f"form:{user}", key=body.key, digest=digest) if body.key else None
    source = Source(type="user", user=user, token_id=request.someone.token_id, via="website")
    try:
        run, _ = parts.runs.trigger(found.project, found.identifier, given, source, key=key, as_text=True)
    except (Invalid, Conflict, Unavailable) as error:
        view = _page(request, parts, found, body.parameters)
        if view.form is not None:
            view = replace(view, form=forms.refused(view.form, error))
        return refuse(view, error)
    return redirect(links.run(run.project, run.job, run.number))


def enable(request: Request, parts: Parts) -> Response:
    """Let its runs be given to workers."""
    return _switch(request, parts, True)


def disable(request: Request, parts: Parts) -> Response:
    """Keep its runs waiting; those that run go on."""
    return _switch(request, parts, False)


def _switch(request: Request, parts: Parts, is_enabled: bool) -> Response:
    found = parts.projects.enable_job(request.params["project"], request.params["job"], is_enabled, reader(request))
    return redirect(links.job(found.project, found.identifier), switched(found.identifier, is_enabled))


def _job(request: Request, parts: Parts) -> Job:
    return parts.projects.job(request.params["project"], request.params["job"])


def _page(request: Request, parts: Parts, found: Job, given: Mapping[str, str] | None = None) -> JobPage:
    document = definitions.job_of(found.document)
    project = parts.projects.project(found.project)
    history, ways, paging = _history(request, parts, found.project, found.identifier)
    commands, more_commands = definition.commands(document)
    because = ""
    if not project.is_enabled:
        because = "The project is disabled: its runs wait until it is enabled."
    elif not found.is_enabled:
        because = "This job is disabled: its runs wait until it is enabled."
    return JobPage(
        title=found.display_name or found.identifier,
        project=found.project,
        project_href=links.project(found.project),
        job=found.identifier,
        description=found.description,
        is_enabled=found.is_enabled and project.is_enabled,
        disabled_because=because,
        findings=found.findings,
        form=_form(found, document, given) if may(request.someone, Right.TRIGGER, found.project) else None,
        commands=commands,
        more_commands=more_commands,
        history=history,
        orders=ways,
        paging=paging,
        is_switched_on=found.is_enabled,
        switch_action=links.switch_job(found.project, found.identifier, not found.is_enabled)
        if may(request.someone, Right.SWITCH, found.project)
        else None,
    )


def _removed(request: Request, parts: Parts, project: str, job: str) -> JobPage | None:
    """A job that is in the project files no more. None: there never was one, or it never ran."""
    try:
        last = parts.runs.numbered(project, job, "latest")
    except NotFound:
        return None
    history, ways, paging = _history(request, parts, project, job)
    ran_with = definition.of(last, parts)
    document = definitions.job_of(ran_with.document if ran_with is not None else {"identifier": job})
    commands, more_commands = definition.commands(document)
    return JobPage(
        title=document.display_name or job,
        project=project,
        project_href=links.project(project),
        job=job,
        description=document.description,
        is_enabled=False,
        disabled_because="This job was removed from the project files. Its history stays.",
        findings=(),
        form=None,
        commands=commands,
        more_commands=more_commands,
        history=history,
        orders=ways,
        paging=paging,
        is_removed=True,
    )


def _history(
    request: Request, parts: Parts, project: str, job: str
) -> tuple[tuple[RunRow, ...], tuple[Order, ...], Paging]:
    where = RunFilter(project=(project,), job=(job,))
    # A refused form comes back without a query of its own: the newest runs stand beside it.
    query = request.query if isinstance(request.query, JobQuery) else JobQuery()
    sort, order = asked(query.sort, sorting.RUNS)
    listing = f"{project}/{job} by {sort}"
    after = place(parts, listing, query.cursor)
    runs = parts.runs.find(where, after, HISTORY + 1, oldest_first=not sorting.is_backwards(sort))
    here = links.job(project, job)
    following = next_place(parts, listing, runs, HISTORY)
    paging = Paging(
        first=links.with_query(here, sort=order) if query.cursor else None,
        next=links.with_query(here, sort=order, cursor=following) if following else None,
    )
    return rows.run_rows(runs[:HISTORY], parts), orders(here, sorting.RUNS, sort), paging


def _form(found: Job, document: JobDocument, given: Mapping[str, str] | None) -> Form:
    return Form(
        action=links.job(found.project, found.identifier),
        submit="Trigger",
        fields=forms.parameter_fields(document.parameters, given),
        hidden=(("key", secrets.token_hex(16)),),
    )


ROUTES = (
    Route("GET", "/p/<project>/<job>", job, Right.READ, scope="project", kind="page", query=JobQuery,
          summary="One job"),
    Route("POST", "/p/<project>/<job>/enable", enable, Right.SWITCH, scope="project", kind="page",
          summary="Enable a job"),
    Route("POST", "/p/<project>/<job>/disable", disable, Right.SWITCH, scope="project", kind="page",
          summary="Disable a job"),
    Route("POST", "/p/<project>/<job>", trigger, Right.TRIGGER, scope="project", kind="page", body=TriggerForm,
          summary="Trigger a job"),
)  # fmt: skip
