"""``orchestra token``: one's own tokens."""

from __future__ import annotations

import click

from appliance.cli import output
from appliance.cli.base import Globals, Group, pass_globals


@click.group(cls=Group)
def token() -> None:
    """Make and revoke your own tokens."""


@token.command(example="orchestra token create laptop")
@click.argument("label", default="command line")
@pass_globals
def create(options: Globals, label: str) -> None:
    """Make a token and print it, once. LABEL reminds you later what it is for."""
    with options.client() as client:
        made = client.create_token(label)
    if options.as_json:
        output.write_json(made)
        return
    output.say(made["token"])
    output.notice("keep it now: it is not shown again (ORCHESTRA_TOKEN, or a 0600 file ~/.config/orchestra/token)")


@token.command("list", example="orchestra token list")
@pass_globals
def list_tokens(options: Globals) -> None:
    """Your tokens, without their text."""
    with options.client() as client:
        found = list(client.tokens())
    if options.as_json:
        output.write_json({"items": found})
        return
    rows = [
        (one["id"], one.get("label"), one.get("created_at"), one.get("last_used_at"), one.get("expires_at"))
        for one in found
    ]
    output.table(("ID", "LABEL", "CREATED", "LAST USED", "EXPIRES"), rows)


@token.command(example="orchestra token revoke 3f6c1d1e-...")
@click.argument("token_id", metavar="ID")
@pass_globals
def revoke(options: Globals, token_id: str) -> None:
    """End a token at once."""
    with options.client() as client:
        client.revoke_token(token_id)
    output.notice("the token is revoked")
