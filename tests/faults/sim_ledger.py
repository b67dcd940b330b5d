"""The simulated database, and a ledger of what was committed in it.

``MemoryRepository`` stands for SQLite (the contract suite keeps the two equal; that SQLite forgets nothing it has
committed is proved elsewhere). Between the product and it stands ``Watched``: every verb is a place to die before and
after, may be refused as a busy database refuses, and is noted when it committed a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.db.memory import MemoryRepository
from appliance.model.entities import Run
from appliance.model.errors import Unavailable
from appliance.model.run_state import TERMINAL, IllegalTransition, Status
from tests.faults.sim_disk import Fuse

WRITES = frozenset({"grant", "take_back", "replace", "finish"})


class Ledger:
    """Every status that every run was committed with, and its first end."""

    def __init__(self) -> None:
        self.history: dict[str, list[Status]] = {}
        self.ends: dict[str, Run] = {}
        self.illegal: list[str] = []  # changes that the store had to refuse (I10)

    def note(self, run: Run) -> None:
        """A run was committed."""
        seen = self.history.setdefault(run.id, [])
        if not seen or seen[-1] is not run.status:
            seen.append(run.status)
        if run.status in TERMINAL:
            self.ends.setdefault(run.id, run)


class Watched:
    """One store of the repository, seen by the product."""

    def __init__(self, store: Any, fuse: Fuse, ledger: Ledger, refuses: Callable[[], bool]) -> None:
        self._store, self._fuse, self._ledger, self._refuses = store, fuse, ledger, refuses

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not callable(verb):
            return verb

        def call(*arguments: Any, **named: Any) -> Any:
            self._fuse.burn(f"before {name}")
            if self._refuses():
                raise Unavailable("the simulated database is busy")
            try:
                answer = verb(*arguments, **named)
            except IllegalTransition as error:
                self._ledger.illegal.append(f"{name}: {error}")
                raise
            if name in WRITES and answer and isinstance(arguments[0], Run):
                self._ledger.note(self._store.get(arguments[0].id))
            elif name == "add" and isinstance(answer, tuple) and isinstance(answer[0], Run):
                self._ledger.note(answer[0])
            self._fuse.burn(f"after {name}")
            return answer

        self.__dict__[name] = call
        return call


class WatchedRepository:
    """The repository that a life of the master gets."""

    def __init__(
        self, repository: MemoryRepository, fuse: Fuse, ledger: Ledger, refuses: Callable[[], bool] = lambda: False
    ) -> None:
        self._repository, self._rest = repository, (fuse, ledger, refuses)

    def __getattr__(self, name: str) -> Watched:
        store = self.__dict__[name] = Watched(getattr(self._repository, name), *self._rest)
        return store
