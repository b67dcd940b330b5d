"""The lives of the master, and its recoveries, in memory."""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime

import msgspec

from appliance.db.lineage import LOST_LIFE, LineageStore
from appliance.db.memory.runs import MemoryRuns
from appliance.db.memory.workers import MemoryWorkers
from appliance.model.entities import Lineage, Recovery, RecoveryWorker


class _Recovery(msgspec.Struct):
    """A recovery, the journals that workers had, what each has said (when, and a note), and what became of runs."""

    stored: Recovery
    journals: dict[str, str | None]
    merged: dict[str, tuple[datetime | None, str]]
    live: frozenset[str]
    outcomes: dict[str, bool]


class MemoryLineage(LineageStore):
    """See :class:`~appliance.db.repository.LineageStore`."""

    def __init__(self, lock: threading.RLock, runs: MemoryRuns, workers: MemoryWorkers) -> None:
        self._lock = lock
        self._runs = runs
        self._workers = workers
        self._cluster: str | None = None
        self._incarnations: list[str] = []
        self._lost_lives: set[str] = set()
        self._recoveries: list[_Recovery] = []
        self._clock_mark: datetime | None = None
        runs.is_unheard = self._is_unheard

    def open_epoch(self, incarnation: str, boot_id: str, at: datetime) -> Lineage:
        """See the interface."""
        with self._lock:
            if self._cluster is None:
                self._cluster = hashlib.sha256(f"cluster {incarnation}".encode()).hexdigest()[:32]
            self._incarnations.append(incarnation)
            return Lineage(cluster=self._cluster, epoch=len(self._incarnations), incarnation=incarnation)

    def epoch_of(self, incarnation: str) -> int | None:
        """See the interface."""
        with self._lock:
            if incarnation in self._incarnations:
                return self._incarnations.index(incarnation) + 1
            return LOST_LIFE if incarnation in self._lost_lives else None

    def lose(self, incarnation: str) -> None:
        """See the interface."""
        with self._lock:
            self._lost_lives.add(incarnation)

    def clock_mark(self) -> datetime | None:
        """See the interface."""
        with self._lock:
            return self._clock_mark

    def put_clock_mark(self, at: datetime) -> None:
        """See the interface."""
        with self._lock:
            self._clock_mark = at

    def begin_recovery(self, began_at: datetime, backup_at: datetime | None = None) -> Recovery:
        """See the interface."""
        with self._lock:
            newest = self.recovery()
            if backup_at is not None or newest is None or not self._is_fresh(newest):
                self._recoveries.append(
                    _Recovery(
                        stored=Recovery(len(self._recoveries) + 1, began_at, backup_at),
                        journals=self._workers.journals(),
                        merged=dict.fromkeys(self._workers.journals(), (None, "")),
                        live=self._runs.live(),
                        outcomes={},
                    )
                )
                self._runs.skip_numbers()
                self._end_if_complete(began_at)
            begun = self.recovery()
            assert begun is not None
            return begun

    def recovery(self) -> Recovery | None:
        """See the interface."""
        with self._lock:
            if not self._recoveries:
                return None
            newest = self._recoveries[-1]
            workers = [(self._workers.get(worker_id), said) for worker_id, said in newest.merged.items()]
            known = [
                RecoveryWorker(one.id, one.name, one.is_enabled, newest.journals[one.id], *said)
                for one, said in workers
                if one
            ]
            return msgspec.structs.replace(
                newest.stored,
                workers=tuple(sorted(known, key=lambda one: one.name.lower())),
                recovered=sum(newest.outcomes.values()),
                failed=sum(not outcome for outcome in newest.outcomes.values()),
            )

    def waiting_runs(self) -> frozenset[str]:
        """See the interface."""
        with self._lock:
            return self._recoveries[-1].live if self._recoveries else frozenset()

    def merged(self, worker_id: str, at: datetime, note: str = "") -> Recovery | None:
        """See the interface."""
        with self._lock:
            if self._recoveries:
                merged = self._recoveries[-1].merged
                if merged.get(worker_id, (at, ""))[0] is None:
                    merged[worker_id] = (at, note)
                self._end_if_complete(at)
            return self.recovery()

    def note_recovered(self, run_id: str, *, is_recovered: bool) -> None:
        """See the interface."""
        with self._lock:
            if self._recoveries:
                self._recoveries[-1].outcomes[run_id] = is_recovered

    def could_not_recover(self, run_id: str) -> bool:
        """See the interface."""
        with self._lock:
            said = [one.outcomes[run_id] for one in self._recoveries if run_id in one.outcomes]
            return bool(said) and not said[-1]

    def came_back(self, run_id: str, cap: str) -> bool:
        """See the interface."""
        with self._lock:
            return self._runs.came_back(run_id, cap)

    def release(self, by: str, at: datetime) -> Recovery | None:
        """See the interface."""
        with self._lock:
            newest = self.recovery()
            if newest is None or not newest.is_open:
                return None
            self._change(released_at=at, released_by=by, ended_at=at)
            return self.recovery()

    def _is_unheard(self) -> bool:
        """Whether a worker that has not told yet may know runs of jobs that are new here."""
        newest = self.recovery()
        return newest is not None and bool(newest.waiting)

    def _is_fresh(self, newest: Recovery) -> bool:
        """Whether it waits for every worker there is."""
        return newest.is_open and len(newest.waiting) == len(self._workers.journals()) > 0

    def _end_if_complete(self, at: datetime) -> None:
        newest = self.recovery()
        if newest is not None and newest.ended_at is None and not newest.is_open:
            self._change(ended_at=at)

    def _change(self, **fields: object) -> None:
        newest = self._recoveries[-1]
        newest.stored = msgspec.structs.replace(newest.stored, **fields)
