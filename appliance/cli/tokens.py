"""``orchestra token``: one's own tokens, and those of programs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals
from appliance.cli.credentials import check_private, read_password
from appliance.cli.values import EXPIRY, ID, USER
from appliance.clock import SystemClock
from appliance.model.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from appliance.client import Document


@click.group(cls=Group, example="orchestra token create laptop --user ana")
def token() -> None:
    """Make and revoke your own tokens; as an administrator, also those of programs."""


of_user = click.option(
    "--for", "whose", metavar="NAME", type=USER, help="As an administrator: of this user, not your own."
)


@token.command(example="orchestra token create laptop --user ana")
@click.argument("label", default="command line")
@click.option("--user", metavar="NAME", type=USER, help="Log in as this user and keep the token for the command line.")
@click.option(
    "--for", "whose", metavar="NAME", type=USER, help="As an administrator: for this user, who has no password."
)
@click.option("--password-stdin", is_flag=True, help="With --user: the password comes from stdin.")
@click.option("--expires", type=EXPIRY, default="90d", show_default=True, help="Ends after, such as 1d; or never.")
@click.option("--insecure-http", is_flag=True, help="Send the password over plain HTTP to another machine.")
@pass_globals
def create(
    options: Globals,
    label: str,
    user: str | None,
    whose: str | None,
    password_stdin: bool,
    expires: float | None,
    insecure_http: bool,
) -> None:
    """Make a token. LABEL reminds you later what it is for.

    With --user it asks for the password and stores the token where every command of yours looks for it (--json prints
    it instead). Without, it needs a token already and prints a new one, once. With --for an administrator makes the
    token of a program, which was added with 'orchestra user add --no-password'.
    """
    if user is not None and whose is not None:
        raise click.UsageError("--user and --for contradict each other", click.get_current_context())
    if user is None and (password_stdin or insecure_http):
        raise click.UsageError("--password-stdin and --insecure-http go with --user", click.get_current_context())
    expires_at = None if expires is None else SystemClock().now() + timedelta(seconds=expires)
    if user is not None:
        made = _log_in(options, user, password_stdin, insecure_http, label, expires_at)
    else:
        with options.client() as client:
            made = client.create_token(label, expires_at, whose)
    if options.as_json:
        output.write_json(made)
    elif user is not None:
        _store(made["token"])
    else:
        output.say(made["token"])
        who = f"give it to {whose}" if whose else "keep it now"
        output.notice(f"{who}: it is not shown again (ORCHESTRA_TOKEN, or a 0600 file ~/.config/orchestra/token)")


def _log_in(
    options: Globals, user: str, password_stdin: bool, insecure_http: bool, label: str, expires_at: datetime | None
) -> Document:
    """A token for a password; what the login itself gave is given back. Raises Forbidden for a wrong password."""
    from appliance.client import Client
    from appliance.config import client_settings

    url = client_settings(options.url, "none").url
    check_private(url, "password", is_open_allowed=insecure_http)
    password = read_password(password_stdin, is_new=False)
    with Client(url) as client:
        try:
            client.login(user, password)
        except Unauthenticated as error:
            raise Forbidden(str(error)) from None
        made = client.create_token(label, expires_at)
        client.logout()
    return made


def _store(text: str) -> None:
    from appliance.config import client_token_file, environment, write_client_token

    had_one = client_token_file().exists()
    file = write_client_token(text)
    output.notice(f"the token is in {file}{', in place of the one that was there' if had_one else ''}")
    if environment().get("ORCHESTRA_TOKEN"):
        output.notice("ORCHESTRA_TOKEN is set and wins over it: unset it to use this one")


@token.command("list", example="orchestra token list")
@of_user
@pass_globals
def list_tokens(options: Globals, whose: str | None) -> None:
    """Your tokens, without their text."""
    with options.client() as client:
        found = list(client.tokens(whose))
    if options.as_json:
        output.write_json({"items": found})
        return
    rows = [
        (one["id"], one.get("label"), one.get("created_at"), one.get("last_used_at"), one.get("expires_at"))
        for one in found
    ]
    output.table(("ID", "LABEL", "CREATED", "LAST USED", "EXPIRES"), rows)


@token.command(example="orchestra token revoke 3f6c1d1e-...")
@click.argument("token_id", metavar="ID", type=ID)
@of_user
@pass_globals
def revoke(options: Globals, token_id: str, whose: str | None) -> None:
    """End a token at once."""
    with options.client() as client:
        client.revoke_token(token_id, whose)
    output.done(options.as_json, {"id": token_id}, "the token is revoked")
