"""``orchestra worker``: run one on this machine, and administer all of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import output, systemd
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.credentials import check_private, read_token
from appliance.cli.draining import disconnect, drain
from appliance.cli.values import DIRECTORY, DURATION, FILE, URL, WORKER, Whole, pairs, worker_token
from appliance.model.errors import Conflict, Forbidden, Invalid
from appliance.model.matching import read_property
from appliance.model.sizes import show_bytes
from appliance.model.times import show_clock_offset

if TYPE_CHECKING:
    from appliance.worker.joining import Tried

PYTHON = "python3_executable"  # Job Orchestra's definitions name it, and are to run unchanged


@click.group(cls=Group, example="orchestra worker list")
def worker() -> None:
    """Run a worker; administer workers."""


@worker.command(example="orchestra worker token build-1 --property pool=linux")
@click.argument("name", type=WORKER)
@click.option("--property", "properties", metavar="KEY=VALUE", multiple=True, callback=pairs, help="Wins over its own.")
@pass_globals
def token(options: Globals, name: str, properties: dict[str, str]) -> None:
    """Make an account for a new worker and print, once, the line to type on its machine.

    A worker whose token was revoked gets a new one, and goes on with its runs.
    """
    with options.client() as client:
        made = client.create_worker(name, {key: read_property(text) for key, text in properties.items()})
    if options.as_json:
        output.write_json(made)
        return
    output.say(made["join"])
    output.notice("run this on the new machine within 24 hours; it is not shown again")


@worker.command("list", example="orchestra worker list")
@pass_globals
def list_workers(options: Globals) -> None:
    """All workers."""
    with options.client() as client:
        found = list(client.workers())
    if options.as_json:
        output.write_json({"items": found})
        return
    rows = [
        (
            one["name"],
            one["state"],
            f"{one['used']} of {one['slots']}",
            _load(one),
            _disk(one),
            one.get("version"),
            one.get("last_contact_at"),
        )
        for one in found
    ]
    output.table(("WORKER", "STATE", "SLOTS USED", "LOAD", "DISK FREE", "VERSION", "LAST CONTACT"), rows)


def _load(one: Mapping[str, Any]) -> str | None:
    return None if one.get("load") is None else f"{one['load']:.2f}"


def _disk(one: Mapping[str, Any]) -> str | None:
    return None if one.get("disk_free") is None else show_bytes(one["disk_free"])


@worker.command(example="orchestra worker show build-1")
@click.argument("name", type=WORKER)
@pass_globals
def show(options: Globals, name: str) -> None:
    """Everything about a worker."""
    with options.client() as client:
        found = client.worker(name)
    if options.as_json:
        output.write_json(found)
    else:
        off = show_clock_offset(found.get("clock_offset", 0.0))
        before = found.get("version_before")
        output.fields(
            {
                "worker": found["name"],
                "state": found["state"],
                "that means": found["sentence"],
                "runs left": found["left"] or None,
                "slots": f"{found['used']} of {found['slots']} in use",
                "load": _load(found),
                "disk free": _disk(found),
                "last contact": found.get("last_contact_at"),
                "clock": off and f"{off} the server's",
                "version": found.get("version"),
                "version before": before and f"{before}, until {found['version_since']}",
                "messages refused": found.get("refused") or None,
                "messages late": found.get("late") or None,
                "added by": found.get("owner"),
                "properties": found.get("properties"),
            }
        )


@worker.command(example="orchestra worker enable build-1")
@click.argument("name", type=WORKER)
@pass_globals
def enable(options: Globals, name: str) -> None:
    """Let a worker take runs again, whatever it was kept from: it was disabled, drained or disconnected."""
    with options.client() as client:
        changed = client.enable_worker(name, True)
    output.done(options.as_json, changed, f"{name} is enabled")


@worker.command(example="orchestra worker disable build-1")
@click.argument("name", type=WORKER)
@pass_globals
def disable(options: Globals, name: str) -> None:
    """Let a worker take no new runs. What it runs goes on."""
    with options.client() as client:
        changed = client.enable_worker(name, False)
    output.done(options.as_json, changed, f"{name} is disabled; what it runs goes on")


worker.add_command(drain)
worker.add_command(disconnect)


@worker.command(example="orchestra worker revoke build-1 --give-up")
@click.argument("name", type=WORKER)
@click.option("--abort-runs", "runs", flag_value="abort", help="Abort its runs when it is back with a new token.")
@click.option("--give-up", "runs", flag_value="give_up", help="End its runs as errored now, for good.")
@pass_globals
def revoke(options: Globals, name: str, runs: str | None) -> None:
    """Take a worker's token away: it is disconnected at once.

    Its jobs go on there, and are taken up again once it has a new token (orchestra worker token NAME).
    """
    with options.client() as client:
        found = client.revoke_worker(name, runs or "keep")
    if options.as_json:
        output.write_json(found)
    else:
        output.notice(f"{name}: {found['trouble']}")


@worker.command(example="orchestra worker remove build-1")
@click.argument("name", type=WORKER)
@pass_globals
def remove(options: Globals, name: str) -> None:
    """Delete a worker; its token stops working at once."""
    with options.client() as client:
        client.remove_worker(name)
    output.done(options.as_json, {"name": name}, f"{name} is removed")


@worker.command(example="orchestra worker join https://ci.example.org - --slots 4 < token.txt")
@click.argument("server", metavar="URL", type=URL)
@click.argument("token_text", metavar="TOKEN|-")
@click.option("--fingerprint", metavar="F", hidden=True)  # for servers with TLS of their own, which are to come
@click.option("--name", metavar="N", type=WORKER, help="Refuse a token of another worker.")
@click.option("--slots", type=Whole(1, 10_000), metavar="N", help="Runs at once; else 1.")
@click.option("--property", "properties", metavar="K=V", multiple=True, callback=pairs, help="What jobs can require.")
@click.option("--environment", metavar="K=V", multiple=True, callback=pairs, help="Given to every command.")
@click.option("--data", type=DIRECTORY, metavar="DIR", help="The worker's data directory.")
@click.option("--insecure-http", is_flag=True, help="Send the token over plain HTTP to another machine.")
@click.option("--systemd", "as_unit", is_flag=True, help="Let systemd run it, from now on (as root).")
@pass_globals
def join(
    options: Globals,
    server: str,
    token_text: str,
    fingerprint: str | None,
    name: str | None,
    slots: int | None,
    properties: dict[str, str],
    environment: dict[str, str],
    data: Path | None,
    insecure_http: bool,
    as_unit: bool,
) -> None:
    """Make this machine a worker.

    Tries URL and token (- asks for it, or takes it from stdin), stores them, and says what to do next. What the server
    refuses is not stored. Of a machine that has joined before, what is not named here stays as it is.
    """
    from appliance import units
    from appliance.client import Unreachable
    from appliance.clock import SystemClock
    from appliance.config import WORKER_FILE, worker_directory, write_worker_file
    from appliance.worker.joining import try_connection

    context = click.get_current_context()
    if as_unit:
        units.check_machine()  # before the token is used
    if fingerprint is not None:
        raise click.UsageError("--fingerprint is not supported by this version: leave it out", context)
    try:
        token = worker_token(read_token() if token_text == "-" else token_text.strip())  # noqa: S105 - a dash is none
    except Invalid as error:
        raise click.UsageError(f"TOKEN: {error}", context) from None
    check_private(server, "token", is_open_allowed=insecure_http)
    tried = try_connection(server, token, lambda: SystemClock().now().timestamp())
    if tried.is_refused:
        raise Forbidden(f"{tried.trouble}; nothing was stored")
    if tried.trouble and not tried.is_passing:
        raise Unreachable(f"{tried.trouble}; nothing was stored")
    if name and tried.name and name != tried.name:
        raise Conflict(f"this token belongs to the worker {tried.name!r}, not to {name!r}; nothing was stored")
    known_as = tried.name or name or ""
    if as_unit and not known_as:
        raise Unreachable(f"{tried.trouble}; nothing was stored: try again later, or name the worker with --name")
    directory = worker_directory(data or options.data or (units.worker_place(known_as) if as_unit else None))
    was_there = (directory / WORKER_FILE).exists()
    with units.acting_as_owner(directory):
        file = write_worker_file(
            directory,
            url=server,
            token=token,
            name=known_as,
            slots=slots,
            properties={key: read_property(text) for key, text in properties.items()},
            environment=environment if was_there else {PYTHON: sys.executable, **environment},
        )
    output.notice(f"changed {file}: what was not given stays as it was" if was_there else f"wrote {file}")
    start = "orchestra worker run" if file.parent == worker_directory() else f"orchestra worker run --config {file}"
    if as_unit:
        start = f"orchestra systemd install --worker {known_as} --config {file} --now"
    if tried.trouble:
        raise Unreachable(f"{tried.trouble}; everything is stored: run this again to try, or {start!r} to go on trying")
    output.notice(f"the server knows this worker as {known_as}")
    _warn(tried)
    if as_unit:
        start = systemd.run_worker(known_as, file)
    if options.as_json:
        offset = tried.clock_offset
        output.write_json(
            {"name": tried.name, "file": str(file), "next": start, "enabled": tried.is_enabled, "clock_offset": offset}
        )
    else:
        output.say(f"next: {start}")


def _warn(tried: Tried) -> None:
    """Of what does not keep the worker from connecting, and will surprise somebody later."""
    if not tried.is_enabled:
        output.notice(
            f"but it is disabled and will get no runs: 'orchestra worker enable {tried.name}', as an administrator"
        )
    if tried.is_clock_off:
        assert tried.clock_offset is not None
        output.notice(
            f"the clock of this machine is {show_clock_offset(tried.clock_offset)} the server's: "
            "set the wrong one right ('date -u' shows it), or times in logs will mislead"
        )


@worker.command("run", example="orchestra worker run --idle-exit 10m")
@click.option("--config", "file", type=FILE, metavar="FILE", help="Its worker.toml.")
@click.option("--once", is_flag=True, help="End after one run.")
@click.option("--idle-exit", type=DURATION, help="End after so long without a run, such as 10m.")
@pass_globals
def run_worker(options: Globals, file: Path | None, once: bool, idle_exit: float | None) -> int:
    """Run the worker until it is told to stop. Its runs survive that, and are taken up again at the next start."""
    from appliance.config import WORKER_FILE, load_worker
    from appliance.worker import app

    if file is None and options.data is not None:
        file = options.data / WORKER_FILE
    return app.run_worker(load_worker(file), once=once, idle_exit=idle_exit)
