"""``orchestra config``: the project files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.values import EXISTING
from appliance.model.errors import Invalid
from appliance.model.sizes import show_count

if TYPE_CHECKING:
    from appliance.projects import Loaded

SIGNS = {"added": "+", "removed": "-", "changed": "~"}
SHOWN = 80  # characters of a value

_paths = click.argument("paths", metavar="[PATH]...", nargs=-1, type=EXISTING)


@click.group(cls=Group, example="orchestra config check projects")
def config() -> None:
    """Check project files, compare them with what the server uses, and let it use them."""


@config.command(example="orchestra config schema > project.schema.json")
def schema() -> None:
    """Print the JSON Schema of project files, for editors and checkers."""
    from appliance.model.schema import json_schema

    output.write_json(json_schema())


@config.command(example="orchestra config check projects/website.yaml")
@_paths
@pass_globals
def check(options: Globals, paths: tuple[Path, ...]) -> int:
    """Read project files and say what is wrong with them, changing nothing.

    Without PATH: those of the data directory's orchestra.toml. The exit code is 1 if anything is wrong.
    """
    from appliance.config import load_server

    loaded = _read(paths or tuple(load_server(data=options.data).projects.paths))
    if options.as_json:
        output.write_json({"findings": _findings(loaded)})
    else:
        for finding in loaded.findings:
            output.say(str(finding))
        if not loaded.findings:
            count = len(loaded.configuration.jobs)
            output.notice(f"nothing is wrong with {count} {'job' if count == 1 else 'jobs'}")
    return 1 if loaded.findings else 0


@config.command(example="orchestra config diff projects")
@_paths
@pass_globals
def diff(options: Globals, paths: tuple[Path, ...]) -> int:
    """Say what would change at the server if these were all its project files.

    Without PATH: what 'config apply' would change, by the files as the server itself sees them. Changes nothing.
    """
    from appliance.configuration import refusal

    with options.client() as client:
        if not paths:
            try:
                answer = client.apply_configuration(dry_run=True)
            except Invalid as error:
                return _refused(options, error)
            changes, findings = answer["changes"], answer["findings"]
        else:
            loaded = _read(paths)
            if loaded.refusing:
                return _refused(options, refusal(loaded.refusing))
            changes, findings = _changes(client.configuration(), loaded), _findings(loaded)
    if options.as_json:
        output.write_json({"changes": changes, "findings": findings})
        return 0
    _say_changes(changes)
    if findings:
        output.notice(f"{show_count(len(findings), 'finding')}: see 'orchestra config check'")
    return 0


@config.command(example="orchestra config apply")
@click.option("--with-findings", is_flag=True, help="Also if something is wrong with single jobs; those are marked.")
@pass_globals
def apply(options: Globals, with_findings: bool) -> int:
    """Let the server read its project files again and put them in force, all or nothing.

    Runs go on with the definition they were triggered with; those that wait for a removed job are cancelled. If
    anything is wrong with the files, nothing is changed and the exit code is 1. Administrators only.
    """
    with options.client() as client:
        try:
            answer = client.apply_configuration(with_findings=with_findings)
        except Invalid as error:
            return _refused(options, error)
    if options.as_json:
        output.write_json(answer)
        return 0
    _say_changes(answer["changes"])
    if answer["cancelled"]:
        output.notice(f"{show_count(answer['cancelled'], 'waiting run')} of removed jobs cancelled")
    if answer["findings"]:
        output.notice(f"{show_count(len(answer['findings']), 'finding')}: see 'orchestra config check'")
    return 0


def _read(paths: tuple[Path, ...]) -> Loaded:
    from appliance.clock import SystemClock
    from appliance.db.memory import MemoryRepository
    from appliance.events import Events
    from appliance.projects import Projects

    return Projects(MemoryRepository(), SystemClock(), Events()).read(paths)


def _findings(loaded: Loaded) -> list[dict[str, Any]]:
    names = ("file", "line", "subject", "sentence", "severity")
    return [{name: getattr(one, name) for name in names} for one in loaded.findings]


def _changes(in_force: dict[str, Any], loaded: Loaded) -> list[dict[str, Any]]:
    """From what is in force to what was read, as the service tells it."""
    import msgspec

    from appliance.configuration import as_file
    from appliance.model.changes import changes

    found: list[dict[str, Any]] = msgspec.to_builtins(changes(in_force, as_file(loaded.configuration)))
    return found


def _refused(options: Globals, error: Invalid) -> int:
    """Tell each place that is wrong on a line of its own."""
    if options.as_json:
        output.write_json({"is_applied": False, "errors": error.errors})
    for place, text in error.errors.items():
        if not options.as_json:
            output.say(f"{place}: {text}" if place else text)
    output.notice(f"orchestra: {error}")
    return 1


def _say_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        output.say(f"{SIGNS[change['what']]} {change['kind']} {change['name']}")
        for key in change["keys"]:
            output.say(f"    {key['key']}: {_side(key, 'before')} -> {_side(key, 'after')}")
    if not changes:
        output.notice("nothing changes")


def _side(key: dict[str, Any], side: str) -> str:
    if side not in key:
        return "(none)"
    text = json.dumps(key[side], ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
