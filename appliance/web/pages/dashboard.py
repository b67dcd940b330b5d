"""``/``: what failed, what runs, what waits; and what to do next while something is missing."""

from __future__ import annotations

from datetime import timedelta

from appliance.db.repository import RunFilter
from appliance.model.permissions import Right, may, visible_projects
from appliance.model.run_state import Status
from appliance.web.pages import links, rows
from appliance.web.pages.answers import show
from appliance.web.pieces import Hint, RunRow
from appliance.web.routes import Parts, Request, Response, Route
from appliance.web.views import DashboardPage

FAILED = (Status.FAILED, Status.ERRORED, Status.LOST)
RUNNING = (Status.ASSIGNED, Status.RUNNING)
WAITING = (Status.PENDING,)
WORKERS = 1000


def dashboard(request: Request, parts: Parts) -> Response:
    """The first page after the login."""
    now = parts.clock.now()
    visible = visible_projects(request.someone)

    def some(status: tuple[Status, ...], limit: int, hours: float | None = None) -> tuple[RunRow, ...]:
        since = None if hours is None else now - timedelta(hours=hours)
        return rows.run_rows(parts.runs.find(RunFilter(visible, status=status, since=since), None, limit), now)

    recent = some((), 5)
    active = total = None
    if may(request.someone, Right.READ_WORKERS):
        workers = parts.workers.list(None, WORKERS)
        active, total = sum(one.is_active for one in workers), len(workers)
    has_jobs = bool(parts.projects.projects(visible))
    return show(
        DashboardPage(
            title="Dashboard",
            failed=some(FAILED, 10, hours=24),
            running=some(RUNNING, 20),
            waiting=some(WAITING, 20),
            recent=recent,
            hints=_hints(has_jobs, active, bool(recent), may_add=may(request.someone, Right.MANAGE_WORKERS)),
            workers_active=active,
            workers_total=total,
            failed_href=links.runs_of(FAILED),
            running_href=links.runs_of(RUNNING),
            waiting_href=links.runs_of(WAITING),
        )
    )


def _hints(has_jobs: bool, workers: int | None, has_runs: bool, *, may_add: bool) -> tuple[Hint, ...]:
    """The way to the first run; empty once it is done."""
    if has_jobs and has_runs and workers != 0:
        return ()
    project = Hint(
        "Have a project: a file with jobs, in a directory named in the settings."
        if may_add
        else "An administrator lets you see a project.",
        is_done=has_jobs,
    )
    worker = Hint(
        "Connect a worker: a machine that does the work." if may_add else "An administrator connects a worker.",
        links.WORKERS if may_add else None,
        "Add a worker",
        is_done=bool(workers),
    )
    run = Hint("Trigger a job and look at its first run.", links.PROJECTS, "Choose a job", is_done=has_runs)
    return (project, worker, run)


ROUTES = (Route("GET", "/", dashboard, "self", kind="page", summary="Dashboard"),)
