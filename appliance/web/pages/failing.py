"""Which jobs fail, and since when: the first thing that the dashboard tells."""

from __future__ import annotations

from datetime import timedelta

from appliance.db.repository import RunFilter
from appliance.model.entities import Run
from appliance.model.errors import NotFound
from appliance.model.run_state import Status
from appliance.web.pages import links, rows
from appliance.web.pieces import Failing
from appliance.web.routes import Parts

FAILED = (Status.FAILED, Status.ERRORED, Status.LOST)
LOOKED_BACK = timedelta(days=7)
FIXED_SHOWN = timedelta(days=1)  # how long a failure is shown after its job went well again
JOBS = 10
_RUNS = 200  # failed runs looked at


def failing(parts: Parts, visible: frozenset[str] | None) -> tuple[Failing, ...]:
    """Jobs with a failed run in the last days, those that went well since last; at most JOBS, newest first."""
    now = parts.clock.now()
    where = RunFilter(visible, status=FAILED, since=now - LOOKED_BACK)
    newest: dict[tuple[str, str], Run] = {}
    for run in parts.runs.find(where, None, _RUNS):
        newest.setdefault((run.project, run.job), run)
    still: list[Failing] = []
    over: list[Failing] = []
    for run in newest.values():
        if len(still) == JOBS:
            break  # no other will be shown
        success = _last_success(parts, run)
        if success is None or success.number < run.number:
            still.append(_failing(parts, run, success))
        elif len(over) < JOBS and run.created_at > now - FIXED_SHOWN:
            fixed = links.run(success.project, success.job, success.number)
            over.append(Failing(rows.run_row(run, now), fixed_href=fixed, fixed_number=success.number))
    return (*still, *over)[:JOBS]


def _failing(parts: Parts, run: Run, success: Run | None) -> Failing:
    """``run`` is the newest bad one; the first since the last success is looked for."""
    now = parts.clock.now()
    since = RunFilter(
        project=(run.project,), job=(run.job,), status=FAILED, since=None if success is None else success.created_at
    )
    found = parts.runs.find(since, None, 5, oldest_first=True)  # some may be as old as the success, and before it
    first = next((one for one in found if success is None or one.number > success.number), run)
    return Failing(
        run=rows.run_row(run, now),
        since=rows.when(first.finished_at or first.created_at, now),
        first_href=links.run(first.project, first.job, first.number),
        first_number=first.number,
    )


def _last_success(parts: Parts, run: Run) -> Run | None:
    try:
        return parts.runs.numbered(run.project, run.job, "last-success")
    except NotFound:
        return None
