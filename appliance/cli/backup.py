"""``orchestra backup`` and ``orchestra restore``: the whole appliance in one file, and back."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.local import build
from appliance.cli.values import EXISTING_FILE, FILE
from appliance.model.errors import Invalid
from appliance.model.sizes import show_bytes
from appliance.model.times import rfc3339

if TYPE_CHECKING:
    from appliance.backup import Manifest

SHOWN = 20  # findings that are printed
_EVERY = 2.0  # seconds between two lines of progress


class Ticker:
    """Says now and then how far it is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + _EVERY

    def __call__(self, logs: int, size: int) -> None:
        """Told of each log."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            output.notice(f"{self._what}: {logs:,} logs, {show_bytes(size)} so far")


@click.command(cls=Command, example="orchestra --data /var/lib/orchestra backup /backups/monday.tar.gz --verify")
@click.argument("file", type=FILE)
@click.option("--verify", is_flag=True, help="Then try to restore it, beside the data.")
@pass_globals
def backup(options: Globals, file: Path, verify: bool) -> int:
    """Write database, logs, settings and project files to FILE.

    The server may run. FILE is gzipped if it ends in .gz or .tgz. The master key is not in it: keep the copy from init
    apart. The exit code is 1 if a log is not what the database says, or a project file could not be copied.
    """
    from appliance import backup as parts
    from appliance.config import load_server

    appliance = build(load_server(data=options.data))
    made = parts.back_up(appliance, file, Ticker("copying"))
    findings = list(made.findings)
    if verify:
        _, tried = parts.verify(file, appliance.directory, Ticker("trying a restore"))
        findings += [one for one in tried if one not in findings]
    if options.as_json:
        output.write_json({"file": str(file), "size": made.size, **_shown(made.manifest), "findings": findings})
        return 1 if findings else 0
    _tell(findings)
    output.say(f"wrote {file}: {_content(made.manifest)}, {show_bytes(made.size)}")
    if verify:
        output.say("the restore was tried: " + ("it works" if not findings else "it works, with the findings above"))
    return 1 if findings else 0


@click.command(cls=Command, example="orchestra --data /var/lib/orchestra restore /backups/monday.tar.gz")
@click.argument("file", type=EXISTING_FILE)
@click.option("--master-key-stdin", is_flag=True, help="The key from init, for a directory that has none.")
@pass_globals
def restore(options: Globals, file: Path, master_key_stdin: bool) -> None:
    """Put the backup FILE back, while the server is stopped.

    What was there is moved aside, never deleted. When the server starts, workers report the runs that have ended since.
    """
    from appliance import backup as parts
    from appliance.clock import SystemClock
    from appliance.config import data_directory

    key = _read_key() if master_key_stdin else None
    done = parts.restore(file, data_directory(options.data), SystemClock(), Ticker("restoring"), key)
    if options.as_json:
        aside = str(done.aside) if done.aside else None
        output.write_json(
            {"directory": str(done.directory), "aside": aside, **_shown(done.manifest), "findings": [*done.findings]}
        )
        return
    _tell(done.findings)
    at = f"{done.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    output.say(f"restored {done.directory} as of {at}: {_content(done.manifest)}")
    if done.aside:
        output.say(f"what was there before is in {done.aside}")
    output.say("next: start the server; 'orchestra recovery show' says which workers have reported what ran since")


def _read_key() -> bytes:
    digits = sys.stdin.readline(200).strip()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise Invalid("what came from stdin is no master key: it has 64 hexadecimal digits, as init printed them")
    return bytes.fromhex(digits)


def _content(manifest: Manifest) -> str:
    return f"{manifest.runs:,} runs, {manifest.logs:,} logs of {show_bytes(manifest.log_bytes)}"


def _shown(manifest: Manifest) -> dict[str, object]:
    return {
        "created_at": rfc3339(manifest.created_at),
        "runs": manifest.runs,
        "logs": manifest.logs,
        "log_bytes": manifest.log_bytes,
    }


def _tell(findings: list[str] | tuple[str, ...]) -> None:
    for finding in findings[:SHOWN]:
        output.notice(finding)
    if len(findings) > SHOWN:
        output.notice(f"and {len(findings) - SHOWN} more; --json lists them")
