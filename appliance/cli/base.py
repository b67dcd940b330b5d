"""What all commands share: the global options, taken before and after a command's name, and loading on demand."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from appliance.client import Client


@dataclass
class Globals:
    """The global options as given so far."""

    data: Path | None = None
    url: str | None = None
    token: str | None = None
    as_json: bool = False

    def client(self) -> Client:
        """The service that the options, the environment or the token file name. Raises ConfigurationError, Invalid."""
        from appliance.client import Client
        from appliance.config import client_settings

        settings = client_settings(self.url, self.token)
        return Client(settings.url, settings.token or None)


pass_globals = click.make_pass_decorator(Globals, ensure=True)


def _note(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        options = context.ensure_object(Globals)
        if value is not None and value is not False:
            setattr(options, name, value)

    return callback


def _global_options(hidden: bool) -> list[click.Parameter]:
    """The options, hidden where they would only repeat those of ``orchestra --help``."""
    return [
        click.Option(
            ["--data"],
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The server's data directory; also ORCHESTRA_DATA.",
            expose_value=False,
            hidden=hidden,
            callback=_note("data"),
        ),
        click.Option(
            ["--url"],
            metavar="URL",
            help="The server's address; also ORCHESTRA_URL.",
            expose_value=False,
            hidden=hidden,
            callback=_note("url"),
        ),
        click.Option(
            ["--token"],
            metavar="TOKEN",
            help="Your token; also ORCHESTRA_TOKEN, or ~/.config/orchestra/token.",
            expose_value=False,
            hidden=hidden,
            callback=_note("token"),
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            help="Print JSON.",
            expose_value=False,
            hidden=hidden,
            callback=_note("as_json"),
        ),
    ]


class Command(click.Command):
    """A command that takes the global options too, unless it has one of that name itself."""

    def __init__(self, *args: Any, example: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += _missing(self.params, hidden=True)
        if example:
            self.epilog = f"\b\nExample:\n  {example}"


class Group(click.Group):
    """A group whose commands are Commands."""

    command_class = Command

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += _missing(self.params, hidden=True)


class LazyGroup(click.Group):
    """The root: imports the module of a command when the command is used, so that every start is quick.

    ``commands`` maps a name to ``module:attribute`` and a line for the overview.
    """

    def __init__(self, *args: Any, commands: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self._places = dict(commands)
        self.params += _missing(self.params, hidden=False)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: first what one needs first."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in any group, with what a wrong name may have meant."""
        if args[0] not in self._places and (near := difflib.get_close_matches(args[0], self._places, 1)):
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._places.items()])


def _missing(present: list[click.Parameter], hidden: bool) -> list[click.Parameter]:
    names = {parameter.name for parameter in present}
    return [option for option in _global_options(hidden) if option.name not in names]


def pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Callback of options ``key=value`` that may be repeated. A value is taken as it stands (S-35)."""
    found: dict[str, str] = {}
    for text in values:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise click.BadParameter(f"write key=value, not {text!r}")
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice")
        found[key] = value
    return found
