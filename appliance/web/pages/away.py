"""What the page of a run says when its worker is away, or came back too late (reliability.md 4.4, F10)."""

from __future__ import annotations

from appliance.model.entities import Run
from appliance.model.run_state import LEASED
from appliance.model.sizes import show_bytes
from appliance.model.times import show_time
from appliance.web.pages import links
from appliance.web.pieces import LateReport
from appliance.web.routes import Parts


def may_be_declared_lost(found: Run, parts: Parts) -> bool:
    """Whether a person could give the run up now: a worker has it, and is not connected."""
    return found.status in LEASED and not parts.workers.presence.is_connected(found.worker_id or "")


def late_report(found: Run, parts: Parts) -> LateReport | None:
    """What the worker said after the run had been ended without it."""
    late = parts.runs.late(found)
    if late is None:
        return None
    how = "" if late.exit is None else f", {late.exit.signal or f'exit code {late.exit.code}'}"
    why = f": {late.sentence}" if late.sentence else ""
    return LateReport(
        sentence=f"{found.worker} reported later: {late.status} at {show_time(late.ended_at)}{how}{why}. "
        "The status of the run stays.",
        log=f"Its whole log, {show_bytes(late.log.size)}",
        log_href=links.late_log(found.id),
        sha256=late.log.sha256 or "",
        notes=late.notes,
    )
