"""``orchestra recovery``: what waits after a restore from a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals

if TYPE_CHECKING:
    from appliance.client import Document


@click.group(cls=Group, example="orchestra recovery show")
def recovery() -> None:
    """See what came back after a restore; release what waits."""


@recovery.command(example="orchestra recovery show")
@pass_globals
def show(options: Globals) -> None:
    """Which workers have reported what ran since the backup, and which are missing."""
    with options.client() as client:
        found = client.recovery()
    if options.as_json:
        output.write_json(found)
        return
    output.say(found["sentence"])
    rows = [(one["name"], one["merged_at"] or "not yet", _note(one)) for one in found["workers"]]
    if rows:
        output.table(("WORKER", "REPORTED", "NOTE"), rows)


@recovery.command(example="orchestra recovery release")
@pass_globals
def release(options: Globals) -> None:
    """Wait no longer for workers that have not reported.

    Runs that were waiting in the backup are given out. If a missing worker has executed one of them since the backup,
    it is executed again: release only when those workers will not be back, or have done nothing.
    """
    with options.client() as client:
        released = client.release_recovery()
    output.done(options.as_json, released, released["sentence"])


def _note(worker: Document) -> str:
    return str(worker["note"]) or ("" if worker["is_enabled"] else "disabled")
