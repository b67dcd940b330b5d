"""``/p/{project}/{job}/{number}``: one run, and the buttons that end it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.model import definitions
from appliance.model.entities import Run
from appliance.model.permissions import Right, may
from appliance.model.positions import command_words
from appliance.model.run_state import LIVE, Status
from appliance.model.sizes import show_bytes
from appliance.projects import RanWith
from appliance.web.pages import away, definition, links, logview, rows, steps, values, waiting
from appliance.web.pages.answers import reader, show
from appliance.web.paging import Cursor
from appliance.web.pieces import When
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import RunPage

TAIL = 64 * 1024  # bytes of log on the page of a run
TAIL_LINES = 300
REFRESH = 5  # seconds, for browsers without scripts

Flag = Annotated[str, msgspec.Meta(max_length=8)]


class RunQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``stay``: do not load the page again by itself. ``steps``: the part of the commands that is shown, from 1; the
    one in which something went wrong, or goes on, when it is not given. ``workers``: the part of the workers that it
    waits for."""

    stay: Flag = ""
    steps: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    workers: Cursor | None = None


def run(request: Request, parts: Parts) -> Response:
    """Everything about one run on one page."""
    found = request.the_run
    here = links.run(found.project, found.job, found.number)
    if request.params["number"] != str(found.number):  # latest, last-success, 007
        return redirect(here)
    now = parts.clock.now()
    is_live = found.status in LIVE
    may_control = may(request.someone, Right.CONTROL, found.project, run_id=found.id, parent=found.parent)
    size = parts.runs.log_size(found.id)
    tail = parts.runs.log(found.id, max(0, size - TAIL), TAIL)
    receipt, is_good = _receipt(found, size)
    ran_with = definition.of(found, parts)
    shown_steps, steps_part = steps.part(parts, found, request.query.steps)
    results = values.shown(parts.runs.results(found.id))
    wait = parts.waits.of([found]).get(found.id)
    times = (
        ("Triggered", found.created_at),
        ("Assigned", found.assigned_at),
        ("Started", found.started_at),
        ("Finished", found.finished_at),
    )
    return show(
        RunPage(
            title=f"{found.job}#{found.number} {found.status}",
            run=rows.run_row(found, now, wait.sentence if wait else ""),
            refresh=REFRESH if is_live and not request.query.stay else None,
            stay_href=links.with_query(here, stay="yes"),
            times=tuple((label, When(at, rows.ago(at, now))) for label, at in times if at is not None),
            ending=_ending(found),
            parameters=values.shown(found.parameters, _secrets(found, ran_with)),
            steps=shown_steps,
            steps_part=steps_part,
            results=results,
            results_href=links.results(found.id),
            are_results_cut=values.is_cut(results),
            notes=found.notes,
            stopping=_stopping(found) if is_live else "",
            log=logview.backward(tail, size, size, TAIL_LINES),
            log_href=links.log(found.project, found.job, found.number),
            raw_href=links.raw_log(found.project, found.job, found.number),
            receipt=receipt,
            is_receipt_good=is_good,
            sha256=found.log.sha256 or "",
            definition_version=found.definition_version,
            cancel_action=f"{here}/cancel" if may_control and _may_cancel(found) else None,
            abort_action=f"{here}/abort" if may_control and _may_abort(found) else None,
            lost_action=f"{here}/declare-lost" if may_control and away.may_be_declared_lost(found, parts) else None,
            late=away.late_report(found, parts),
            definition=definition.shown(ran_with, found),
            why=waiting.workers(request, parts, found, here),
            position=wait.place.number if wait and wait.place else None,
            waiting=wait.place.of if wait and wait.place else 0,
        )
    )


def cancel(request: Request, parts: Parts) -> Response:
    """See to it that the run never starts."""
    asked = parts.runs.cancel(request.the_run.id, reader(request))
    return _back(asked.run, asked.sentence)


def abort(request: Request, parts: Parts) -> Response:
    """End the run wherever it is."""
    asked = parts.runs.abort(request.the_run.id, reader(request))
    return _back(asked.run, asked.sentence)


def declare_lost(request: Request, parts: Parts) -> Response:
    """Give up a run whose worker is away."""
    after = parts.lost_runs.declare(request.the_run.id, reader(request))
    return _back(after, "the run is declared lost; this is final")


def _back(after: Run, sentence: str) -> Response:
    return redirect(links.run(after.project, after.job, after.number), f"{sentence[:1].upper()}{sentence[1:]}.")


def _may_cancel(found: Run) -> bool:
    return found.status in (Status.PENDING, Status.ASSIGNED) and not (found.should_cancel or found.should_abort)


def _may_abort(found: Run) -> bool:
    return found.status in (Status.RUNNING, Status.LOST) and not found.should_abort


def _stopping(found: Run) -> str:
    who = found.requested_by or "somebody"
    if found.should_abort:
        return f"{who} asked to abort this run; {found.worker or 'the worker'} is told as soon as it can be reached."
    if found.should_cancel:
        return f"{who} asked to cancel this run; the word of {found.worker or 'the worker'} decides."
    return ""


def _ending(found: Run) -> str:
    if found.exit is None:
        return ""
    how = f"signal {found.exit.signal}" if found.exit.signal else f"exit code {found.exit.code}"
    return f"{command_words(found.exit.command)}: {how}" if found.exit.command else how


def _receipt(found: Run, size: int) -> tuple[str, bool]:
    """What is known of the log's wholeness (L2), and whether that is good."""
    log = found.log
    if found.status in LIVE:
        return f"{show_bytes(size)} so far. The receipt comes when the run has ended.", False
    if found.started_at is None and not size:
        return "No log: the run never began.", False
    if log.verified:
        return f"Whole: {log.size} bytes, and worker and server computed the same SHA-256.", True
    if log.complete:
        return f"{log.size} bytes, as the worker announced. The digests were not compared.", False
    return f"{show_bytes(size)} arrived. Whether that is all is not known.", False


def _secrets(found: Run, ran_with: RanWith | None) -> frozenset[str]:
    """The parameters that may not be shown, by the definition that the run was triggered with; all if that is gone."""
    if ran_with is None:
        return frozenset(found.parameters)
    declared = definitions.job_of(ran_with.document).parameters
    return frozenset(parameter.key for parameter in declared if parameter.type == "secret")


_PATH = "/p/<project>/<job>/<number>"
ROUTES = (
    Route("GET", _PATH, run, Right.READ, scope="run", kind="page", query=RunQuery, summary="One run"),
    Route("POST", f"{_PATH}/cancel", cancel, Right.CONTROL, scope="run", kind="page", summary="Cancel a run"),
    Route("POST", f"{_PATH}/abort", abort, Right.CONTROL, scope="run", kind="page", summary="Abort a run"),
    Route(
        "POST",
        f"{_PATH}/declare-lost",
        declare_lost,
        Right.CONTROL,
        scope="run",
        kind="page",
        summary="Give up a run whose worker is away",
    ),
)
