"""What a name may look like (S-21). A name stands in addresses, command lines and logs, and is never a file name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from appliance.model.errors import Invalid

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEY = re.compile(r"[!-~]{1,200}")
_SUFFIXES = (".json", ".txt", ".svg")  # contract.md section 8: they choose the form of a page

RESERVED = frozenset(
    {
        # the last part of an address of a run: /p/{project}/{job}/latest, project/job#latest
        "latest",
        "last-success",
        # parts of addresses that stand, or may come to stand, where a name does
        "admin",
        "api",
        "artifacts",
        "audit",
        "badge",
        "edit",
        "feeds",
        "hooks",
        "jobs",
        "log",
        "login",
        "logout",
        "me",
        "new",
        "pools",
        "projects",
        "queue",
        "runs",
        "schedules",
        "setup",
        "static",
        "status",
        "tokens",
        "users",
        "workers",
        # words with a meaning of their own in filters, logs and the audit trail
        "all",
        "anonymous",
        "any",
        "none",
        "null",
        "system",
    }
)
"""Names nobody may take, in any case."""

INNER_KINDS = frozenset({"parameter", "element"})
"""Kinds whose names are never part of an address: reserved words and suffixes are free for them."""


def check_name(kind: str, name: str) -> str:
    """The name itself, if it may name a ``kind`` ("worker", "project", "job", "user", "schedule", "parameter" ...).

    S-21: a whole match of ``[A-Za-z0-9_.-]{1,64}``, no leading dot or dash, no ``..``, no reserved word in any case,
    no ending ``.json .txt .svg``. Case is kept. Raises Invalid, whose sentence says what to do.
    """
    if _NAME.fullmatch(name) is None:
        raise _refusal(kind, name, "use 1 to 64 of the letters A-Z a-z, digits, '_', '.' and '-'")
    if name[0] in ".-":
        raise _refusal(kind, name, "begin with a letter, a digit or '_'")
    if ".." in name:
        raise _refusal(kind, name, "do not use two dots in a row")
    if kind in INNER_KINDS:
        return name
    if name.lower() in RESERVED:
        raise _refusal(kind, name, "the word is reserved, choose another")
    if name.lower().endswith(_SUFFIXES):
        raise _refusal(kind, name, "it may not end in .json, .txt or .svg")
    return name


def check_key(key: str) -> str:
    """The key itself, if it can be the idempotency key of a request. Raises Invalid."""
    if _KEY.fullmatch(key) is None:
        sentence = "a key has 1 to 200 printable ASCII characters, and no spaces"
        raise Invalid(sentence, {"Idempotency-Key": "not a valid key"})
    return key


def taken(names: Iterable[str], name: str) -> str | None:
    """The one of ``names`` that forbids ``name`` because it is the same or differs only in case (S-21), or None."""
    folded = name.lower()
    return next((other for other in names if other.lower() == folded), None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that was probably meant by ``word``, for messages; None: nothing is near."""
    close = difflib.get_close_matches(word[:64], [*known][:1000], n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown ``word``: ``; did you mean 'listen'?``, or "" if nothing is near."""
    guess = nearest(word, known)
    return "" if guess is None else hint(guess)


def hint(meant: str) -> str:
    """The same where what was ``meant`` is known."""
    return f"; did you mean {meant!r}?"


def _refusal(kind: str, name: str, advice: str) -> Invalid:
    shown = ascii(name) if len(name) <= 40 else ascii(name[:40]) + "..."
    sentence = f"{shown} cannot name a {kind}: {advice}"
    return Invalid(sentence, {"name": sentence})
