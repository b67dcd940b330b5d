"""The one place where errors become a line on stderr and an exit code (contract.md section 2)."""

from __future__ import annotations

import sys
import traceback

import click

from appliance.cli.output import escape
from appliance.model.errors import ApplianceError, Forbidden, Invalid, NotFound, Unauthenticated, Unusable

OK, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, UNREACHABLE, CONFIGURATION = 0, 1, 2, 3, 4, 5, 78
INTERRUPTED = 130  # as shells say it of a command ended by Ctrl-C


def report(error: BaseException) -> int:
    """Tell the error in one line, and answer the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else (OK if error.code is None else FAILED)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)  # the help itself, as it is meant to be read
        return USAGE
    code, text = _meaning(error)
    print(f"orchestra: {escape(' '.join(text.split()))}", file=sys.stderr)
    return code


def _meaning(error: BaseException) -> tuple[int, str]:
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "orchestra"
        text = error.format_message().rstrip(".")
        return USAGE, f"{text}{' See' if text.endswith('?') else '; see'} {command} --help"
    if isinstance(error, click.ClickException):
        return FAILED, error.format_message()
    from appliance.client import Unreachable
    from appliance.config import ConfigurationError

    if isinstance(error, ConfigurationError | Unusable):
        return CONFIGURATION, str(error)
    if isinstance(error, Unreachable):
        return UNREACHABLE, str(error)
    if isinstance(error, NotFound):
        return NOT_FOUND, str(error)
    if isinstance(error, Unauthenticated):
        return NOT_ALLOWED, f"{error}: run 'orchestra token create --user NAME', or set ORCHESTRA_TOKEN"
    if isinstance(error, Forbidden):
        return NOT_ALLOWED, str(error)
    if isinstance(error, Invalid):
        return FAILED, "; ".join([str(error), *_fields(error)])
    if isinstance(error, ApplianceError):
        return FAILED, str(error)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return FAILED, f"{name}{error.strerror or error}"
    if isinstance(error, ImportError) and "executable stack" in str(error):
        allowed = "MemoryDenyWriteExecute=no in a drop-in of its unit (systemctl edit)"
        return (
            CONFIGURATION,
            f"this interpreter needs memory that is written and executed: {error}; allow it with {allowed}",
        )
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return FAILED, f"a bug of ours, please report it: {type(error).__name__} at {place}: {error}"


def _fields(error: Invalid) -> list[str]:
    """What is wrong with each field, unless the sentence says it already."""
    return [f"{field}: {text}" if field else text for field, text in error.errors.items() if text not in str(error)]
