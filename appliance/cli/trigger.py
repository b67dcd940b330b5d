"""``orchestra trigger``: start a run, and watch it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.values import JOB, KEY, pairs
from appliance.model.run_state import TERMINAL

if TYPE_CHECKING:
    from appliance.client import Client, Document


@click.command(cls=Command, example="orchestra trigger website/test -p branch=main --follow")
@click.argument("job", metavar="PROJECT/JOB", type=JOB)
@click.option("-p", "--parameter", "given", metavar="KEY=VALUE", multiple=True, callback=pairs, help="A parameter.")
@click.option("--follow", is_flag=True, help="Show its log until it ends.")
@click.option("--wait", is_flag=True, help="Wait until it ends.")
@click.option("--key", type=KEY, help="Repeating the command with the same key starts nothing new.")
@click.option("--raw", is_flag=True, help="With --follow: the log's exact bytes, even on a terminal.")
@pass_globals
def trigger(
    options: Globals, job: tuple[str, str], given: dict[str, str], follow: bool, wait: bool, key: str | None, raw: bool
) -> int:
    """Start a run of a job and print its name, project/job#number.

    With --follow or --wait the exit code is 0 only if the run succeeded; --follow prints the name on stderr, so that
    stdout is the log. While the run waits, stderr says why. Ctrl-C stops watching; the run goes on.
    """
    if raw and (not follow or options.as_json):
        raise click.UsageError("--raw goes with --follow, and not with --json", click.get_current_context())
    with options.client() as client:
        parameters = typed(client, *job, given) if given else {}
        run = client.trigger(*job, parameters, key=key)
        if follow:
            if options.as_json:
                output.write_json_line({"run": run})
            else:
                output.notice(run_name(run))
            return watch(client, run, raw=raw, as_json=options.as_json)
        if not options.as_json:
            output.say(run_name(run))
            sys.stdout.flush()
        if wait:
            try:
                run = client.wait(run["id"], Waiting())
            except KeyboardInterrupt:
                output.notice(f"no longer waiting; {run_name(run)} goes on")
                raise
        if options.as_json:
            output.write_json(run)
        elif wait:
            output.notice(outcome(run))
    return exit_code(run) if wait else 0


def typed(client: Client, project: str, job: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The values that a command line means, by the types that the job declares. Raises Invalid."""
    import msgspec

    from appliance.model.definitions import Parameter
    from appliance.model.parameters import from_text

    declared = msgspec.convert(client.job(project, job).get("parameters") or [], tuple[Parameter, ...])
    return from_text(declared, dict(given))


def watch(client: Client, run: Document, *, raw: bool = False, as_json: bool = False) -> int:
    """Show the log of a run as it grows, then how it ended; answers the exit code.

    ``as_json``: a line ``{"offset": ..., "text": ...}`` for each piece, then ``{"run": ...}``.
    """
    content = client.follow_log(run["id"], seen=Waiting())
    try:
        if as_json:
            for offset, text in output.text_pieces(content):
                output.write_json_line({"offset": offset, "text": text})
        else:
            output.write_log(content, is_raw=raw)
    except KeyboardInterrupt:
        output.notice(f"no longer following; {run_name(run)} goes on")
        raise
    ended = client.run(run["id"])
    if as_json:
        output.write_json_line({"run": ended})
    else:
        output.notice(outcome(ended))
    return exit_code(ended)


class Waiting:
    """Says on stderr why a run does not go on: once, and again when something but a number in it has changed.

    Not at the first look, which comes right after the trigger, when every run waits for a moment.
    """

    def __init__(self) -> None:
        self._told: str | None = None

    def __call__(self, run: Document) -> None:
        if self._told is None:
            self._told = ""
            return
        why = str(run.get("waits") or "")
        told = re.sub("[0-9]+", "", why)  # a worker that is silent is so for longer each time
        if told != self._told and run["status"] not in TERMINAL:
            output.notice(f"{run_name(run)}: {why or 'goes on'}")
        self._told = told


def run_name(run: Document) -> str:
    """``project/job#7``."""
    return f"{run['project']}/{run['job']}#{run['number']}"


def outcome(run: Document) -> str:
    """The one sentence about a run: its name, status, and why."""
    why = run.get("sentence")
    return f"{run_name(run)} {run['status']}" + (f": {why}" if why else "")


def exit_code(run: Document) -> int:
    """0 if the run succeeded, else 1."""
    return 0 if run["status"] == "succeeded" else 1
