"""``orchestra systemd``: server and workers as services of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.values import FILE, NETWORK, WORKER

if TYPE_CHECKING:
    from appliance.units import Plan


@click.group(cls=Group, example="orchestra systemd install")
def systemd() -> None:
    """Let systemd run the server or a worker."""


@systemd.command(example="orchestra systemd install --worker build-1 --strict")
@click.option("--worker", "name", metavar="NAME", type=WORKER, help="This worker, not the server.")
@click.option("--config", "file", type=FILE, metavar="FILE", help="Its settings, where they are elsewhere.")
@click.option("--strict", is_flag=True, help="A worker whose jobs are trusted less.")
@click.option(
    "--allow",
    metavar="ADDRESS",
    multiple=True,
    type=NETWORK,
    help="The server talks with this address or network and this machine only; localhost: with this machine.",
)
@click.option("--now", is_flag=True, help="Start it, too, or again.")
@click.option("--dry-run", is_flag=True, help="Only print the units.")
@pass_globals
def install(
    options: Globals,
    name: str | None,
    file: Path | None,
    strict: bool,
    allow: tuple[str, ...],
    now: bool,
    dry_run: bool,
) -> None:
    """Write hardened units for this program and its data directory, and an account for them.

    As root; safe to repeat, as after an upgrade. Settings of your own go into a drop-in (systemctl edit UNIT).
    """
    from appliance import units

    context = click.get_current_context()
    if name is None and strict:
        raise click.UsageError("--strict goes with --worker", context)
    if name is not None and allow:
        raise click.UsageError("--allow is for the server: leave --worker out", context)
    version = 0 if dry_run else units.check_machine()
    plan = _server(options, file, allow, version) if name is None else _worker(options, name, file, strict=strict)
    if dry_run:
        _show(options, plan)
        return
    done, following = _carry_out(plan, now=now)
    if options.as_json:
        output.write_json({"unit": plan.unit, "account": plan.account, "done": done, "next": following})
    else:
        output.say(f"next: {following}")


def run_worker(name: str, file: Path) -> str:
    """Make a unit of the worker that has joined with these settings, start it, and answer what to type next."""
    return _carry_out(_worker_plan(name, file, strict=False), now=True)[1]


def _carry_out(plan: Plan, *, now: bool) -> tuple[list[str], str]:
    """Install, start if wanted; what was done, and what to type next."""
    from appliance import units

    done = units.install(plan)
    for sentence in done or [f"{plan.unit} is installed already, and nothing was changed"]:
        output.notice(sentence)
    if not now:
        return done, f"systemctl start {plan.unit}"
    units.restart(plan)
    output.notice(f"{plan.unit} is running")
    return done, f"systemctl status {plan.unit}"


def _server(options: Globals, file: Path | None, allow: tuple[str, ...], version: int) -> Plan:
    from appliance.config import SERVER_FILE, data_directory, load_server
    from appliance.units import acting_as_owner, server_plan

    file = file or data_directory(options.data) / SERVER_FILE  # before we act as another, who has a home elsewhere
    with acting_as_owner(file):
        settings = load_server(file, data=options.data)
    assert settings.file is not None
    return server_plan(settings.file, settings.data.directory.resolve(), allow=allow, version=version)


def _worker(options: Globals, name: str, file: Path | None, *, strict: bool) -> Plan:
    from appliance.config import WORKER_FILE
    from appliance.units import worker_place

    return _worker_plan(name, file or (options.data or worker_place(name)) / WORKER_FILE, strict=strict)


def _worker_plan(name: str, file: Path, *, strict: bool) -> Plan:
    from appliance.config import load_worker
    from appliance.model.errors import Conflict
    from appliance.units import acting_as_owner, worker_plan

    with acting_as_owner(file):
        settings = load_worker(file)
    assert settings.file is not None
    if settings.worker.name not in ("", name):
        raise Conflict(f"{settings.file} is of the worker {settings.worker.name!r}, not of {name!r}: name that one")
    return worker_plan(name, settings.file, settings.worker.data.resolve(), strict=strict)


def _show(options: Globals, plan: Plan) -> None:
    from appliance.units import UNITS

    if options.as_json:
        output.write_json({"unit": plan.unit, "files": {str(UNITS / one.name): one.text for one in plan.files}})
        return
    for one in plan.files:
        output.say(f"# ---- {UNITS / one.name}")
        for line in one.text.splitlines():
            output.say(line)
