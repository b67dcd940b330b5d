"""``orchestra init`` and ``orchestra serve``."""

from __future__ import annotations

import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.credentials import is_open_to_listeners, read_password
from appliance.cli.local import build, setup_link
from appliance.cli.values import ADDRESS, DIRECTORY, FILE, URL, USER
from appliance.model.errors import Conflict

if TYPE_CHECKING:
    from appliance.settings import ServerSettings


@click.command(cls=Command, example="orchestra init /var/lib/orchestra")
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@click.option("--admin", metavar="NAME", type=USER, help="Make the first administrator at once, instead of a link.")
@click.option("--password-stdin", is_flag=True, help="With --admin: its password comes from stdin.")
@click.option(
    "--listen",
    type=ADDRESS,
    help="Where the server will listen; default 127.0.0.1:8080.",
)
@click.option(
    "--base-url",
    type=URL,
    help="What browsers and workers will call it, if that differs.",
)
@pass_globals
def init(
    options: Globals,
    directory: Path | None,
    admin: str | None,
    password_stdin: bool,
    listen: str | None,
    base_url: str | None,
) -> None:
    """Make a data directory: settings, master key, database and the example project.

    Prints the master key and a link, good once and for a day, where the first administrator is made.
    """
    from appliance.config import data_directory

    if password_stdin and admin is None:
        raise click.UsageError("--password-stdin goes with --admin", click.get_current_context())
    password = None if admin is None else read_password(password_stdin)
    made = initialise(data_directory(directory or options.data), listen, base_url, admin, password)
    if options.as_json:
        document = {"directory": str(made.directory), "master_key": made.key, "setup_link": made.link}
        output.write_json({name: value for name, value in document.items() if value is not None})
        return
    output.say(f"made {made.directory}")
    output.say(f"master key, shown only here; keep a copy apart from backups: {made.key}")
    output.say(f"next: orchestra serve --config {made.settings.file}")
    if made.link is not None:
        output.say(f"then make the first administrator at {made.link}")
    reached_at = made.settings.server.base_url or f"http://{made.settings.server.listen}"
    if is_open_to_listeners(reached_at):
        output.notice(
            f"{reached_at} is plain HTTP: passwords need a TLS proxy before it, whose address is --base-url, or, "
            f"in a network you trust, insecure_http = true in {made.settings.file}"
        )


class Initialised(NamedTuple):
    """A new data directory. ``link`` makes the first administrator; None if there is one."""

    directory: Path
    settings: ServerSettings
    key: str
    link: str | None


def initialise(
    directory: Path, listen: str | None, base_url: str | None, admin: str | None, password: str | None
) -> Initialised:
    """Make a data directory, whole or not at all. Raises Conflict if it is one already, ConfigurationError, Invalid."""
    from appliance import config
    from appliance.foundation import DATABASE_FILE

    taken = [name for name in (config.SERVER_FILE, config.KEY_FILE, DATABASE_FILE) if (directory / name).exists()]
    if taken:
        raise Conflict(f"{directory} is initialised already: it holds {taken[0]}")
    existed, before = directory.exists(), set(directory.iterdir()) if directory.exists() else set()
    try:
        config.write_server_file(directory, listen=listen, base_url=base_url)
        key = config.write_master_key(directory, secrets.token_bytes(32))
        if not (directory / config.PROJECTS_DIRECTORY).exists():
            config.write_example_projects(directory / config.PROJECTS_DIRECTORY)
        settings = config.load_server(directory / config.SERVER_FILE, data=directory)
        appliance = build(settings)
        appliance.repository.open()
        try:
            link = None
            if admin is None:
                link = setup_link(settings.url, appliance.accounts.make_setup_token())
            else:
                appliance.accounts.add_user(admin, password, {"administrator"})
        finally:
            appliance.repository.close()
    except BaseException:
        _remove(directory, before, existed)
        raise
    return Initialised(directory, settings, key, link)


def _remove(directory: Path, before: set[Path], existed: bool) -> None:
    """Take away what was made in the directory, and nothing else."""
    for path in set(directory.iterdir()) - before if directory.exists() else set():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not existed and directory.exists():
        directory.rmdir()


@click.command(cls=Command, example="orchestra serve --config /var/lib/orchestra/orchestra.toml")
@click.option("--config", "file", type=FILE, metavar="FILE", help="orchestra.toml.")
@pass_globals
def serve(options: Globals, file: Path | None) -> int:
    """Run the server until SIGTERM or Ctrl-C. Runs on workers go on without it.

    Prints "listening on http://..." when it is ready.
    """
    from appliance.config import load_server

    tell = (lambda url: output.write_json_line({"listening": url})) if options.as_json else _tell_address
    return build(load_server(file, data=options.data)).serve(tell)


def _tell_address(url: str) -> None:
    output.say(f"listening on {url}")
    sys.stdout.flush()
