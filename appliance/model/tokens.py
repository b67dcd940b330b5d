"""Tokens as text: ``orc_u_`` (user), ``orc_w_`` (worker), ``orc_r_`` (run), ``orc_s_`` (setup), then 64 hex digits for
32 bytes, then 6 of a checksum, so that scanners and our masker find them (security.md section 4).

A bare token of 64 hex digits, as Job Orchestra made them, is read too. Stored is only the SHA-256 of the 32 bytes.
A run's token is derived and not stored: 16 bytes of the run's UUID and 16 of a MAC over it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from typing import Literal

import msgspec

from appliance.model.errors import Unauthenticated

Kind = Literal["user", "worker", "run", "setup"]
LETTERS: dict[Kind, str] = {"user": "u", "worker": "w", "run": "r", "setup": "s"}
SIZE = 32

_KINDS: dict[str, Kind] = {letter: kind for kind, letter in LETTERS.items()}
_TEXT = re.compile(r"orc_([uwrs])_([0-9a-f]{64})([0-9a-f]{6})(?!\n)$")
_BARE = re.compile(r"[0-9a-fA-F]{64}(?!\n)$")


class Parsed(msgspec.Struct, frozen=True):
    """A token that has the right shape. ``kind`` is None for a bare one: only the stored record tells."""

    kind: Kind | None
    secret: bytes

    @property
    def stored_hash(self) -> str:
        """What the database finds it by."""
        return stored_hash(self.secret)


def render(kind: Kind, secret: bytes) -> str:
    """The text of a token of 32 bytes."""
    if len(secret) != SIZE:
        raise ValueError(f"a token has {SIZE} bytes")
    start = f"orc_{LETTERS[kind]}_{secret.hex()}"
    return start + _checksum(start)


def parse(text: str) -> Parsed:
    """Read a token. Raises Unauthenticated for a wrong length, digit or checksum, before anything is hashed (J39)."""
    if len(text) <= 80:
        if match := _TEXT.match(text):
            if _checksum(text[:-6]) == match[3]:
                return Parsed(_KINDS[match[1]], bytes.fromhex(match[2]))
        elif _BARE.match(text):
            return Parsed(None, bytes.fromhex(text))
    raise Unauthenticated("this is not a valid token")


def stored_hash(secret: bytes) -> str:
    """SHA-256 in hex. The bytes are random, so no salt and no work factor are needed."""
    return hashlib.sha256(secret).hexdigest()


def run_secret(run_id: str, key: bytes) -> bytes:
    """The 32 bytes of a run's token."""
    name = uuid.UUID(run_id).bytes
    return name + hmac.digest(key, b"run-token" + name, "sha256")[:16]


def run_of(secret: bytes, key: bytes) -> str | None:
    """The id of the run that a run token speaks for, or None if it was not made with this key."""
    run_id = str(uuid.UUID(bytes=secret[:16]))
    return run_id if hmac.compare_digest(secret, run_secret(run_id, key)) else None


def _checksum(start: str) -> str:
    return hashlib.sha256(start.encode("ascii")).hexdigest()[:6]
