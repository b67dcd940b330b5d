"""Passwords: which are good enough, and the stored form ``$pbkdf2-sha256$i=1000000$salt$hash`` (security.md section 4).

The stored form names its algorithm and parameters, so hashes with another count or salt length keep working. Hashing is
slow on purpose: ``appliance.passwords`` says how many may run at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection

from appliance.model.errors import Invalid

LEAST_CHARACTERS = 12
MOST_BYTES = 1024
_MOST_ITERATIONS = 100_000_000
_FORM = re.compile(r"\$pbkdf2-sha256\$i=([0-9]{1,9})\$([A-Za-z0-9+/=]{1,512})\$([A-Za-z0-9+/=]{1,512})(?!\n)$")
_EDGES = re.compile(r"^[\W\d_]*+|(?<![\W\d_])[\W\d_]*+(?!\n)$")


def fits(password: str) -> bool:
    """Whether this can be a password at all; anything else is refused before it costs work."""
    try:
        return 0 < len(password.encode("utf-8")) <= MOST_BYTES
    except UnicodeEncodeError:
        return False


def hash_password(password: str, salt: bytes, iterations: int) -> str:
    """The stored form. Takes about a second of one core at a million iterations; releases the interpreter lock."""
    return _stored_form(iterations, salt, hashlib.pbkdf2_hmac("sha256", password.encode("utf-8"), salt, iterations))


def nobodys_hash(iterations: int) -> str:
    """A stored form that costs as much to check as any other and that no password is known for."""
    return _stored_form(iterations, bytes(16), bytes(32))


def _stored_form(iterations: int, salt: bytes, digest: bytes) -> str:
    return f"$pbkdf2-sha256$i={iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether the password is the one of the stored form. A form that cannot be read matches nothing."""
    match = _FORM.match(stored)
    if match is None or not 0 < int(match[1]) <= _MOST_ITERATIONS:
        return False
    try:
        salt, expected = (base64.b64decode(part, validate=True) for part in (match[2], match[3]))
    except binascii.Error:
        return False
    if not expected:
        return False
    found = hashlib.pbkdf2_hmac("sha256", password.encode("utf-8"), salt, int(match[1]), len(expected))
    return hmac.compare_digest(found, expected)


def check_new_password(password: str, common: Collection[str], context: Collection[str], field: str = "") -> None:
    """Raise Invalid unless the password is good enough (S-08).

    12 characters to 1,024 bytes; not a common password, nor a common word with digits or signs around it, however often
    it is repeated; not mostly a word of its context (the user's name, this product). No rule asks for kinds of letters.
    """
    found = _weakness(password, common, context)
    if found:
        raise Invalid(found, {field: found} if field else None)


def _weakness(password: str, common: Collection[str], context: Collection[str]) -> str | None:
    if password and not fits(password):
        return f"a password has at most {MOST_BYTES} bytes of valid text: choose a shorter one"
    if len(password) < LEAST_CHARACTERS:
        return f"a password has at least {LEAST_CHARACTERS} characters: choose a longer one"
    plain = password.casefold()
    if len(set(plain)) < 5:
        return "this password repeats few characters: choose one that is harder to guess"
    if plain in common or _repeated(_core(plain)) in common:
        return "this password is a common one: choose words that others would not guess"
    for word in context:
        folded = word.casefold()
        if len(folded) >= 4 and folded in plain and len(plain.replace(folded, "")) < 8:
            return f"this password is little more than {word!r}: choose words that others would not guess"
    return None


def _core(plain: str) -> str:
    """Without the digits and signs around it."""
    return _EDGES.sub("", plain)


def _repeated(text: str) -> str:
    """The shortest text that makes this one when it is repeated: ``abab`` gives ``ab``."""
    size = (text + text).find(text, 1)
    return text[:size] if text else text
