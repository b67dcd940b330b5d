"""Passwords and tokens on their way from a person to a server: asked for unseen, never on a command line (S-08)."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import click

from appliance.model.addresses import is_loopback
from appliance.model.errors import Invalid

_PASSWORD_LIMIT = 65_536  # bytes
_TOKEN_LIMIT = 4096


def read_password(from_stdin: bool, *, is_new: bool = True) -> str:
    """A password from stdin (its last line end is not part of it) or asked for on the terminal, twice if it is new."""
    if not from_stdin:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on; use --password-stdin", click.get_current_context())
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=is_new, err=True)
        return password
    raw = sys.stdin.buffer.read(_PASSWORD_LIMIT + 1)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError("the password on stdin is not UTF-8 text", click.get_current_context()) from None
    return text.removesuffix("\n").removesuffix("\r")


def read_token() -> str:
    """A token asked for on the terminal, else all of stdin. Raises Invalid if there is none."""
    if sys.stdin.isatty():
        asked: str = click.prompt("Token", hide_input=True, err=True)
        return asked.strip()
    text = sys.stdin.read(_TOKEN_LIMIT).strip()
    if not text:
        raise Invalid("there is no token on stdin")
    return text


def check_private(server: str, what: str, *, is_open_allowed: bool) -> None:
    """Raise Invalid where ``what`` could be overheard on its way to ``server``: neither TLS nor loopback (S-85)."""
    if not is_open_allowed and is_open_to_listeners(server):
        raise Invalid(
            f"{server} is plain HTTP to another machine, where the {what} could be overheard: "
            "use https://, or --insecure-http in a network you trust"
        )


def is_open_to_listeners(server: str) -> bool:
    """Whether what is sent there can be overheard: neither TLS nor loopback."""
    if not server.lower().startswith("http://"):
        return False  # what is no address at all is refused elsewhere
    try:
        return not is_loopback(urlsplit(server).hostname or "")
    except ValueError:
        return True  # no address that can be read
