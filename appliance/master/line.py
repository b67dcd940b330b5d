"""The lines in which pending runs wait, by job version, oldest first.

Everything that is done for each run costs the same however long the line is, but for a run that comes in long after
younger ones (one that a worker gave back): then places are moved, of 100,000 in some 30 microseconds.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Container, Iterator
from itertools import islice

from appliance.model.entities import Run
from appliance.model.errors import Unavailable
from appliance.model.groups import Group, Key, group_of

_SLACK = 64  # places at the front that may stand empty


class _Row:
    """Keys in order. The first ones may be gone already: ``start`` is where those that wait begin."""

    __slots__ = ("keys", "start")

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.start = 0

    def __len__(self) -> int:
        return len(self.keys) - self.start

    def put(self, key: Key) -> None:
        at = bisect_left(self.keys, key, self.start)
        if at == self.start and at > 0:
            self.start -= 1  # it comes back to the front, from which it went
            self.keys[self.start] = key
        else:
            self.keys.insert(at, key)

    def pop(self) -> Key:
        key = self.keys[self.start]
        self.start += 1
        if self.start > _SLACK and self.start * 2 > len(self.keys):
            del self.keys[: self.start]
            self.start = 0
        return key

    def remove(self, key: Key) -> None:
        at = bisect_left(self.keys, key, self.start)
        if at == self.start:
            self.pop()
        else:
            del self.keys[at]

    def before(self, key: Key) -> int:
        return bisect_left(self.keys, key, self.start) - self.start

    def after(self, key: Key | None) -> Iterator[Key]:
        at = self.start if key is None else bisect_right(self.keys, key, self.start)
        while at < len(self.keys):
            yield self.keys[at]
            at += 1


class Line:
    """Which runs wait, and in which order. Whoever uses it from several threads brings a lock."""

    def __init__(self) -> None:
        self._rows: dict[Group, _Row] = {}
        self._places: dict[str, tuple[Group, Key]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._places

    def put(self, group: Group, key: Key) -> None:
        """A run waits from now on. Nothing happens if it does already."""
        if key[1] not in self._places:
            self._places[key[1]] = (group, key)
            self._rows.setdefault(group, _Row()).put(key)

    def pop(self, group: Group) -> Key | None:
        """The oldest run of a group, which waits no more; None when none does."""
        row = self._rows.get(group)
        if row is None:
            return None
        key = row.pop()
        self._leave(group, row, key)
        return key

    def remove(self, run_id: str) -> None:
        """The run waits no more, wherever it stands."""
        if place := self._places.get(run_id):
            group, key = place
            row = self._rows[group]
            row.remove(key)
            self._leave(group, row, key)

    def _leave(self, group: Group, row: _Row, key: Key) -> None:
        del self._places[key[1]]
        if not row:
            del self._rows[group]

    def heads(self) -> list[tuple[Key, Group]]:
        """The oldest run of each group, in no order."""
        return [(row.keys[row.start], group) for group, row in self._rows.items()]

    def sizes(self) -> dict[Group, int]:
        """How many runs of each group wait."""
        return {group: len(row) for group, row in self._rows.items()}

    def before(self, key: Key, groups: Container[Group]) -> int:
        """How many runs of these groups stand before this one."""
        return sum(row.before(key) for group, row in self._rows.items() if group in groups)

    def place(self, run_id: str) -> tuple[Group, Key] | None:
        """Where the run waits; None: not here."""
        return self._places.get(run_id)

    def after(self, key: Key | None, groups: Container[Group] | None = None) -> Iterator[tuple[Key, Group]]:
        """The runs of these groups (None: of all) behind ``key`` (None: from the front), oldest first. Nothing may
        change meanwhile."""

        def walk(group: Group, row: _Row) -> Iterator[tuple[Key, Group]]:
            return ((one, group) for one in row.after(key))

        rows = self._rows.items()
        return heapq.merge(*(walk(group, row) for group, row in rows if groups is None or group in groups))


class Lines:
    """Two lines: of runs that may be given out, and of those that are held back (F24). Every method may be called from
    any thread."""

    def __init__(self, holds: Callable[[str], bool]) -> None:
        """``holds``: the run is given to nobody yet."""
        self._holds = holds
        self._lock = threading.Lock()
        self._open = Line()
        self._held = Line()
        self._versions: dict[str, int] = {}  # of the runs, as they were when they came in

    def __len__(self) -> int:
        return len(self._open) + len(self._held)

    def add(self, run: Run) -> None:
        """A pending run waits from now on. Nothing happens if it does already."""
        with self._lock:
            self._versions[run.id] = max(run.version, self._versions.get(run.id, 0))
        self.put(group_of(run), (run.created_at, run.id))

    def put(self, group: Group, key: Key) -> None:
        """A run that was taken out waits again. Nothing happens if it does already."""
        with self._lock:
            if key[1] not in self._open and key[1] not in self._held:
                self._sort(group, key)

    def pop(self, group: Group) -> Key | None:
        """The oldest run of a group that may be given out, which waits no more; None when none does."""
        with self._lock:
            return self._open.pop(group)

    def remove(self, run: Run) -> None:
        """The run is not pending any more. Word of that may come late: if it has come back since, it stays."""
        with self._lock:
            if run.version > self._versions.get(run.id, 0):
                self._open.remove(run.id)
                self._held.remove(run.id)
                self._versions.pop(run.id, None)

    def forget(self, run_id: str) -> None:
        """The run, which was taken out, is not pending any more."""
        with self._lock:
            self._versions.pop(run_id, None)

    def heads(self) -> list[tuple[Key, Group]]:
        """The oldest run of each group that may be given out, oldest first."""
        with self._lock:
            heads = self._open.heads()
        return sorted(heads)

    def sort_anew(self) -> list[str]:
        """Other runs are held now than before; answers those that are held no more."""
        with self._lock:
            held, waiting = list(self._held.after(None)), list(self._open.after(None))
            self._open, self._held = Line(), Line()
            for key, group in (*waiting, *held):
                self._sort(group, key)
            return [key[1] for key, _ in held if key[1] not in self._held]

    def _sort(self, group: Group, key: Key) -> None:
        try:
            is_held = self._holds(key[1])
        except Unavailable:
            is_held = False  # it is asked again before the run is given to anybody
        (self._held if is_held else self._open).put(group, key)

    # ---- looking

    def sizes(self, *, held: bool) -> dict[Group, int]:
        """How many runs of each group are held, or may be given out."""
        with self._lock:
            return (self._held if held else self._open).sizes()

    def before(self, run_ids: Collection[str], groups: Container[Group]) -> dict[str, int]:
        """How many runs of these groups are before each of these runs; those that may not be given out are left out."""
        with self._lock:
            places = {run_id: self._open.place(run_id) for run_id in run_ids}
            return {
                run_id: self._open.before(place[1], groups)
                for run_id, place in places.items()
                if place is not None and place[0] in groups
            }

    def after(self, key: Key | None, limit: int, groups: Container[Group], held: Container[Group]) -> list[Key]:
        """At most ``limit`` runs behind ``key``, oldest first: of ``groups`` those that may be given out, of ``held``
        those that are held."""
        with self._lock:
            found = heapq.merge(self._open.after(key, groups), self._held.after(key, held))
            return [one for one, _ in islice(found, limit)]
