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
    example="orchestra demo",
    commands={  # those with the same words share a line of the overview, which must fit a screen
        "init": ("appliance.cli.server:init", "Make a data directory for a new server; run the server."),
        "serve": ("appliance.cli.server:serve", "Make a data directory for a new server; run the server."),
        "demo": ("appliance.cli.demo:demo", "Try everything: a server, a worker and example jobs."),
        "crash-test": (
            "appliance.cli.crash_test:crash_test",
            "Kill servers and workers under load; see what is lost.",
        ),
        "db": ("appliance.cli.database:db", "Look after the database, and what a restore left."),
        "backup": ("appliance.cli.backup:backup", "Write everything to one file; put it back."),
        "restore": ("appliance.cli.backup:restore", "Write everything to one file; put it back."),
        "recovery": ("appliance.cli.recovery:recovery", "Look after the database, and what a restore left."),
        "config": ("appliance.cli.config:config", "Check, compare and apply project files."),
        "worker": ("appliance.cli.workers:worker", "Run and administer workers; leave running to systemd."),
        "systemd": ("appliance.cli.systemd:systemd", "Run and administer workers; leave running to systemd."),
        "trigger": ("appliance.cli.trigger:trigger", "Start a run of a job; look at runs, cancel and abort them."),
        "run": ("appliance.cli.runs:run", "Start a run of a job; look at runs, cancel and abort them."),
        "user": ("appliance.cli.users:user", "Administer users; make and revoke your own tokens."),
        "token": ("appliance.cli.tokens:token", "Administer users; make and revoke your own tokens."),
    },
)
@click.version_option(__version__, message="orchestra %(version)s", help="Print the version.")
def root() -> None:
    """Orchestra Appliance: jobs on remote workers."""


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
