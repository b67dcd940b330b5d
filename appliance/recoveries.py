"""Recoveries: after a restore from a backup, what waits until the workers have told what happened since (F24).

Runs that were live in the backup may have been executed since by any worker, so none of them is given to anybody until
every worker of the backup has told all that it holds (``merged``), or an operator says that nobody will (``release``).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.events import Event, Events, RecoveryChanged, WorkerChanged
from appliance.model.entities import Recovery, RecoveryWorker
from appliance.model.errors import Conflict, Unavailable
from appliance.model.run_state import Status
from appliance.model.sizes import show_count

_log = logging.getLogger(__name__)

SHOWN = 5  # workers that a sentence names


class Recoveries:
    """The use cases. Every method may be called from any thread."""

    def __init__(self, repository: Repository, clock: Clock, events: Events) -> None:
        self._store = repository.lineage
        self._runs = repository.runs
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._held: frozenset[str] | None = None  # None: not looked yet
        self._was_open = False
        events.subscribe(self._on_event)

    def newest(self) -> Recovery | None:
        """The newest recovery, ended or not; ``None``: this database was never restored."""
        return self._store.recovery()

    def open(self) -> Recovery | None:
        """The recovery that keeps runs waiting now."""
        newest = self._store.recovery()
        return newest if newest is not None and newest.is_open else None

    def holds(self, run_id: str) -> bool:
        """Whether this run waits: another worker may have executed it."""
        return run_id in self._holding()

    def why(self, run_id: str) -> str:
        """Why this run waits; "" if it is not held."""
        recovery = self.open() if self.holds(run_id) else None
        return "" if recovery is None else show_hold(recovery)

    def awaits(self, worker_id: str) -> bool:
        """Whether this worker has not told yet what it holds, released or not."""
        newest = self._store.recovery()
        return newest is not None and any(one.id == worker_id for one in newest.waiting)

    def begin(self, why: str, backup_at: datetime | None = None) -> Recovery:
        """This database is older than what the workers know. Runs of it wait from now on."""
        recovery = self._store.begin_recovery(self._clock.now(), backup_at)
        _log.warning("the database was restored from an older backup: %s", why)
        self._look()
        return recovery

    def merged(self, worker_id: str, journal_id: str, complete_since: float = 0.0, note: str = "") -> None:
        """The worker has told all that this journal of it holds. Of runs stored after ``complete_since`` (seconds since
        1970) it has deleted none.

        A run of the backup that waits still may be one that it has executed and deleted since. Nothing is executed
        twice on a guess (decision 7): then those runs wait for an operator.
        """
        note = note or self._gap(worker_id, journal_id, complete_since)
        recovery = self._store.merged(worker_id, self._clock.now(), note)
        if recovery is not None:
            _log.info("%s", show_recovery(recovery))
        self._look()

    def count(self, run_id: str, *, is_recovered: bool) -> None:
        """A run was brought back by a worker, or could not be."""
        self._store.note_recovered(run_id, is_recovered=is_recovered)

    def could_not(self, run_id: str) -> bool:
        """Whether this run could not be brought back."""
        return self._store.could_not_recover(run_id)

    def release(self, by: str) -> Recovery:
        """Wait for no worker any more: runs of the backup are given out, on the operator's word.

        Raises Conflict when nothing waits.
        """
        released = self._store.release(by, self._clock.now())
        if released is None:
            raise Conflict("no recovery waits for anything: there is nothing to release")
        _log.warning("%s released the runs of the backup; not merged: %s", by, _names(released.waiting) or "none")
        self._look()
        return released

    # ---- inside

    def _gap(self, worker_id: str, journal_id: str, complete_since: float) -> str:
        """What such a worker may have executed of the runs that wait, and deleted; "" if nothing."""
        recovery = self.open()
        if recovery is None:
            return ""
        is_older = any((one.id, one.journal_id) == (worker_id, journal_id) for one in recovery.workers)
        if is_older and recovery.backup_at and complete_since <= recovery.backup_at.timestamp():
            return ""  # no run need be looked at
        waits = [run for run_id in self._store.waiting_runs() if (run := self._runs.get(run_id)) is not None]
        waits = [run for run in waits if run.status in (Status.PENDING, Status.ASSIGNED)]
        if not waits:
            return ""
        if not is_older:
            return "its journal is younger than the backup"
        backup_at = recovery.backup_at or min(run.created_at for run in waits)
        if complete_since <= backup_at.timestamp():
            return ""
        since = datetime.fromtimestamp(complete_since, UTC)
        return f"it no longer knows what it executed before {since:%Y-%m-%d %H:%M:%S} UTC"

    def _holding(self) -> frozenset[str]:
        held = self._held
        return self._read() if held is None else held

    def _read(self) -> frozenset[str]:
        with self._lock:
            self._was_open = self.open() is not None
            held = self._held = self._store.waiting_runs() if self._was_open else frozenset()
        return held

    def _look(self) -> None:
        self._read()
        self._events.publish(RecoveryChanged())

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, WorkerChanged):
            return
        self._holding()
        if self._was_open and self.open() is None:
            with contextlib.suppress(Unavailable):  # then it counts as over since it began
                self._store.merged(event.worker_id, self._clock.now())
            self._look()  # the last one that was waited for is removed


def show_recovery(recovery: Recovery) -> str:
    """What an administrator wants to know, in a sentence."""
    when = "an older backup" if recovery.backup_at is None else f"the backup of {recovery.backup_at:%Y-%m-%d %H:%M} UTC"
    said = f"restored from {when}; {show_count(recovery.recovered, 'run')} recovered, {recovery.failed} could not be"
    if recovery.waiting and recovery.is_open:
        return f"{said}; waits for {_names(recovery.waiting)}"
    if recovery.is_open:
        return f"{said}; waits to be released: not all is known of {_names(recovery.less)}"
    if recovery.released_by is not None:
        return f"{said}; it is over: released by {recovery.released_by}"
    return f"{said}; it is over: {'all workers have reported' if recovery.workers else 'no worker is to report'}"


def show_hold(recovery: Recovery) -> str:
    """Why a run of the backup waits."""
    if not recovery.waiting:
        names = _names(recovery.less)
        return f"waits: restored from a backup; {names} may have executed it since: an administrator releases it"
    count = len(recovery.waiting)
    who = "1 worker has" if count == 1 else f"{count} workers have"
    return f"waits: restored from a backup; {who} not reported yet ({_names(recovery.waiting)})"


def _names(workers: Sequence[RecoveryWorker]) -> str:
    names = [f"{one.name}{'' if one.is_enabled else ' (disabled)'}" for one in workers]
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
