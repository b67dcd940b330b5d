"""The ways to sort a list as links, and lists that are at hand as a whole in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from appliance.web import sorting
from appliance.web.pages import links
from appliance.web.paging import read_cursor, rows_behind, write_cursor
from appliance.web.pieces import Order, Paging

Row = TypeVar("Row")

_WORDS = {
    "-created": "newest first",
    "created": "oldest first",
    "position": "as in the files",
    "name": "A to Z",
    "-name": "Z to A",
    "busy": "busiest first",
    "heard": "silent longest first",
    "disk": "least disk first",
    "label": "by label",
    "-label": "by label, Z to A",
    "-used": "last used first",
}


def asked(sort: str, known: Sequence[str]) -> tuple[str, str]:
    """The order that a query asks for, and how an address says it. Raises Invalid for one the list does not have."""
    found = sorting.chosen(sort or known[0], known)
    return found, _named(found, known)


def orders(path: str, known: Sequence[str], sort: str, **query: Any) -> tuple[Order, ...]:
    """All that the list at ``path`` has; the rest of its ``query`` stays."""
    return tuple(
        Order(_WORDS[one], None if one == sort else links.with_query(path, **query, sort=_named(one, known)))
        for one in known
    )


def part(
    key: bytes,
    listing: str,
    rows: Sequence[Row],
    name: Callable[[Row], str],
    cursor: str | None,
    most: int,
    address: Callable[[str | None], str],
) -> tuple[Sequence[Row], Paging]:
    """At most ``most`` rows behind the one that the cursor names, and the way to the others.

    ``address`` makes the address of a part from its cursor. Raises Invalid for a cursor that is not of this list.
    """
    rows = rows_behind(read_cursor(key, listing, cursor or None, 1), rows, name)
    found = rows[:most]
    following = write_cursor(key, listing, [name(found[-1])]) if len(rows) > most else None
    return found, Paging(first=address(None) if cursor else None, next=address(following) if following else None)


def _named(sort: str, known: Sequence[str]) -> str:
    """As it stands in an address: nothing for the order that a list has anyway."""
    return "" if sort == known[0] else sort
