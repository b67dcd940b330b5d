"""``orchestra trigger``: start a run, and watch it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pairs, pass_globals

if TYPE_CHECKING:
    from appliance.client import Client, Document


@click.command(cls=Command, example="orchestra trigger website/test -p branch=main --follow")
@click.argument("job", metavar="PROJECT/JOB")
@click.option("-p", "--parameter", "given", metavar="KEY=VALUE", multiple=True, callback=pairs, help="A parameter.")
@click.option("--follow", is_flag=True, help="Show its log until it ends.")
@click.option("--wait", is_flag=True, help="Wait until it ends.")
@click.option("--key", metavar="KEY", help="Repeating the command with the same key starts nothing new.")
@click.option("--raw", is_flag=True, help="With --follow: the log's exact bytes, even on a terminal.")
@pass_globals
def trigger(
    options: Globals, job: str, given: dict[str, str], follow: bool, wait: bool, key: str | None, raw: bool
) -> int:
    """Start a run of a job and print its name, project/job#number.

    With --follow or --wait the exit code is 0 only if the run succeeded; --follow prints the name on stderr, so that
    stdout is the log. Ctrl-C stops watching; the run goes on.
    """
    project, mark, name = job.partition("/")
    if not mark or not project or not name or "/" in name or "#" in name:
        raise click.UsageError(f"{job!r} is not PROJECT/JOB", click.get_current_context())
    if follow and options.as_json:
        raise click.UsageError("--follow and --json do not go together; use --wait", click.get_current_context())
    with options.client() as client:
        parameters = typed(client, project, name, given) if given else {}
        started = client.trigger(project, name, parameters, key=key)
        if follow:
            output.notice(run_name(started))
            return watch(client, started, raw=raw)
        if not options.as_json:
            output.say(run_name(started))
            sys.stdout.flush()
        run = started
        if wait:
            try:
                run = client.wait(started["id"])
            except KeyboardInterrupt:
                output.notice(f"no longer waiting; {run_name(started)} goes on")
                raise
        if options.as_json:
            output.write_json(run)
    return exit_code(run) if wait else 0


def typed(client: Client, project: str, job: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The values that a command line means, by the types that the job declares. Raises Invalid."""
    import msgspec

    from appliance.model.definitions import Parameter
    from appliance.model.parameters import from_text

    declared = msgspec.convert(client.job(project, job).get("parameters") or [], tuple[Parameter, ...])
    return from_text(declared, dict(given))


def watch(client: Client, run: Document, *, raw: bool) -> int:
    """Show the log of a run as it grows, then how it ended; answers the exit code."""
    try:
        output.write_log(client.follow_log(run["id"]), is_raw=raw)
    except KeyboardInterrupt:
        output.notice(f"no longer following; {run_name(run)} goes on")
        raise
    ended = client.run(run["id"])
    output.notice(outcome(ended))
    return exit_code(ended)


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
