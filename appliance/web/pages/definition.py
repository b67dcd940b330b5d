"""The definition of a job as pages show it, and what became of it since a run was triggered with it (D3)."""

from __future__ import annotations

import json

from appliance.model import definitions
from appliance.model.entities import Run
from appliance.model.errors import NotFound
from appliance.model.schema import Command, JobDocument
from appliance.projects import RanWith
from appliance.web.pages import links
from appliance.web.pieces import Definition, Value
from appliance.web.routes import Parts

NAMED = 5  # changed keys that a sentence names
COMMANDS = 100  # commands of a definition that a page lists
COMMAND = 4_000  # characters of one
LONG = 300  # characters above which one is folded
TEXT = 50_000  # characters of the document


GONE = "It is not known any more: the run came back from its worker after a restore from an older backup."


def of(run: Run, parts: Parts) -> RanWith | None:
    """The definition of a run; None when a backup that was restored does not hold it (F24)."""
    try:
        return parts.projects.ran_with(run)
    except NotFound:
        return None


def shown(ran: RanWith | None, run: Run) -> Definition:
    """For the page of a run."""
    raw_href = links.definition(run.id)
    if ran is None:
        return Definition(run.definition_version, GONE, commands=(), text="", more=0, raw_href=raw_href)
    text = json.dumps(ran.document, indent=2, ensure_ascii=False)
    listed, more = commands(definitions.job_of(ran.document))
    return Definition(
        version=ran.version,
        since=f"{since} This run keeps the version it was triggered with." if (since := _since(ran)) else "",
        commands=listed,
        text=text if len(text) <= TEXT else f"{text[:TEXT]}\n… {len(text) - TEXT} characters more",
        more=more,
        raw_href=raw_href,
    )


def commands(document: JobDocument) -> tuple[tuple[Value, ...], int]:
    """The commands of a job in their order, and how many more it has; the name says which part they belong to."""
    phases = (
        ("setup", document.definition.setup_commands),
        ("command", document.definition.commands),
        ("teardown", document.definition.teardown_commands),
    )
    every = [(part, command) for part, commands in phases for command in commands]
    texts = [(part, _text(command)) for part, command in every[:COMMANDS]]
    return tuple(Value(part, text, is_block=_is_long(text)) for part, text in texts), max(0, len(every) - COMMANDS)


def _since(ran: RanWith) -> str:
    """What became of the job, in a sentence; empty if it is as it was."""
    if ran.in_force is None:
        return "The job was removed from the project files since."
    if ran.in_force == ran.version:
        return ""
    keys = [change.key for change in ran.changed]
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"The job has changed since: {', '.join(keys[:NAMED])}{more}."


def _is_long(text: str) -> bool:
    return len(text) > LONG or text.count("\n") > 2


def _text(command: str | list[str] | Command) -> str:
    run = command.run if isinstance(command, Command) else command
    text = run if isinstance(run, str) else " ".join(run)
    return text if len(text) <= COMMAND else f"{text[:COMMAND]} …"
