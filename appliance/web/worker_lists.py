"""Filter, order and part of the list of workers, for pages and service. All workers of a server are at hand (1,000)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from appliance.model.errors import Invalid
from appliance.model.matching import read_property
from appliance.model.times import rfc3339
from appliance.model.worker_states import Duty, WorkerState
from appliance.web import sorting
from appliance.web.paging import read_cursor, write_cursor
from appliance.workers import Workers

EVERYBODY = 100_000  # workers that are looked at, at most
_LAST = "~"  # behind every digit
Text = Annotated[str, msgspec.Meta(max_length=200)]

_KEYS: Mapping[str, Callable[[WorkerState], str]] = {
    "busy": lambda state: f"{max(0.0, 1 - state.used / max(1, state.worker.slots)):.6f}",
    "heard": lambda state: rfc3339(state.silent_since) if state.silent_since else _LAST,
    "disk": lambda state: _LAST if _free(state) is None else f"{_free(state):020}",
}


class Wanted(msgspec.Struct, frozen=True):
    """Which workers: those in one of these states, with this in their name, and with this property (``key=value``)."""

    states: tuple[str, ...] = ()
    name: str = ""
    property: str = ""


def part(
    workers: Workers, key: bytes, listing: str, wanted: Wanted, sort: str, cursor: str | None, limit: int
) -> tuple[Sequence[WorkerState], str | None]:
    """At most ``limit`` of the workers that fit, behind the place of ``cursor``, and the cursor of what follows.

    A worker that changes while somebody pages is on one page or another, and keeps nobody else from being shown.
    Raises Invalid for an order, a state, a property or a cursor that is none.
    """
    sorting.chosen(sort, sorting.WORKERS)
    listing = f"{listing} by {sort}"
    place = read_cursor(key, listing, cursor or None, 2)
    is_backwards = sorting.is_backwards(sort)
    said = _KEYS.get(sort, _nothing)
    rows = [((said(state), state.worker.name.lower()), state) for state in fitting(workers, wanted)]
    if place is not None:
        behind = (place[0], place[1])
        rows = [row for row in rows if (row[0] < behind if is_backwards else row[0] > behind)]
    rows.sort(key=lambda row: row[0], reverse=is_backwards)
    following = write_cursor(key, listing, list(rows[limit - 1][0])) if len(rows) > limit else None
    return [state for _, state in rows[:limit]], following


def fitting(workers: Workers, wanted: Wanted) -> list[WorkerState]:
    """All that fit. Raises Invalid."""
    known = {duty.value for duty in Duty}
    if unknown := set(wanted.states) - known:
        raise Invalid(f"there is no state {min(unknown)!r}: use one of {', '.join(Duty)}", {"state": "unknown"})
    name = wanted.name.lower()
    label, mark, text = (one.strip() for one in wanted.property.partition("="))
    if wanted.property and not (label and mark):
        raise Invalid("write a property as key=value, such as os=linux", {"property": "Write it as key=value"})
    value: Any = read_property(text)
    return [
        state
        for state in workers.list(None, EVERYBODY)
        if name in state.worker.name.lower()
        and (not label or str(state.properties.get(label)) == str(value))
        and (not wanted.states or state.duty in wanted.states)
    ]


def _nothing(_: WorkerState) -> str:
    return ""


def _free(state: WorkerState) -> int | None:
    return state.vitals.disk_free if state.vitals is not None else None
