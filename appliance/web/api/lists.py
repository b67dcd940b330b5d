"""Lists: ``{"items": […], "next": cursor|null}`` (contract.md section 7, S-64)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from appliance.web import sorting
from appliance.web.paging import PageQuery, read_cursor, rows_behind, write_cursor
from appliance.web.routes import Response, document

T = TypeVar("T")
Row = TypeVar("Row")
Found = TypeVar("Found", covariant=True)


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. ``next`` is null on the last one."""

    items: list[T]
    next: str | None = None


class NameQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The query of a list that is ordered by name."""

    sort: sorting.NameSort = sorting.NAMES[0]


class FileQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The query of a list of what project files say."""

    sort: sorting.FileSort = sorting.FILES[0]


class NamedRows(Protocol, Generic[Found]):
    """What a use case has that lists things by name."""

    def __call__(self, after: str | None, limit: int, *, backwards: bool) -> Sequence[Found]: ...


def by_name(
    key: bytes,
    listing: str,
    query: NameQuery,
    rows: NamedRows[Row],
    name: Callable[[Row], str],
    item: Callable[[Row], object],
) -> Response:
    """A page of a list that the database orders by name."""
    sort = sorting.chosen(query.sort, sorting.NAMES)
    listing = f"{listing} by {sort}"
    place = read_cursor(key, listing, query.cursor, 1)
    found = rows(place[0] if place else None, query.limit + 1, backwards=sorting.is_backwards(sort))
    return _page(key, listing, query, found, name, item)


def whole(
    key: bytes,
    listing: str,
    query: PageQuery,
    rows: Sequence[Row],
    name: Callable[[Row], str],
    item: Callable[[Row], object],
) -> Response:
    """A page of a list that is short enough to be at hand as a whole.

    ``listing`` names its order too, so that a cursor of another one is refused.
    """
    rows = rows_behind(read_cursor(key, listing, query.cursor, 1), rows, name)
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
