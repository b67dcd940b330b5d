"""The commands of a run as its page shows them: how each ended, in parts of bounded size."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.model.entities import Run
from appliance.model.positions import command_words
from appliance.model.run_state import LIVE
from appliance.model.steps import Step as Begun
from appliance.web.pages import links
from appliance.web.pieces import Step, StepsPart
from appliance.web.routes import Parts

SHOWN = 100  # commands on one page
COMMAND = 2_000  # characters of one
_PHASES = {"setup_commands": "setup", "commands": "command", "teardown_commands": "teardown"}
_TOLD_FIRST = ("failed", "errored", "aborted", "running")


def part(parts: Parts, run: Run, page: int | None) -> tuple[tuple[Step, ...], StepsPart]:
    """One part of the commands, counted from 1; without a number the one that readers look for (see ``_TOLD_FIRST``).

    A number beyond the last shows the last.
    """
    every = [step(begun, run) for begun in parts.runs.steps(run.id)]
    last = max(1, -(-len(every) // SHOWN))
    if page is None:
        told = next((at for at, one in enumerate(every) if one.outcome in _TOLD_FIRST), 0)
        page = told // SHOWN + 1
    page = min(page, last)
    begin = (page - 1) * SHOWN
    found = tuple(every[begin : begin + SHOWN])
    here = links.run(run.project, run.job, run.number)
    return found, StepsPart(
        first=begin + 1,
        last=begin + len(found),
        total=len(every),
        is_all_known=not parts.runs.has_more_steps(run.id),
        first_href=links.with_query(here, steps=1) if page > 1 else None,
        previous_href=links.with_query(here, steps=page - 1) if page > 1 else None,
        next_href=links.with_query(here, steps=page + 1) if page < last else None,
        last_href=links.with_query(here, steps=last) if page < last else None,
    )


def step(begun: Begun, run: Run) -> Step:
    """A command of a run; its outcome is worded as the statuses are."""
    phase = begun.name.partition("[")[0]
    is_open = begun.seconds is None and begun.code is None and begun.signal is None and begun.error is None
    is_live = run.status in LIVE
    duration = begun.seconds
    if is_open and begun.began_at is not None and run.finished_at is not None:
        duration = max(0.0, (run.finished_at - datetime.fromtimestamp(begun.began_at, UTC)).total_seconds())
    if begun.is_skipped:
        outcome, ending = "skipped", "skipped, because an earlier command failed"
    elif begun.error is not None:
        outcome, ending = "errored", begun.error
    elif is_open:
        outcome, ending = ("running", "") if is_live else ("errored", "its end is not known")
    elif begun.ended_by is not None:
        outcome, ending = ("aborted" if begun.ended_by == "abort" else "failed"), f"ended by {begun.ended_by}"
    elif begun.signal is not None:
        outcome, ending = "failed", f"killed by {begun.signal}"
    else:
        outcome, ending = ("succeeded" if begun.code == 0 else "failed"), f"exit code {begun.code}"
    return Step(
        name=begun.label or command_words(begun.name),
        text=begun.command if len(begun.command) <= COMMAND else f"{begun.command[:COMMAND]} …",
        part=_PHASES.get(phase, phase),
        outcome=outcome,
        ending=ending,
        duration=None if begun.is_skipped else duration,
        log_href=links.log(run.project, run.job, run.number, offset=begun.offset),
    )
