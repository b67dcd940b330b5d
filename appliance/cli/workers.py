"""``orchestra worker``: run one on this machine, and administer all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pairs, pass_globals
from appliance.cli.credentials import check_private, read_token
from appliance.model.errors import Conflict, Forbidden
from appliance.model.matching import read_property

PYTHON = "python3_executable"  # Job Orchestra's definitions name it, and are to run unchanged


@click.group(cls=Group)
def worker() -> None:
    """Run a worker; administer workers."""


@worker.command(example="orchestra worker token build-1 --property pool=linux")
@click.argument("name")
@click.option("--property", "properties", metavar="KEY=VALUE", multiple=True, callback=pairs, help="Wins over its own.")
@pass_globals
def token(options: Globals, name: str, properties: dict[str, str]) -> None:
    """Make an account for a new worker and print, once, the line to type on its machine."""
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
            "connected" if one["is_active"] else "away",
            one["is_enabled"],
            f"{one['used']} of {one['slots']}",
            one.get("last_contact_at"),
        )
        for one in found
    ]
    output.table(("WORKER", "STATE", "ENABLED", "SLOTS USED", "LAST CONTACT"), rows)


@worker.command(example="orchestra worker show build-1")
@click.argument("name")
@pass_globals
def show(options: Globals, name: str) -> None:
    """Everything about a worker."""
    with options.client() as client:
        found = client.worker(name)
    if options.as_json:
        output.write_json(found)
    else:
        output.fields(found)


@worker.command(example="orchestra worker enable build-1")
@click.argument("name")
@pass_globals
def enable(options: Globals, name: str) -> None:
    """Let a worker take runs again."""
    with options.client() as client:
        client.enable_worker(name, True)
    output.notice(f"{name} is enabled")


@worker.command(example="orchestra worker disable build-1")
@click.argument("name")
@pass_globals
def disable(options: Globals, name: str) -> None:
    """Let a worker take no new runs. What it runs goes on."""
    with options.client() as client:
        client.enable_worker(name, False)
    output.notice(f"{name} is disabled; what it runs goes on")


@worker.command(example="orchestra worker remove build-1")
@click.argument("name")
@pass_globals
def remove(options: Globals, name: str) -> None:
    """Delete a worker; its token stops working at once."""
    with options.client() as client:
        client.remove_worker(name)
    output.notice(f"{name} is removed")


@worker.command(example="orchestra worker join https://ci.example.org - --slots 4 < token.txt")
@click.argument("server", metavar="URL")
@click.argument("token_text", metavar="TOKEN|-")
@click.option("--fingerprint", metavar="F", help="SHA-256 of the server's certificate, as in the join line.")
@click.option("--name", metavar="N", default="", help="Refuse a token of another worker.")
@click.option("--slots", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many runs at once.")
@click.option("--property", "properties", metavar="K=V", multiple=True, callback=pairs, help="What jobs can require.")
@click.option("--environment", metavar="K=V", multiple=True, callback=pairs, help="Given to every command.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="The worker's data directory.")
@click.option("--insecure-http", is_flag=True, help="Send the token over plain HTTP to another machine.")
@pass_globals
def join(
    options: Globals,
    server: str,
    token_text: str,
    fingerprint: str | None,
    name: str,
    slots: int,
    properties: dict[str, str],
    environment: dict[str, str],
    data: Path | None,
    insecure_http: bool,
) -> None:
    """Make this machine a worker.

    Tries URL and token (- asks for it, or takes it from stdin), stores them, and says what to do next. What the server
    refuses is not stored.
    """
    from appliance.client import Unreachable
    from appliance.config import worker_directory, write_worker_file
    from appliance.settings_text import as_url
    from appliance.worker.app import try_connection

    check_private(server, "token", is_open_allowed=insecure_http)
    url = as_url(server)
    token = read_token() if token_text == "-" else token_text.strip()  # noqa: S105 - a dash is no token
    tried = try_connection(url, token)
    if tried.trouble and not tried.is_unreachable:
        raise Forbidden(f"the server does not take this worker: {tried.trouble}; nothing was stored")
    if name and tried.name and name != tried.name:
        raise Conflict(f"this token belongs to the worker {tried.name!r}, not to {name!r}; nothing was stored")
    given = data or options.data
    file = write_worker_file(
        worker_directory(given),
        url=url,
        token=token,
        name=tried.name or name,
        slots=slots,
        properties={key: read_property(text) for key, text in properties.items()},
        environment={PYTHON: sys.executable, **environment},
        fingerprint=fingerprint,
    )
    output.notice(f"wrote {file}")
    start = "orchestra worker run" if file.parent == worker_directory() else f"orchestra worker run --config {file}"
    if tried.trouble:
        raise Unreachable(f"{tried.trouble}; everything is stored: run this again to try, or {start!r} to go on trying")
    output.notice(f"the server knows this worker as {tried.name or name}")
    output.say(f"next: {start}")


@worker.command("run", example="orchestra worker run --idle-exit 10m")
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Its worker.toml.")
@click.option("--once", is_flag=True, help="End after one run.")
@click.option("--idle-exit", metavar="TIME", help="End after so long without a run, such as 10m.")
@pass_globals
def run_worker(options: Globals, file: Path | None, once: bool, idle_exit: str | None) -> int:
    """Run the worker until it is told to stop. Its runs survive that, and are taken up again at the next start."""
    from appliance.config import WORKER_FILE, load_worker
    from appliance.model.times import parse_duration
    from appliance.worker import app

    if file is None and options.data is not None:
        file = options.data / WORKER_FILE
    idle = None if idle_exit is None else parse_duration(idle_exit)
    return app.run_worker(load_worker(file), once=once, idle_exit=idle)
