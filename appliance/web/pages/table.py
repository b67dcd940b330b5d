"""All routes of the website."""

from __future__ import annotations

from appliance.web.pages import dashboard, entrance, jobs, log, me, projects, queue, run, runs, static, worker, workers
from appliance.web.routes import Route

# In bottle the first match wins: ``/p/<project>/<job>/<number>`` stands behind the addresses below it.
ROUTES: tuple[Route, ...] = (
    *static.ROUTES,
    *entrance.ROUTES,
    *dashboard.ROUTES,
    *projects.ROUTES,
    *jobs.ROUTES,
    *log.ROUTES,
    *run.ROUTES,
    *runs.ROUTES,
    *queue.ROUTES,
    *workers.ROUTES,
    *worker.ROUTES,
    *me.ROUTES,
)
