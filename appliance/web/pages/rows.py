"""Things the appliance keeps become what pages show: rows, times for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from appliance.model.entities import Run
from appliance.model.run_state import LIVE, Status
from appliance.web.pages import links
from appliance.web.pieces import RunRow, When
from appliance.web.routes import Parts

_DEFAULTS = {
    Status.ASSIGNED: "was given to {worker}",
    Status.RUNNING: "runs on {worker}",
}


def ago(at: datetime, now: datetime) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, ``2 d ago``; an instant ahead of ours is ``just now`` too."""
    seconds = (now - at).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def when(at: datetime, now: datetime) -> When:
    """An instant as pages show it."""
    return When(at, ago(at, now))


def run_row(run: Run, now: datetime, waits: str = "") -> RunRow:
    """One run for a list or a heading. ``waits``: why a pending one does."""
    is_live = run.status in LIVE
    began = run.started_at or run.assigned_at
    until = began or run.finished_at or (now if is_live else None)
    ended = run.finished_at or (now if is_live else None)
    sentence = run.sentence or _DEFAULTS.get(run.status, "").replace("{worker}", run.worker or "a worker")
    return RunRow(
        id=run.id,
        project=run.project,
        job=run.job,
        number=run.number,
        href=links.run(run.project, run.job, run.number),
        job_href=links.job(run.project, run.job),
        status=run.status.value,
        reason=run.reason.value if run.reason else "",
        sentence=waits or sentence,
        source=run.source.user or run.source.type,
        via=run.source.via or "",
        worker=run.worker,
        created=when(run.created_at, now),
        queued=_seconds(run.created_at, until),
        duration=_seconds(began, ended),
        is_live=is_live,
        is_stopping=is_live and (run.should_abort or run.should_cancel),
    )


def run_rows(runs: Sequence[Run], parts: Parts) -> tuple[RunRow, ...]:
    """Runs for a list, in the same order; those that wait say why."""
    now, reasons = parts.clock.now(), parts.waits.reasons(runs)
    return tuple(run_row(run, now, reasons.get(run.id, "")) for run in runs)


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else max(0.0, (until - since).total_seconds())
