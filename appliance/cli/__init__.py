"""The command line ``orchestra``: parses, calls a use case or the client, prints. One module per group of commands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from appliance import __version__
from appliance.cli import errors
from appliance.cli.base import Globals, LazyGroup


@click.command(
    cls=LazyGroup,
    commands={
        "init": ("appliance.cli.server:init", "Make a data directory for a new server."),
        "serve": ("appliance.cli.server:serve", "Run the server."),
        "demo": ("appliance.cli.demo:demo", "Try everything: a server, a worker and example jobs."),
        "db": ("appliance.cli.database:db", "Migrate or check the database."),
        "config": ("appliance.cli.config:config", "Check, compare and apply project files."),
        "worker": ("appliance.cli.workers:worker", "Run a worker; administer workers."),
        "trigger": ("appliance.cli.trigger:trigger", "Start a run of a job."),
        "run": ("appliance.cli.runs:run", "Look at runs, cancel and abort them."),
        "user": ("appliance.cli.users:user", "Administer users."),
        "token": ("appliance.cli.tokens:token", "Make and revoke your own tokens."),
    },
)
@click.version_option(__version__, message="orchestra %(version)s", help="Print the version.")
def root() -> None:
    """Orchestra Appliance: jobs on remote workers. To try it: orchestra demo"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and answer its exit code. Prints errors; raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no error
    try:
        result = root.main(
            args=None if arguments is None else list(arguments),
            prog_name="orchestra",
            standalone_mode=False,
            obj=Globals(),
        )
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
        return 1
    except BaseException as error:
        return errors.report(error)
    return result if isinstance(result, int) else 0


def _close_stdout() -> None:
    """Whoever read our output has gone; what is left of it must not fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
