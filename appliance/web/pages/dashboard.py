"""``/``: what failed, what runs, what waits; and what to do next while something is missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from appliance.db.repository import RunFilter
from appliance.model.permissions import Right, may, visible_projects
from appliance.model.run_state import Status
from appliance.recoveries import show_recovery
from appliance.web.pages import links, rows
from appliance.web.pages.answers import show
from appliance.web.pages.failing import FAILED, failing
from appliance.web.pieces import Hint, RunRow
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import DashboardPage

FAILED_COUNTED = 100
RUNNING = (Status.ASSIGNED, Status.RUNNING)
WAITING = (Status.PENDING,)
WORKERS = 1000
TOLD_FOR = timedelta(days=1)  # after a recovery has ended


def dashboard(request: Request, parts: Parts) -> Response:
    """The first page after the login."""
    now = parts.clock.now()
    visible = visible_projects(request.someone)

    def some(status: tuple[Status, ...], limit: int) -> tuple[RunRow, ...]:
        return rows.run_rows(parts.runs.find(RunFilter(visible, status=status), None, limit), parts)

    recent = some((), 5)
    yesterday = RunFilter(visible, status=FAILED, since=now - timedelta(hours=24))
    failed = len(parts.runs.find(yesterday, None, FAILED_COUNTED + 1))
    active = total = None
    if may(request.someone, Right.READ_WORKERS):
        workers = parts.workers.list(None, WORKERS)
        active, total = sum(one.is_active for one in workers), len(workers)
    has_jobs = bool(parts.projects.projects(visible))
    return show(
        DashboardPage(
            title="Dashboard",
            failing=failing(parts, visible),
            failed_count=min(failed, FAILED_COUNTED),
            is_failed_counted=failed <= FAILED_COUNTED,
            running=some(RUNNING, 20),
            waiting=some(WAITING, 20),
            recent=recent,
            hints=_hints(has_jobs, active, bool(recent), may_add=may(request.someone, Right.MANAGE_WORKERS)),
            workers_active=active,
            workers_total=total,
            failed_href=links.runs_of(FAILED),
            running_href=links.runs_of(RUNNING),
            waiting_href=links.QUEUE,
            **_recovery(request, parts),
            clock=parts.clock_trouble() if may(request.someone, Right.MANAGE_USERS) else "",
        )
    )


def _recovery(request: Request, parts: Parts) -> dict[str, Any]:
    """What an administrator is told after a restore, while something waits and for a day after."""
    recovery = parts.recoveries.newest() if may(request.someone, Right.MANAGE_USERS) else None
    if recovery is None:
        return {}
    if not recovery.is_open and parts.clock.now() - (recovery.ended_at or recovery.began_at) > TOLD_FOR:
        return {}
    said = show_recovery(recovery)
    return {
        "recovery": f"{said[0].upper()}{said[1:]}.",
        "release_action": links.RELEASE_RECOVERY if recovery.is_open else None,
    }


def release_recovery(request: Request, parts: Parts) -> Response:
    """Wait for no worker any more."""
    parts.recoveries.release(request.someone.name)
    return redirect(links.DASHBOARD, "The runs of the backup are given out now.")


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


ROUTES = (
    Route("GET", "/", dashboard, "self", kind="page", summary="Dashboard"),
    Route(
        "POST",
        links.RELEASE_RECOVERY,
        release_recovery,
        Right.MANAGE_USERS,
        kind="page",
        summary="Give out the runs of the backup",
    ),
)
