"""Runs, in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from appliance.db.lineage import NUMBERS_SKIPPED
from appliance.db.repository import RunFilter, RunKey, RunStore
from appliance.db.results import lay_over
from appliance.model.entities import IdempotencyKey, Lease, NewRun, Run, StreamRecord
from appliance.model.errors import Conflict
from appliance.model.run_state import LEASED, LEGAL, LIVE, TERMINAL, IllegalTransition, Status

_FIXED = frozenset(NewRun.__struct_fields__) - {"priority"} | {"number"}  # what a trigger settles for ever
_FACTS = (
    *("status", "reason", "sentence", "assigned_at", "accepted_at", "started_at", "finished_at"),
    *("worker_id", "worker", "exit"),
)


class MemoryRuns(RunStore):
    """See :class:`~appliance.db.repository.RunStore`."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._runs: dict[str, Run] = {}
        self._numbered: dict[tuple[str, str], dict[int, str]] = {}  # ids by number
        self._last: dict[tuple[str, str], int] = {}  # the highest number given, or skipped
        self._by_status: dict[Status, dict[str, Run]] = {status: {} for status in Status}
        self._keys: dict[tuple[str, str], tuple[str, str, datetime]] = {}
        self._leases: dict[str, Lease] = {}
        self._returned: set[tuple[str, str]] = set()  # run ids and caps
        self._streams: dict[str, dict[int, StreamRecord]] = {}
        self._results: dict[str, tuple[int, str]] = {}
        self._laid_over: dict[str, dict[str, Any]] = {}
        self.is_unheard: Callable[[], bool] = lambda: False  # set by ``MemoryLineage``: a new job leaves out numbers

    def add(self, new: NewRun, key: IdempotencyKey | None = None) -> tuple[Run, bool]:
        """See the interface."""
        with self._lock:
            if key and (known := self.keyed(key)):
                return known, False
            if new.id in self._runs:
                raise Conflict(f"a run with the id {new.id} exists")
            job = (new.project, new.job)
            fields = {name: getattr(new, name) for name in NewRun.__struct_fields__}
            fields["parameters"] = msgspec.json.decode(msgspec.json.encode(new.parameters))
            first = NUMBERS_SKIPPED if self.is_unheard() else 0
            number = self._last[job] = self._last.get(job, first) + 1
            run = Run(number=number, status=Status.PENDING, **fields)
            self._numbered.setdefault(job, {})[number] = run.id
            if key:
                self._keys[key.owner, key.key] = (run.id, key.digest, run.created_at)
            self._put(run)
            return run, True

    def keyed(self, key: IdempotencyKey) -> Run | None:
        """See the interface."""
        with self._lock:
            known = self._keys.get((key.owner, key.key))
            if known is None:
                return None
            run_id, digest, _ = known
            if digest != key.digest:  # public: both are digests of what this caller sent itself
                raise Conflict("this Idempotency-Key was used for another request; use a new key")
            return self._runs[run_id]

    def get(self, run_id: str) -> Run | None:
        """See the interface."""
        with self._lock:
            return self._runs.get(run_id)

    def numbered(self, project: str, job: str, number: int) -> Run | None:
        """See the interface."""
        with self._lock:
            run_id = self._numbered.get((project, job), {}).get(number)
            return None if run_id is None else self._runs[run_id]

    def newest(self, project: str, job: str, status: Status | None = None) -> Run | None:
        """See the interface."""
        with self._lock:
            numbers = self._numbered.get((project, job), {})
            newest_first = (self._runs[numbers[number]] for number in sorted(numbers, reverse=True))
            return next((run for run in newest_first if status is None or run.status is status), None)

    def find(self, where: RunFilter, after: RunKey | None, limit: int, *, oldest_first: bool = False) -> list[Run]:
        """See the interface."""
        with self._lock:
            if where.status:
                runs: Iterable[Run] = [run for one in set(where.status) for run in self._by_status[one].values()]
            else:
                runs = self._runs.values()
            found = [run for run in runs if _matches(run, where)]
        if after is not None:
            edge = _place(after)
            found = [run for run in found if (_key(run) > edge if oldest_first else _key(run) < edge)]
        return sorted(found, key=_key, reverse=not oldest_first)[:limit]

    def pending(self, after: RunKey | None, limit: int) -> list[Run]:
        """See the interface."""
        with self._lock:
            runs = sorted(self._by_status[Status.PENDING].values(), key=_key)
        return [run for run in runs if after is None or _key(run) > _place(after)][:limit]

    def expired(self, now: datetime, limit: int) -> list[Run]:
        """See the interface."""
        with self._lock:
            runs = [
                (run.expires_at, run.id, run)
                for run in self._by_status[Status.PENDING].values()
                if run.expires_at is not None and run.expires_at <= now
            ]
        return [run for _, _, run in sorted(runs)[:limit]]

    def leased_to(self, worker_id: str) -> list[tuple[Run, Lease]]:
        """See the interface."""
        return [pair for pair in self.leased() if pair[1].worker_id == worker_id]

    def leased(self) -> list[tuple[Run, Lease]]:
        """See the interface."""
        with self._lock:
            runs = [run for status in LEASED for run in self._by_status[status].values()]
            return [(run, self._leases[run.id]) for run in sorted(runs, key=_key) if run.id in self._leases]

    def leased_counts(self) -> dict[str, int]:
        """See the interface."""
        return dict(Counter(lease.worker_id for _, lease in self.leased()))

    def lease(self, run_id: str) -> Lease | None:
        """See the interface."""
        with self._lock:
            return self._leases.get(run_id)

    def grant(self, run: Run, lease: Lease, if_version: int) -> bool:
        """See the interface."""
        with self._lock:
            if not self._replace(run, if_version, {Status.ASSIGNED}):
                return False
            self._leases[run.id] = lease
            return True

    def recover(self, run: Run, lease: Lease) -> Run | None:
        """See the interface."""
        with self._lock:
            if run.status is not Status.ASSIGNED:
                raise IllegalTransition(f"a lease is for an assigned run, not for one that is {run.status}")
            if run.id in self._runs:
                return None
            job = (run.project, run.job)
            last, numbers = self._last.get(job, 0), self._numbered.setdefault(job, {})
            number = last + 1 if run.number in numbers else run.number
            if number > last:
                self._last[job] = number if run.number in numbers else number + NUMBERS_SKIPPED
            stored = msgspec.structs.replace(run, number=number, version=1)
            numbers[number] = run.id
            self._put(stored)
            self._leases[run.id] = lease
            return stored

    def take_back(self, run: Run, if_version: int) -> bool:
        """See the interface."""
        with self._lock:
            before = self._runs.get(run.id)
            if before is None or before.version != if_version:
                return False
            if before.status is not Status.ASSIGNED or run.status not in (Status.PENDING, Status.CANCELLED):
                raise IllegalTransition(f"a run that is {before.status} cannot be taken back to {run.status}")
            self._returned.add((run.id, self._leases.pop(run.id).cap))
            self._put(_fixed(run, before))
            return True

    def came_back(self, run_id: str, cap: str) -> bool:
        """For ``MemoryLineage`` only."""
        return (run_id, cap) in self._returned

    def replace(self, run: Run, if_version: int) -> bool:
        """See the interface."""
        with self._lock:
            return self._replace(run, if_version, LIVE | TERMINAL)

    def finish(self, run: Run, streams: Sequence[StreamRecord], results: str | None, if_version: int) -> bool:
        """See the interface."""
        with self._lock:
            if not self._replace(run, if_version, TERMINAL):
                return False
            for record in streams:
                self._streams.setdefault(record.run_id, {})[record.stream] = record
            if results is not None:
                self._results[run.id] = (self._results.get(run.id, (0, ""))[0], results)
            return True

    def streams(self, run_id: str) -> list[StreamRecord]:
        """See the interface."""
        with self._lock:
            return [record for _, record in sorted(self._streams.get(run_id, {}).items())]

    def put_streams(self, records: Sequence[StreamRecord]) -> None:
        """See the interface."""
        with self._lock:
            for record in records:
                run = self._runs.get(record.run_id)
                if run is None:
                    continue
                streams = self._streams.setdefault(record.run_id, {})
                before = streams.get(record.stream)
                if before is None or run.status in LIVE or record.size > before.size:
                    streams[record.stream] = record

    def results(self, run_id: str) -> str:
        """See the interface."""
        with self._lock:
            return lay_over(self._results.get(run_id, (0, "{}"))[1], self._laid_over.get(run_id, {}))

    def put_results(self, run_id: str, seq: int, text: str) -> bool:
        """See the interface."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.status not in LIVE or seq <= self._results.get(run_id, (-1, ""))[0]:
                return False
            self._results[run_id] = (seq, text)
            return True

    def set_results(self, run_id: str, values: Mapping[str, Any]) -> bool:
        """See the interface."""
        with self._lock:
            if run_id not in self._runs:
                return False
            own = msgspec.json.decode(msgspec.json.encode(dict(values)))
            self._laid_over[run_id] = self._laid_over.get(run_id, {}) | own
            return True

    def counts(self) -> dict[Status, int]:
        """See the interface."""
        with self._lock:
            return {status: len(self._by_status[status]) for status in Status if status in LIVE}

    def live(self) -> frozenset[str]:
        """Ids of all live runs. For ``MemoryLineage`` only."""
        return frozenset(run_id for status in LIVE for run_id in self._by_status[status])

    def skip_numbers(self) -> None:
        """Leave out numbers of every job. For ``MemoryLineage`` only."""
        for job in self._last:
            self._last[job] += NUMBERS_SKIPPED

    def has_live(self, worker_id: str) -> bool:
        """Whether a worker has, or may have, a run. For ``MemoryWorkers`` only."""
        return any(run.worker_id == worker_id for status in LEASED for run in self._by_status[status].values())

    def drop_keys(self, until: datetime, limit: int) -> int:
        """Forget idempotency keys made by then. For ``MemoryAccounts`` only."""
        old = [key for key, (_, _, at) in self._keys.items() if at <= until][:limit]
        for key in old:
            del self._keys[key]
        return len(old)

    def _replace(self, run: Run, if_version: int, to: Collection[Status]) -> bool:
        before = self._runs.get(run.id)
        if before is None or before.version != if_version:
            return False
        if run.status not in to or (run.status is not before.status and (before.status, run.status) not in LEGAL):
            raise IllegalTransition(f"a run that is {before.status} cannot become {run.status} here")
        if before.status in TERMINAL and any(getattr(run, name) != getattr(before, name) for name in _FACTS):
            raise IllegalTransition(f"run {run.id} is {before.status}: its facts never change again")
        self._put(_fixed(run, before))
        if run.status in TERMINAL and run.id in self._leases:
            self._leases[run.id] = msgspec.structs.replace(self._leases[run.id], request="")
        return True

    def _put(self, run: Run) -> None:
        before = self._runs.get(run.id)
        if before is not None:
            del self._by_status[before.status][run.id]
        self._runs[run.id] = self._by_status[run.status][run.id] = run


def _fixed(run: Run, before: Run) -> Run:
    kept = {name: getattr(before, name) for name in _FIXED}
    return msgspec.structs.replace(run, version=before.version + 1, **kept)


def _key(run: Run) -> tuple[datetime, str]:
    return run.created_at, run.id


def _place(after: RunKey) -> tuple[datetime, str]:
    return after.created_at, after.id


def _matches(run: Run, where: RunFilter) -> bool:
    return (
        (where.visible is None or run.project in where.visible)
        and (not where.project or run.project in where.project)
        and (not where.job or run.job in where.job)
        and (not where.worker or run.worker in where.worker)
        and (not where.status or run.status in where.status)
        and (not where.source or run.source.type in where.source)
        and (where.since is None or run.created_at >= where.since)
        and (where.until is None or run.created_at < where.until)
    )
