"""``orchestra run``: look at runs, read their logs and results, cancel and abort them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.trigger import Waiting, exit_code, outcome, run_name, watch
from appliance.cli.values import RUN, TIME, Whole
from appliance.model.positions import command_words
from appliance.model.run_state import Status

if TYPE_CHECKING:
    from appliance.client import Client, Document

STATUSES = tuple(status.value for status in Status)


@click.group(cls=Group, example="orchestra run show website/test#7")
def run() -> None:
    """Look at runs, cancel and abort them.

    RUN is project/job#7, project/job#latest, project/job#last-success, or an id.
    """


@run.command("list", example="orchestra run list --project website --status failed")
@click.option("--project", multiple=True, metavar="NAME", help="Of this project; may be repeated, as may all filters.")
@click.option("--job", multiple=True, metavar="NAME", help="Of this job.")
@click.option("--worker", multiple=True, metavar="NAME", help="On this worker.")
@click.option("--status", multiple=True, metavar="STATUS", type=click.Choice(STATUSES), help="In this status.")
@click.option("--source", multiple=True, metavar="TYPE", help="Started by: user, schedule, controller ...")
@click.option("--since", type=TIME, help="Created at or after, such as 2026-01-31T09:15:00Z.")
@click.option("--until", type=TIME, help="Created before.")
@click.option("--limit", type=Whole(1, 100_000), metavar="N", default=20, show_default=True, help="At most so many.")
@pass_globals
def list_runs(
    options: Globals,
    project: tuple[str, ...],
    job: tuple[str, ...],
    worker: tuple[str, ...],
    status: tuple[str, ...],
    source: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """Runs, newest first. Why one waits is not looked up for lists: 'orchestra run why' says it."""
    with options.client() as client:
        found = client.runs(
            limit=limit,
            project=project,
            job=job,
            worker=worker,
            status=status,
            source=source,
            since=since,
            until=until,
        )
        if options.as_json:
            output.write_json({"items": list(found)})
            return
        rows = [(run_name(one), one["status"], one["worker"], one["created_at"], one.get("sentence")) for one in found]
    output.table(("RUN", "STATUS", "WORKER", "CREATED", "WHY"), rows)
    if not rows:
        output.notice("there are no such runs")


@run.command(example="orchestra run show website/test#latest")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def show(options: Globals, name: str) -> None:
    """Everything about a run."""
    with options.client() as client:
        found = client.named_run(name)
    if options.as_json:
        output.write_json(found)
        return
    ending = found.get("exit") or {}
    log = found.get("log") or {}
    output.fields(
        {
            "run": run_name(found),
            "id": found["id"],
            "status": found["status"],
            "why": found.get("sentence") or found.get("waits"),
            "notes": "; ".join(found.get("notes") or []),
            "command": command_words(ending.get("command") or ""),
            "exit code": ending.get("code"),
            "signal": ending.get("signal"),
            "definition": found.get("definition_version"),
            "parameters": found.get("parameters"),
            "source": _source(found.get("source") or {}),
            "worker": found.get("worker"),
            "created": found.get("created_at"),
            "started": found.get("started_at"),
            "finished": found.get("finished_at"),
            "log": f"{log.get('size', 0)} bytes, {_receipt(log)}" if log.get("size") or log.get("complete") else None,
            "log sha256": log.get("sha256"),
        }
    )


def _source(source: Document) -> str:
    """Who or what triggered the run, and how: ``ana (website)``, ``bot (service, with a token)``, ``schedule``."""
    who = str(source.get("user") or source.get("type") or "")
    how = ", ".join(filter(None, (source.get("via"), "with a token" if source.get("token_id") else None)))
    return f"{who} ({how})" if how else who


def _receipt(log: Document) -> str:
    if not log.get("complete"):
        return "not complete"
    return "complete and verified" if log.get("verified") else "complete"


@run.command(example="orchestra run why website/test#latest")
@click.argument("name", metavar="RUN", type=RUN)
@click.option(
    "--limit", type=Whole(1, 1000), metavar="N", default=20, show_default=True, help="So many workers at most."
)
@pass_globals
def why(options: Globals, name: str, limit: int) -> None:
    """Why a run waits, and how each worker stands to it: those that come nearest to having it are first."""
    with options.client() as client:
        found = client.why(client.named_run(name)["id"], limit=limit)
    if options.as_json:
        output.write_json(found)
        return
    place = f"number {found['position']} of {found['waiting']}" if found["position"] else None
    output.fields({"run": run_name(found), "status": found["status"], "why": found["sentence"], "queue": place})
    count = sum(found["workers"].values())
    if found["needs"]:
        output.say("")
        output.table(("NEEDS", "MET BY"), [(one["needs"], f"{one['met_by']} of {count}") for one in found["needs"]])
    if found["items"]:
        output.say("")
        output.table(
            ("WORKER", "STATE", "WHY"), [(one["worker"], one["state"], one["sentence"]) for one in found["items"]]
        )
    if count > len(found["items"]):
        output.notice(f"{count - len(found['items'])} more workers; see them with --limit {min(count, 1000)}")


@run.command(example="orchestra run log website/test#latest --follow")
@click.argument("name", metavar="RUN", type=RUN)
@click.option("--follow", is_flag=True, help="Go on until the run ends; exit code as with trigger --follow.")
@click.option("--raw", is_flag=True, help="The exact bytes even on a terminal, where they can do what they like to it.")
@pass_globals
def log(options: Globals, name: str, follow: bool, raw: bool) -> int:
    """The log of a run on stdout.

    A file or a pipe gets its exact bytes. On a terminal control characters are made visible, unless --raw. With --json
    what is no UTF-8 becomes U+FFFD; with --follow, too, each piece is a JSON document on a line.
    """
    if raw and options.as_json:
        raise click.UsageError("--raw and --json contradict each other", click.get_current_context())
    with options.client() as client:
        found = client.named_run(name)
        if follow:
            return watch(client, found, raw=raw, as_json=options.as_json)
        content = _whole_log(client, found["id"])
        if options.as_json:
            output.write_json_log(found, content)
        else:
            output.write_log(content, is_raw=raw)
    return 0


def _whole_log(client: Client, run_id: str) -> Iterator[bytes]:
    """The log as long as it was at the first look, so that reading one that grows comes to an end."""
    offset, size = 0, None
    while size is None or offset < size:
        part = client.log(run_id, offset)
        size = part.size if size is None else size
        content = part.content[: size - offset]
        if not content:
            return
        yield content
        offset += len(content)


@run.command(example="orchestra run results website/test#latest")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def results(options: Globals, name: str) -> None:
    """The results of a run, as JSON."""
    with options.client() as client:
        output.write_json(client.results(client.named_run(name)["id"]))


@run.command(example="orchestra run wait website/test#latest")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def wait(options: Globals, name: str) -> int:
    """Wait until a run has ended. The exit code is 0 only if it succeeded."""
    with options.client() as client:
        ended = client.wait(client.named_run(name)["id"], Waiting())
    if options.as_json:
        output.write_json(ended)
    else:
        output.say(outcome(ended))
    return exit_code(ended)


@run.command(example="orchestra run cancel website/test#7")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def cancel(options: Globals, name: str) -> None:
    """See to it that a run that has not begun never does."""
    with options.client() as client:
        _tell(options, client.cancel(client.named_run(name)["id"]))


@run.command(example="orchestra run abort website/test#7")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def abort(options: Globals, name: str) -> None:
    """End a run that runs, with all its processes."""
    with options.client() as client:
        _tell(options, client.abort(client.named_run(name)["id"]))


@run.command("declare-lost", example="orchestra run declare-lost website/test#7")
@click.argument("name", metavar="RUN", type=RUN)
@pass_globals
def declare_lost(options: Globals, name: str) -> None:
    """Give up a run whose worker is away and will not be back.

    It ends as errored, for good. What the worker reports later is kept beside it.
    """
    with options.client() as client:
        ended = client.declare_lost(client.named_run(name)["id"])
    if options.as_json:
        output.write_json(ended)
    else:
        output.say(f"{run_name(ended)}: {ended['sentence']}")


def _tell(options: Globals, answer: Document) -> None:
    if options.as_json:
        output.write_json(answer)
    else:
        output.say(str(answer["message"]))
