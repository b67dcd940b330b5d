"""A page of a list by name, as the databases answer it: case does not tell names apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def by_name(rows: Iterable[T], name: Callable[[T], str], after: str | None, limit: int, backwards: bool) -> list[T]:
    """At most ``limit`` rows behind the name ``after``, from A to Z or ``backwards``."""

    def key(row: T) -> str:
        return name(row).lower()

    found = sorted(rows, key=key, reverse=backwards)
    if after is not None:
        edge = after.lower()
        found = [row for row in found if (key(row) < edge if backwards else key(row) > edge)]
    return found[:limit]
