"""The service: one module per noun of contract.md section 7, and the table of their routes."""

from __future__ import annotations

from appliance.web.api import accounts, configuration, projects, recovery, runs, system, users, waits, workers
from appliance.web.routes import Route

ROUTES: tuple[Route, ...] = (
    *system.ROUTES,
    *accounts.ROUTES,
    *configuration.ROUTES,
    *recovery.ROUTES,
    *projects.ROUTES,
    *runs.ROUTES,
    *waits.ROUTES,
    *workers.ROUTES,
    *users.ROUTES,
)
