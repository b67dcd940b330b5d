"""Cursors: where a page of a list ended, signed, so that a made-up or foreign one is refused (A1)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from appliance.model.caps import derive
from appliance.model.errors import Invalid

Row = TypeVar("Row")

LIMIT = 100
MOST = 1000  # S-64
_MAC = 16

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST, description="How many at most")]
Cursor = Annotated[str, msgspec.Meta(max_length=1000, description="``next`` of the page before")]


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a list."""

    limit: Limit = LIMIT
    cursor: Cursor | None = None


def write_cursor(key: bytes, listing: str, place: list[str]) -> str:
    """The cursor of a place in a list."""
    raw = msgspec.json.encode(place)
    return base64.urlsafe_b64encode(_mac(key, listing, raw) + raw).decode().rstrip("=")


def read_cursor(key: bytes, listing: str, cursor: str | None, size: int) -> list[str] | None:
    """The place of a cursor that we made for this list: ``size`` texts. None stays None. Raises Invalid."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad() from None
    mac, place = raw[:_MAC], raw[_MAC:]
    if not hmac.compare_digest(mac, _mac(key, listing, place)):
        raise _bad()
    found: Any = msgspec.json.decode(place)
    if not isinstance(found, list) or len(found) != size:
        raise _bad()
    return [str(one) for one in found]


def rows_behind(place: list[str] | None, rows: Sequence[Row], name: Callable[[Row], str]) -> Sequence[Row]:
    """The rows after the one that a cursor names; all of them without one, none when its row is gone."""
    if place is None:
        return rows
    names = [name(row) for row in rows]
    return rows[names.index(place[0]) + 1 :] if place[0] in names else []


def _mac(key: bytes, listing: str, raw: bytes) -> bytes:
    return hmac.digest(derive(key, "cursor"), listing.encode() + b"\0" + raw, "sha256")[:_MAC]


def _bad() -> Invalid:
    return Invalid("this cursor is not one of this list: start again without it", {"cursor": "unknown cursor"})
