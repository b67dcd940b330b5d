"""``/projects`` and ``/p/{project}``: projects, and the jobs of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from appliance.db.repository import RunFilter
from appliance.model.entities import Job, Project
from appliance.model.errors import NotFound
from appliance.model.permissions import Right, may, visible_projects
from appliance.web import sorting
from appliance.web.pages import links, rows
from appliance.web.pages.answers import reader, show, switched
from appliance.web.pages.orders import asked, orders, part
from appliance.web.pages.runs import Word
from appliance.web.paging import Cursor
from appliance.web.pieces import JobRow, Order, Paging, ProjectRow, RunRow
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import ProjectPage, ProjectsPage

RECENT = 20
SHOWN = 100
Listed = TypeVar("Listed", Project, Job)


class FileQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The order of a list of what project files say, and where in it the reader is."""

    sort: Word = ""
    cursor: Cursor | None = None


def projects(request: Request, parts: Parts) -> Response:
    """The projects that the reader may see."""
    every = parts.projects.projects(visible_projects(request.someone))
    found, ways, paging = _part(request, parts, "pages of projects", links.PROJECTS, every)
    lasts = _lasts(parts, [RunFilter(project=(project.identifier,)) for project in found])
    counts = parts.projects.job_counts()
    shown = tuple(
        ProjectRow(
            name=project.identifier,
            display_name=project.display_name or project.identifier,
            href=links.project(project.identifier),
            is_enabled=project.is_enabled,
            jobs=counts.get(project.identifier, 0),
            last=last,
        )
        for project, last in zip(found, lasts, strict=True)
    )
    return show(ProjectsPage(title="Projects", projects=shown, orders=ways, paging=paging))


def project(request: Request, parts: Parts) -> Response:
    """The jobs of one project and its latest runs; the runs alone of one that was removed (the gate knows it)."""
    name = request.params["project"]
    try:
        found = parts.projects.project(name)
    except NotFound:
        recent = parts.runs.find(RunFilter(project=(name,)), None, RECENT)
        shown = rows.run_rows(recent, parts)
        return show(ProjectPage(name, name, False, (), shown, links.runs(project=name), (), Paging(), is_removed=True))
    recent = parts.runs.find(RunFilter(project=(name,)), None, RECENT)
    listing = f"pages of jobs of {name}"
    jobs, ways, paging = _part(request, parts, listing, links.project(name), parts.projects.jobs(name))
    lasts = _lasts(parts, [RunFilter(project=(name,), job=(job.identifier,)) for job in jobs])
    return show(
        ProjectPage(
            title=found.display_name or name,
            project=name,
            is_enabled=found.is_enabled,
            jobs=tuple(_job_row(job, last) for job, last in zip(jobs, lasts, strict=True)),
            recent=rows.run_rows(recent, parts),
            runs_href=links.runs(project=name),
            switch_action=links.switch_project(name, not found.is_enabled)
            if may(request.someone, Right.MANAGE_USERS, name)
            else None,
            orders=ways,
            paging=paging,
        )
    )


def enable(request: Request, parts: Parts) -> Response:
    """Let its runs be given to workers."""
    return _switch(request, parts, True)


def disable(request: Request, parts: Parts) -> Response:
    """Keep its runs waiting; those that run go on."""
    return _switch(request, parts, False)


def _switch(request: Request, parts: Parts, is_enabled: bool) -> Response:
    found = parts.projects.enable_project(request.params["project"], is_enabled, reader(request))
    return redirect(links.project(found.identifier), switched(found.identifier, is_enabled))


def _part(
    request: Request, parts: Parts, listing: str, path: str, every: Sequence[Listed]
) -> tuple[Sequence[Listed], tuple[Order, ...], Paging]:
    """One part of projects or jobs in the order that was asked for, and the ways to the rest."""
    query: FileQuery = request.query
    sort, order = asked(query.sort, sorting.FILES)
    found, paging = part(
        parts.key,
        f"{listing} by {sort}",
        sorting.ordered(every, sort, {"name": lambda one: (one.display_name or one.identifier).lower()}),
        lambda one: one.identifier,
        query.cursor,
        SHOWN,
        lambda cursor: links.with_query(path, sort=order, cursor=cursor),
    )
    return found, orders(path, sorting.FILES, sort) if len(every) > 1 else (), paging


def _job_row(job: Job, last: RunRow | None) -> JobRow:
    return JobRow(
        name=job.identifier,
        display_name=job.display_name or job.identifier,
        description=job.description,
        href=links.job(job.project, job.identifier),
        is_enabled=job.is_enabled,
        findings=job.findings,
        last=last,
    )


def _lasts(parts: Parts, each: Sequence[RunFilter]) -> list[RunRow | None]:
    """The newest run of each; those that wait say why."""
    found = [(*parts.runs.find(where, None, 1), None)[0] for where in each]
    shown = iter(rows.run_rows([run for run in found if run is not None], parts))
    return [None if run is None else next(shown) for run in found]


ROUTES = (
    Route("GET", "/projects", projects, "self", kind="page", query=FileQuery, summary="Projects"),
    Route("GET", "/p/<project>", project, Right.READ, scope="project", kind="page", query=FileQuery,
          summary="One project"),
    Route("POST", "/projects/<project>/enable", enable, Right.MANAGE_USERS, scope="project", kind="page",
          summary="Enable a project"),
    Route("POST", "/projects/<project>/disable", disable, Right.MANAGE_USERS, scope="project", kind="page",
          summary="Disable a project"),
)  # fmt: skip
