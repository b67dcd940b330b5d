"""What is done by the clock and not by an event: beats written, streams made durable, the expired and the lost noted.

Nothing here is on the way of a run.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime

from appliance.background import Loop
from appliance.clock import MARK_EVERY, SteadyClock
from appliance.db.repository import Repository
from appliance.job_versions import JobVersions
from appliance.leases import Leases
from appliance.master.roster import Roster, Seat
from appliance.model.entities import Run
from appliance.model.errors import ApplianceError, Unavailable
from appliance.model.requests import Limits
from appliance.model.run_state import Status
from appliance.model.times import show_duration
from appliance.runs import Runs
from appliance.wire import Close
from appliance.workers import Workers

_log = logging.getLogger(__name__)

BEATS_EVERY = 1.0  # seconds
SYNC_EVERY = 2.0
SWEEP_EVERY = 15.0
ANSWER_WITHIN = 60.0  # a connected worker says whether it takes a run


class Sweeper:
    """Three loops over use cases. What counts seconds here counts monotonic ones: the wall clock may jump (F22)."""

    def __init__(
        self,
        repository: Repository,
        runs: Runs,
        leases: Leases,
        workers: Workers,
        roster: Roster,
        clock: SteadyClock,
        versions: JobVersions,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._runs = runs
        self._leases = leases
        self._workers = workers
        self._roster = roster
        self._clock = clock
        self._versions = versions
        self._limits = limits
        self._since: float | None = None  # monotonic; when this life began
        self._marked_at: float | None = None
        self._unanswered: dict[tuple[str, datetime | None], tuple[Seat, float]] = {}  # whom, and when it was seen first
        self._loops = (
            Loop("beats", self.write_beats),
            Loop("sync", self.sync_streams),
            Loop("sweep", self.sweep),
        )

    def start(self) -> None:
        """Start the loops."""
        self._since = self._clock.monotonic()
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End them, with what was heard written and what arrived made durable."""
        for loop in self._loops:
            loop.stop()
        self.write_beats()
        self.sync_streams()

    def write_beats(self) -> float:
        """One write for all workers that were heard."""
        self._workers.heard(self._roster.take_heard())
        return BEATS_EVERY

    def sync_streams(self) -> float:
        """See ``Leases.sync_streams``."""
        self._leases.sync_streams()
        return SYNC_EVERY

    def sweep(self) -> float:
        """Cancel the expired, call the silent lost, delete dead tokens; note how late it is."""
        self.note_time()
        while self._runs.expire():
            pass
        self.look_for_lost()
        self.look_for_unanswered()
        self._repository.accounts.purge(self._clock.mark())
        return SWEEP_EVERY

    def note_time(self) -> None:
        """Store the time that is certain, each MARK_EVERY at least: the next life of this server goes on from there
        (F22)."""
        now = self._clock.monotonic()
        if self._marked_at is None or now - self._marked_at > MARK_EVERY - 2 * SWEEP_EVERY:
            with contextlib.suppress(Unavailable):  # the next sweep tries again; the others need no mark
                self._repository.lineage.put_clock_mark(self._clock.mark())
                self._marked_at = now

    def look_for_lost(self) -> int:
        """Runs of workers that were not heard for longer than their job bears become ``lost`` (F10); answers how many.

        Time in which this master was down does not count (4.4).
        """
        now = self._clock.monotonic()
        lived = now - (now if self._since is None else self._since)
        lost = 0
        for run, lease in self._repository.runs.leased():
            if run.status is Status.LOST or self._roster.is_connected(lease.worker_id):
                continue
            if run.status is Status.ASSIGNED and self._runs.holds(run.id):
                continue  # perhaps another worker has it (F24)
            silent = self._roster.silent_for(lease.worker_id)
            silent = lived if silent is None else min(silent, lived)
            if silent > self._patience(run):
                self._leases.lose(run, f"no contact with {run.worker} for {show_duration(silent)}")
                lost += 1
        return lost

    def look_for_unanswered(self) -> int:
        """Workers that are connected and do not say whether they take a run are asked to come again; answers how many.

        What they then list settles it. One that only answers pings would keep its runs for ever (J18).
        """
        now = self._clock.monotonic()
        silent: dict[str, str] = {}
        before, self._unanswered = self._unanswered, {}
        for run, lease in self._repository.runs.leased():
            seat = self._roster.seat(lease.worker_id) if run.status is Status.ASSIGNED else None
            if seat is None or seat.since is None:
                continue
            asked, since = before.get((run.id, run.assigned_at), (seat, now))
            if asked is not seat:
                since = now  # it came again, and has its time again
            self._unanswered[run.id, run.assigned_at] = (seat, since)
            if now - since > ANSWER_WITHIN:
                silent[lease.worker_id] = run.id
        for worker_id, run_id in silent.items():
            if seat := self._roster.seat(worker_id):
                _log.warning("worker %s did not say in time whether it takes run %s", seat.name, run_id)
                seat.voice.close(Close.RESTART, "a run that was assigned was not answered in time: connect again")
        return len(silent)

    def _patience(self, run: Run) -> float:
        try:
            own = self._versions.get(run.definition_version).lost_after_seconds
        except (LookupError, ApplianceError) as error:
            _log.error("the definition of run %s cannot be read: %s", run.id, error)
            own = None
        return self._limits.lost_after if own is None else own
