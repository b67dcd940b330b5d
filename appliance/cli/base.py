"""What all commands share: the global options, taken before and after a command's name, and loading on demand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import values
from appliance.model.names import did_you_mean, hint, nearest

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
            type=values.DIRECTORY,
            metavar="DIR",
            help="The server's data directory; also ORCHESTRA_DATA.",
            expose_value=False,
            hidden=hidden,
            callback=_note("data"),
        ),
        click.Option(
            ["--url"],
            type=values.URL,
            help="The server's address; also ORCHESTRA_URL.",
            expose_value=False,
            hidden=hidden,
            callback=_note("url"),
        ),
        click.Option(
            ["--token"],
            type=values.TOKEN,
            help="Yours; also ORCHESTRA_TOKEN or ~/.config/orchestra/token.",
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


class _Explaining(click.Command):
    """Names the option or command that was probably meant, and whose --help says more."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command; every refusal knows its command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            given = error.option_name
            raise click.UsageError(f"No such option {given!r}{self._meant(given)}", ctx) from None
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def _meant(self, given: str) -> str:
        options = [one for one in self.params if isinstance(one, click.Option)]
        names = {name.lstrip("-"): name for one in options for name in one.opts if name.startswith("--")}
        if near := nearest(given.lstrip("-"), names):
            return hint(names[near])
        shown = [one.opts[-1] for one in options if not one.hidden]
        return f"; it has {', '.join(shown)}" if shown else "; it has none of its own"


class _ExplainingGroup(_Explaining, click.Group):
    """The same for a group, whose commands' names can be wrong, too."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in any group, with what a wrong name may have meant."""
        names = self.list_commands(ctx)
        if args[0] not in names:
            raise click.UsageError(f"No such command {args[0][:64]!r}{did_you_mean(args[0], names)}", ctx)
        return super().resolve_command(ctx, args)


class Command(_Explaining):
    """A command that takes the global options too, unless it has one of that name itself."""

    def __init__(self, *args: Any, example: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.epilog = _example(example)
        self.params += _missing(self.params, hidden=True)


class Group(_ExplainingGroup):
    """A group whose commands are Commands."""

    command_class = Command

    def __init__(self, *args: Any, example: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.epilog = _example(example)
        self.params += _missing(self.params, hidden=True)


class LazyGroup(_ExplainingGroup):
    """The root: imports the module of a command when the command is used, so that every start is quick.

    ``commands`` maps a name to ``module:attribute`` and words for the overview; those with the same share a line.
    """

    def __init__(self, *args: Any, example: str, commands: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self.epilog = f"Example: {example}"
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing anything."""
        lines: dict[str, list[str]] = {}
        for name, (_, summary) in self._places.items():
            lines.setdefault(summary, []).append(name)
        with formatter.section("Commands"):
            formatter.write_dl([(", ".join(names), summary) for summary, names in lines.items()])


def _example(line: str) -> str | None:
    return f"\b\nExample:\n  {line}" if line else None


def _missing(present: list[click.Parameter], hidden: bool) -> list[click.Parameter]:
    names = {parameter.name for parameter in present}
    return [option for option in _global_options(hidden) if option.name not in names]
