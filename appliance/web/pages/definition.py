"""The definition of a job as pages show it, and what became of it since a run was triggered with it (D3)."""

from __future__ import annotations

import json

from appliance.model import definitions
from appliance.model.schema import Command, JobDocument
from appliance.projects import RanWith
from appliance.web.pieces import Definition, Value

NAMED = 5  # changed keys that a sentence names


def shown(ran: RanWith) -> Definition:
    """For the page of a run."""
    return Definition(
        version=ran.version,
        since=_since(ran),
        commands=commands(definitions.job_of(ran.document)),
        text=json.dumps(ran.document, indent=2, ensure_ascii=False),
    )


def commands(document: JobDocument) -> tuple[Value, ...]:
    """The commands of a job in their order; the name says which part they belong to."""
    phases = (
        ("setup", document.definition.setup_commands),
        ("command", document.definition.commands),
        ("teardown", document.definition.teardown_commands),
    )
    return tuple(Value(part, _text(command)) for part, commands in phases for command in commands)


def _since(ran: RanWith) -> str:
    """What became of the job, in a sentence; empty if it is as it was."""
    if ran.in_force is None:
        return "The job was removed from the project files since."
    if ran.in_force == ran.version:
        return ""
    keys = [change.key for change in ran.changed]
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"The job has changed since: {', '.join(keys[:NAMED])}{more}."


def _text(command: str | list[str] | Command) -> str:
    run = command.run if isinstance(command, Command) else command
    return run if isinstance(run, str) else " ".join(run)
