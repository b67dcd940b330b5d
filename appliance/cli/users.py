"""``orchestra user``: the people and programs with rights."""

from __future__ import annotations

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.credentials import read_password
from appliance.cli.values import USER, roles


@click.group(cls=Group, example="orchestra user list")
def user() -> None:
    """Administer users."""


@user.command(example="orchestra user add ana --password-stdin < password.txt")
@click.argument("name", type=USER)
@click.option("--administrator", is_flag=True, help="With every right on this site.")
@click.option("--auditor", is_flag=True, help="May read everything.")
@click.option(
    "--role",
    "project_roles",
    metavar="PROJECT=ROLE",
    multiple=True,
    callback=roles,
    help="viewer, operator or editor of a project; may be repeated.",
)
@click.option("--password-stdin", is_flag=True, help="Take the password from stdin instead of asking.")
@click.option("--no-password", is_flag=True, help="A program: 'token create --for' makes its tokens.")
@pass_globals
def add(
    options: Globals,
    name: str,
    administrator: bool,
    auditor: bool,
    project_roles: dict[str, str],
    password_stdin: bool,
    no_password: bool,
) -> None:
    """Add a user. Asks for the password, which never stands on a command line."""
    if no_password and password_stdin:
        raise click.UsageError("--no-password and --password-stdin contradict each other", click.get_current_context())
    site_roles = [role for role, chosen in (("administrator", administrator), ("auditor", auditor)) if chosen]
    password = None if no_password else read_password(password_stdin)
    with options.client() as client:
        made = client.add_user(name, password, site_roles, project_roles)
    if options.as_json:
        output.write_json(made)
    else:
        output.say(f"added {made['name']}")
        for warning in made.get("warnings") or []:
            output.notice(warning)


@user.command("list", example="orchestra user list")
@pass_globals
def list_users(options: Globals) -> None:
    """All users."""
    with options.client() as client:
        found = list(client.users())
    if options.as_json:
        output.write_json({"items": found})
        return
    rows = [
        (
            one["name"],
            one["is_enabled"],
            ", ".join(sorted(one.get("site_roles") or [])),
            ", ".join(f"{project}: {role}" for project, role in sorted((one.get("project_roles") or {}).items())),
        )
        for one in found
    ]
    output.table(("USER", "ENABLED", "SITE ROLES", "PROJECT ROLES"), rows)


@user.command(example="orchestra user enable ana")
@click.argument("name", type=USER)
@pass_globals
def enable(options: Globals, name: str) -> None:
    """Let a user in again."""
    with options.client() as client:
        changed = client.enable_user(name, True)
    output.done(options.as_json, changed, f"{name} is enabled")


@user.command(example="orchestra user disable ana")
@click.argument("name", type=USER)
@pass_globals
def disable(options: Globals, name: str) -> None:
    """Keep a user out: all its sessions and tokens stop working at once."""
    with options.client() as client:
        changed = client.enable_user(name, False)
    output.done(options.as_json, changed, f"{name} is disabled")


@user.command(example="orchestra user passwd ana --password-stdin < password.txt")
@click.argument("name", type=USER)
@click.option("--password-stdin", is_flag=True, help="Take the password from stdin instead of asking.")
@pass_globals
def passwd(options: Globals, name: str, password_stdin: bool) -> None:
    """Set a user's password in the data directory, on the server's machine, while the server is stopped.

    All sessions of the user end.
    """
    from appliance.cli.local import opened

    password = read_password(password_stdin)
    with opened(options) as appliance:
        appliance.accounts.set_password(name, password)
    output.done(options.as_json, {"name": name}, f"the password of {name} is set")


@user.command("setup-link", example="orchestra --data /var/lib/orchestra user setup-link")
@pass_globals
def new_setup_link(options: Globals) -> None:
    """Print a new link for the first administrator, on the server's machine, while the server is stopped."""
    from appliance.cli.local import opened, setup_link

    with opened(options) as appliance:
        link = setup_link(appliance.settings.url, appliance.accounts.make_setup_token())
    if options.as_json:
        output.write_json({"setup_link": link})
    else:
        output.say(link)
