"""``orchestra config``: the project files."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals


@click.group(cls=Group)
def config() -> None:
    """Check project files."""


@config.command(example="orchestra config check projects/website.yaml")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@pass_globals
def check(options: Globals, paths: tuple[Path, ...]) -> int:
    """Read project files and say what is wrong with them, changing nothing.

    Without PATH: those of the data directory's orchestra.toml. The exit code is 1 if anything is wrong.
    """
    from appliance.clock import SystemClock
    from appliance.config import load_server
    from appliance.db.memory import MemoryRepository
    from appliance.events import Events
    from appliance.projects import Projects

    chosen = paths or load_server(data=options.data).projects.paths
    loaded = Projects(MemoryRepository(), SystemClock(), Events()).read(chosen)
    if options.as_json:
        names = ("file", "line", "subject", "sentence", "severity")
        output.write_json({"findings": [{name: getattr(one, name) for name in names} for one in loaded.findings]})
    else:
        for finding in loaded.findings:
            output.say(str(finding))
        if not loaded.findings:
            count = len(loaded.configuration.jobs)
            output.notice(f"nothing is wrong with {count} {'job' if count == 1 else 'jobs'}")
    return 1 if loaded.findings else 0
