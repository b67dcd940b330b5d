"""``orchestra db``: the database of the data directory, on the server's machine."""

from __future__ import annotations

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.local import build, opened


@click.group(cls=Group, example="orchestra --data /var/lib/orchestra db check")
def db() -> None:
    """Migrate or check the database, while the server is stopped."""


@db.command(example="orchestra --data /var/lib/orchestra db migrate --dry-run")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@pass_globals
def migrate(options: Globals, dry_run: bool) -> None:
    """Bring the schema up to date. The database is backed up beside it first."""
    from appliance.config import load_server

    steps = build(load_server(data=options.data)).migrate(dry_run=dry_run)
    if options.as_json:
        output.write_json({"steps": steps, "applied": not dry_run})
        return
    for step in steps:
        output.say(step)
    if not steps:
        output.notice("the schema is up to date")


@db.command(example="orchestra --data /var/lib/orchestra db check")
@pass_globals
def check(options: Globals) -> int:
    """Look for damage, while the server is stopped. The exit code is 1 if there is any."""
    with opened(options) as appliance:
        findings = appliance.repository.check()
    if options.as_json:
        output.write_json({"findings": findings})
    else:
        for finding in findings:
            output.say(finding)
        if not findings:
            output.notice("the database is well")
    return 1 if findings else 0
