"""``/workers/{worker}``: what one worker is and does, and the buttons that take it out of service (W6)."""

from __future__ import annotations

from dataclasses import replace

from appliance import __version__
from appliance.db.repository import RunFilter
from appliance.model.permissions import Right, may, visible_projects
from appliance.model.run_state import LEASED
from appliance.model.sizes import show_bytes, show_count
from appliance.model.times import show_time
from appliance.model.worker_states import Duty, Vitals, WorkerState
from appliance.web.pages import links, rows, values
from appliance.web.pages.answers import reader, show
from appliance.web.pages.workers import row, version_of
from appliance.web.pieces import Value
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import WorkerPage

RUNNING = 100  # runs under way that are listed
RECENT = 20


def worker(request: Request, parts: Parts) -> Response:
    """The worker as it is now."""
    state = parts.workers.named(request.params["worker"])
    found, now = state.worker, parts.clock.now()
    visible = visible_projects(request.someone)
    of_it = RunFilter(visible=visible, worker=(found.name,))
    running = parts.runs.find(RunFilter(visible=visible, worker=(found.name,), status=tuple(LEASED)), None, RUNNING)
    recent = [run for run in parts.runs.find(of_it, None, RECENT + RUNNING) if run.status not in LEASED][:RECENT]
    is_manager = may(request.someone, Right.MANAGE_WORKERS)
    is_revoked = state.duty is Duty.REVOKED

    def action(name: str, is_needed: bool) -> str | None:
        return links.worker_action(found.name, name) if is_manager and is_needed else None

    return show(
        WorkerPage(
            title=found.name,
            worker=row(parts, state),
            facts=tuple((label, text) for label, text in _facts(state).items() if text),
            version_since=rows.when(found.version_since, now) if found.version_since else None,
            server_version=__version__,
            version_before=version_of(found.version_before),
            properties=tuple(_with_size(one) for one in values.shown(state.properties)),
            running=rows.run_rows(running, parts),
            hidden=max(0, state.left - len(running)),
            recent=rows.run_rows(recent, parts),
            runs_href=links.runs(worker=found.name),
            enable_action=action("enable", not found.takes_work and not is_revoked),
            drain_action=action("drain", not found.is_draining and not is_revoked),
            disable_action=action("disable", found.is_enabled and not is_revoked),
            disconnect_action=action("disconnect", not found.is_disconnected and not is_revoked),
            remove_action=action("remove", True),
        )
    )


def enable(request: Request, parts: Parts) -> Response:
    """Let it take new runs, whatever it was kept from."""
    state = parts.workers.enable(request.params["worker"], True, reader(request))
    return _back(state, "takes new runs")


def disable(request: Request, parts: Parts) -> Response:
    """Give it no new runs; what it has goes on."""
    state = parts.workers.enable(request.params["worker"], False, reader(request))
    return _back(state, "gets no new runs; what it has goes on")


def drain(request: Request, parts: Parts) -> Response:
    """Let it finish what it has."""
    state = parts.workers.drain(request.params["worker"], by=reader(request))
    left = "it has none left, and may be stopped" if state.is_drained else f"{show_count(state.left, 'run')} left"
    if state.is_untold:
        left += " as far as is known"
    return _back(state, f"gets nothing new: {left}")


def disconnect(request: Request, parts: Parts) -> Response:
    """Close its connection until it is enabled."""
    state = parts.workers.disconnect(request.params["worker"], reader(request))
    return _back(state, "is disconnected, and stays away until it is enabled")


def remove(request: Request, parts: Parts) -> Response:
    """Delete the worker and its token."""
    parts.workers.remove(request.params["worker"], reader(request))
    return redirect(links.WORKERS, f"{request.params['worker']} is removed; its token no longer works.")


def _back(state: WorkerState, told: str) -> Response:
    return redirect(links.worker(state.worker.name), f"{state.worker.name} {told}.")


def _facts(state: WorkerState) -> dict[str, str]:
    """Names and texts for people; what is not known is left out."""
    found, vitals = state.worker, state.vitals or Vitals()
    return {
        "Slots": f"{state.used} of {found.slots} in use",
        "Load": "" if vitals.load is None else f"{vitals.load:.2f}",
        "Disk": "" if vitals.disk_free is None else f"{show_bytes(vitals.disk_free)} free",
        "Clock": "" if found.journal_id is None else _clock(found.clock_offset),
        "Added": f"by {found.owner} at {show_time(found.created_at)}",
    }


def _clock(offset: float) -> str:
    if abs(offset) < 1:
        return "within 1 s of the server's"
    return f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the server's"


def _with_size(one: Value) -> Value:
    """The memory of a machine is a number of bytes: readers get it in their own units beside."""
    if one.name != "memory" or one.kind != "number" or not one.text.isdecimal():
        return one
    return replace(one, text=f"{one.text} ({show_bytes(int(one.text))})")


_PATH = "/workers/<worker>"
ROUTES = (
    Route("GET", _PATH, worker, Right.READ_WORKERS, kind="page", summary="One worker"),
    Route("POST", f"{_PATH}/enable", enable, Right.MANAGE_WORKERS, kind="page", summary="Enable a worker"),
    Route("POST", f"{_PATH}/disable", disable, Right.MANAGE_WORKERS, kind="page", summary="Disable a worker"),
    Route("POST", f"{_PATH}/drain", drain, Right.MANAGE_WORKERS, kind="page", summary="Drain a worker"),
    Route("POST", f"{_PATH}/disconnect", disconnect, Right.MANAGE_WORKERS, kind="page", summary="Disconnect a worker"),
    Route("POST", f"{_PATH}/remove", remove, Right.MANAGE_WORKERS, kind="page", summary="Remove a worker"),
)
