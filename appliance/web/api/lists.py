"""Lists: ``{"items": […], "next": cursor|null}`` (contract.md section 7, S-64)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from appliance.web.paging import PageQuery, read_cursor, write_cursor
from appliance.web.routes import Response, document

T = TypeVar("T")
Row = TypeVar("Row")


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. ``next`` is null on the last one."""

    items: list[T]
    next: str | None = None


def by_name(
    key: bytes,
    listing: str,
    query: PageQuery,
    rows: Callable[[str | None, int], Sequence[Row]],
    name: Callable[[Row], str],
    item: Callable[[Row], object],
) -> Response:
    """A page of a list that the database orders by name: ``rows(after, limit)``."""
    place = read_cursor(key, listing, query.cursor, 1)
    found = rows(place[0] if place else None, query.limit + 1)
    return _page(key, listing, query, found, name, item)


def whole(
    key: bytes,
    listing: str,
    query: PageQuery,
    rows: Sequence[Row],
    name: Callable[[Row], str],
    item: Callable[[Row], object],
) -> Response:
    """A page of a list that is short enough to be at hand as a whole. A cursor whose row is gone ends the list."""
    place = read_cursor(key, listing, query.cursor, 1)
    if place:
        names = [name(row) for row in rows]
        rows = rows[names.index(place[0]) + 1 :] if place[0] in names else []
    return _page(key, listing, query, rows, name, item)


def _page(
    key: bytes,
    listing: str,
    query: PageQuery,
    found: Sequence[Row],
    name: Callable[[Row], str],
    item: Callable[[Row], object],
) -> Response:
    shown = found[: query.limit]
    cursor = write_cursor(key, listing, [name(shown[-1])]) if len(found) > len(shown) else None
    return document(Listing([item(row) for row in shown], cursor))
