"""``/projects`` and ``/p/{project}``: projects, and the jobs of one."""

from __future__ import annotations

from appliance.db.repository import RunFilter
from appliance.model.entities import Job
from appliance.model.errors import NotFound
from appliance.model.permissions import Right, visible_projects
from appliance.web.pages import links, rows
from appliance.web.pages.answers import show
from appliance.web.pieces import JobRow, ProjectRow, RunRow
from appliance.web.routes import Parts, Request, Response, Route
from appliance.web.views import ProjectPage, ProjectsPage

RECENT = 20


def projects(request: Request, parts: Parts) -> Response:
    """All projects that the reader may see."""
    shown = tuple(
        ProjectRow(
            name=project.identifier,
            display_name=project.display_name or project.identifier,
            href=links.project(project.identifier),
            is_enabled=project.is_enabled,
            jobs=len(parts.projects.jobs(project.identifier)),
            last=_last(parts, RunFilter(project=(project.identifier,))),
        )
        for project in parts.projects.projects(visible_projects(request.someone))
    )
    return show(ProjectsPage(title="Projects", projects=shown))


def project(request: Request, parts: Parts) -> Response:
    """The jobs of one project and its latest runs; the runs alone of one that was removed (the gate knows it)."""
    name = request.params["project"]
    try:
        found = parts.projects.project(name)
    except NotFound:
        recent = parts.runs.find(RunFilter(project=(name,)), None, RECENT)
        shown = rows.run_rows(recent, parts.clock.now())
        return show(ProjectPage(name, name, False, (), shown, links.runs(project=name), is_removed=True))
    recent = parts.runs.find(RunFilter(project=(name,)), None, RECENT)
    return show(
        ProjectPage(
            title=found.display_name or name,
            project=name,
            is_enabled=found.is_enabled,
            jobs=tuple(_job_row(parts, job) for job in parts.projects.jobs(name)),
            recent=rows.run_rows(recent, parts.clock.now()),
            runs_href=links.runs(project=name),
        )
    )


def _job_row(parts: Parts, job: Job) -> JobRow:
    return JobRow(
        name=job.identifier,
        display_name=job.display_name or job.identifier,
        description=job.description,
        href=links.job(job.project, job.identifier),
        is_enabled=job.is_enabled,
        findings=job.findings,
        last=_last(parts, RunFilter(project=(job.project,), job=(job.identifier,))),
    )


def _last(parts: Parts, where: RunFilter) -> RunRow | None:
    found = parts.runs.find(where, None, 1)
    return rows.run_row(found[0], parts.clock.now()) if found else None


ROUTES = (
    Route("GET", "/projects", projects, "self", kind="page", summary="Projects"),
    Route("GET", "/p/<project>", project, Right.READ, scope="project", kind="page", summary="One project"),
)
