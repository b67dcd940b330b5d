"""What may stand on a command line. Each value is read before anything is done; a bad one is exit code 2."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.model.errors import Invalid, Unauthenticated
from appliance.model.names import check_key, check_name

_LONGEST = 3650 * 86_400.0  # seconds
_TEXT_LIMIT = 200  # characters of what is shown of a bad value


if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # generic only since click 8.2


class Text(_Type):
    """A text that a function can read. The value is what it answers, or the text itself with ``is_kept``.

    ``reader`` raises Invalid; as ``module:function`` it is imported when there is something to read, so that --help
    stays quick.
    """

    def __init__(self, name: str, reader: str | Callable[[str], Any], *, is_kept: bool = False) -> None:
        self.name = name
        self._reader = reader
        self._is_kept = is_kept

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Fails as wrong usage."""
        if not isinstance(value, str):
            return value  # a default, read already
        try:
            if not value:
                raise Invalid("is empty")
            read = self._load()(value)
        except Invalid as error:
            self.fail(str(error), param, ctx)
        return value if self._is_kept else read

    def _load(self) -> Callable[[str], Any]:
        if callable(self._reader):
            return self._reader
        module, _, function = self._reader.partition(":")
        found: Callable[[str], Any] = getattr(importlib.import_module(module), function)
        return found


class Whole(click.IntRange):
    """A whole number between two others."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Fails as wrong usage."""
        try:
            number = int(value)
        except (ValueError, TypeError):
            number = None
        if number is None or not self.min <= number <= self.max:  # type: ignore[operator]  # both are always given
            self.fail(f"{str(value)[:40]!r} is not a whole number from {self.min} to {self.max}", param, ctx)
        return number


class Place(click.Path):
    """The name of a file or directory. An empty one, as of a variable that is not set, does not mean this directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Fails as wrong usage."""
        if value == "":
            self.fail("is empty", param, ctx)
        return super().convert(value, param, ctx)


def name_of(kind: str) -> Text:
    """A name that a ``kind`` ("worker", "user" ...) can have at all (S-21)."""
    return Text("name", lambda text: check_name(kind, text))


def _token(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise Invalid("a token has only letters, digits and '_'; copy it again")
    return text


def _job(text: str) -> tuple[str, str]:
    project, mark, name = text.partition("/")
    if not mark:
        raise Invalid(f"{text[:_TEXT_LIMIT]!r} is not PROJECT/JOB")
    return check_name("project", project), check_name("job", name)


def _run(text: str) -> str:
    """As ``Client.named_run`` reads it."""
    wrong = Invalid(f"{text[:_TEXT_LIMIT]!r} is not a run; write project/job#7, project/job#latest or its id")
    path, mark, number = text.partition("#")
    try:
        if not mark:
            return str(uuid.UUID(text))
        _job(path)
    except (ValueError, Invalid):
        raise wrong from None
    if number not in ("latest", "last-success") and not (number.isascii() and number.isdigit() and len(number) < 19):
        raise wrong
    return text


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(f"{text[:_TEXT_LIMIT]!r} is not an id; 'list' shows them") from None


def _expiry(text: str) -> float | None:
    from appliance.model.times import parse_duration

    if text == "never":
        return None
    seconds = parse_duration(text)
    if seconds > _LONGEST:
        raise Invalid(f"{text} is longer than ten years; or never")
    return seconds


def _network(text: str) -> str:
    import ipaddress

    try:
        return text if text == "localhost" else str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Invalid(
            f"{text[:_TEXT_LIMIT]!r} is no IP address or network, such as 10.0.0.0/8, nor localhost"
        ) from None


def worker_token(text: str) -> str:
    """The text of a worker's token. Raises Invalid, saying what it is instead."""
    from appliance.model import tokens

    try:
        kind = tokens.parse(text).kind
    except Unauthenticated:
        raise Invalid("this is not a whole token: copy the join line again, to its end") from None
    if kind not in ("worker", None):  # None: one of Job Orchestra's, which does not say
        raise Invalid(f"this is the token of a {kind}; a worker has its own, from 'orchestra worker token NAME'")
    return text


USER, WORKER = name_of("user"), name_of("worker")
URL = Text("URL", "appliance.settings_text:as_url")
ADDRESS = Text("HOST:PORT", "appliance.settings_text:as_address", is_kept=True)
DURATION = Text("TIME", "appliance.model.times:parse_duration")
EXPIRY = Text("TIME", _expiry)
TIME = Text("TIME", "appliance.model.times:from_rfc3339", is_kept=True)
TOKEN = Text("TOKEN", _token)
KEY = Text("KEY", check_key)
JOB = Text("PROJECT/JOB", _job)
RUN = Text("RUN", _run)
ID = Text("ID", _id)
NETWORK = Text("ADDRESS", _network)
FILE = Place(path_type=Path, dir_okay=False)
DIRECTORY = Place(path_type=Path, file_okay=False)
EXISTING = Place(path_type=Path, exists=True)
EXISTING_FILE = Place(path_type=Path, exists=True, dir_okay=False)


def pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Callback of options ``key=value`` that may be repeated. A value is taken as it stands (S-35)."""
    found: dict[str, str] = {}
    for text in values:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise click.BadParameter(f"write key=value, not {text[:_TEXT_LIMIT]!r}")
        if key in found:
            raise click.BadParameter(f"{key[:_TEXT_LIMIT]!r} is given twice")
        found[key] = value
    return found


def roles(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Callback of options ``project=role``."""
    from appliance.model.permissions import check_project_roles

    try:
        return check_project_roles(pairs(context, parameter, values))
    except Invalid as error:
        raise click.BadParameter(str(error)) from None
