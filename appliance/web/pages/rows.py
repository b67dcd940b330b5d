"""Things the appliance keeps become what pages show: rows, times for people, values as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.model.entities import Run
from appliance.model.run_state import LIVE, Status
from appliance.model.steps import Step as Begun
from appliance.web.pages import links
from appliance.web.pieces import RunRow, Step, Value, When

VALUES = 200  # values of one object that a page shows
VALUE_LIMIT = 20_000  # characters of one value
_LINK = re.compile(r"https?://[^\s<>\"'\\]{1,2000}(?!\n)$", re.ASCII | re.IGNORECASE)
_DEFAULTS = {
    Status.PENDING: "waits for a worker",
    Status.ASSIGNED: "was given to {worker}",
    Status.RUNNING: "runs on {worker}",
}
_COMMAND = re.compile(r"\b(?:setup_commands|commands|teardown_commands)\[[0-9]{1,4}\]", re.ASCII)
_PARTS = {"setup_commands": "setup", "commands": "command", "teardown_commands": "teardown"}


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


def run_row(run: Run, now: datetime) -> RunRow:
    """One run for a list or a heading."""
    is_live = run.status in LIVE
    began = run.started_at or run.assigned_at
    until = began or run.finished_at or (now if is_live else None)
    ended = run.finished_at or (now if is_live else None)
    sentence = _COMMAND.sub(lambda found: command_label(found[0]), run.sentence)
    sentence = sentence or _DEFAULTS.get(run.status, "").replace("{worker}", run.worker or "a worker")
    return RunRow(
        id=run.id,
        project=run.project,
        job=run.job,
        number=run.number,
        href=links.run(run.project, run.job, run.number),
        job_href=links.job(run.project, run.job),
        status=run.status.value,
        reason=run.reason.value if run.reason else "",
        sentence=sentence,
        source=run.source.user or run.source.type,
        via=run.source.via or "",
        worker=run.worker,
        created=when(run.created_at, now),
        finished=when(run.finished_at, now) if run.finished_at else None,
        queued=_seconds(run.created_at, until),
        duration=_seconds(began, ended),
        is_live=is_live,
        is_stopping=is_live and (run.should_abort or run.should_cancel),
    )


def run_rows(runs: Sequence[Run], now: datetime) -> tuple[RunRow, ...]:
    """Runs for a list, in the same order."""
    return tuple(run_row(run, now) for run in runs)


def values(given: Mapping[str, Any], hidden: frozenset[str] = frozenset()) -> tuple[Value, ...]:
    """Named values of any JSON; those in ``hidden`` (secret parameters) are not shown."""
    shown = [
        Value(name, "(secret)") if name in hidden else _value(name, value)
        for name, value in list(given.items())[:VALUES]
    ]
    if len(given) > VALUES:
        shown.append(Value("…", f"{len(given) - VALUES} more: ask the service for them"))
    return tuple(shown)


def command_label(name: str) -> str:
    """``commands[1]`` as people count: ``command 2``."""
    phase, _, index = name.partition("[")
    return f"{_PARTS.get(phase, phase)} {int(index[:-1]) + 1}" if index[:-1].isdigit() else name


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
        name=begun.label or command_label(begun.name),
        text=begun.command,
        part=_PARTS.get(phase, phase),
        outcome=outcome,
        ending=ending,
        duration=None if begun.is_skipped else duration,
        log_href=links.log(run.project, run.job, run.number, offset=begun.offset),
    )


def _value(name: str, value: Any) -> Value:
    if isinstance(value, str):
        text, is_block = value, "\n" in value or len(value) > 200
    else:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        is_block = "\n" in text
    href = text if isinstance(value, str) and _LINK.match(text) else None  # nothing but http and https (J40)
    if len(text) > VALUE_LIMIT:
        text, is_block = f"{text[:VALUE_LIMIT]}\n… {len(text) - VALUE_LIMIT} characters more", True
    return Value(name, text, href, is_block)


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else max(0.0, (until - since).total_seconds())
