"""Who gets which run, as soon as both are there. Woken by events; nothing on the way of a run polls.

Pending runs wait in memory by job version, in the order of their triggers; the database is the truth, and a run that is
no longer pending falls out when its grant fails. What a dispatch costs depends on the number of waiting jobs and of
free workers, not on the number of waiting runs.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

from appliance.background import Loop
from appliance.db.repository import Repository, RunKey
from appliance.events import Event, Events, ProjectsChanged, RecoveryChanged, RunChanged, WorkerChanged
from appliance.job_versions import JobVersions
from appliance.leases import Assignment, Leases
from appliance.master.roster import Roster, Seat
from appliance.model import definitions, matching, run_state
from appliance.model.entities import Run
from appliance.model.errors import ApplianceError, Unavailable
from appliance.model.requests import Limits, request_of
from appliance.model.run_state import IllegalTransition, Status
from appliance.wire import messages as m

_log = logging.getLogger(__name__)

PAGE = 1000
RETRY_AFTER = 2.0  # seconds after which storage that refused a grant is asked again (F19)

Group = tuple[str, str, str]  # project, job, definition version
Match = Callable[[definitions.JobDocument, Seat], list[str]]


def match(document: definitions.JobDocument, seat: Seat) -> list[str]:
    """Why this worker cannot have runs of this job; empty = it can. Replace it to change the matching (X14)."""
    return matching.unmet(document.requires, document.properties, seat.properties)


class _Waiting(msgspec.Struct, order=True):
    """A pending run in the queue: oldest first."""

    created_at: datetime
    run_id: str


class Dispatcher:
    """The loop that gives pending runs to free workers."""

    def __init__(
        self,
        repository: Repository,
        leases: Leases,
        roster: Roster,
        events: Events,
        epoch: Callable[[], int],
        run_token: Callable[[str], str],
        versions: JobVersions,
        limits: Limits,
        match: Match = match,
        may_give: Callable[[], bool] = lambda: True,
        holds: Callable[[str], bool] = lambda _: False,
        cancel_unwanted: Callable[[Run], object] = lambda _: None,
    ) -> None:
        """``run_token`` gives the token that a run's commands get. ``may_give`` is False while the server's disk is
        full (F16); whoever makes it True again calls ``wake``. ``holds``: this run is given to nobody yet (F24); one
        that was, and is no more, goes through ``cancel_unwanted`` first."""
        self._repository = repository
        self._leases = leases
        self._roster = roster
        self._events = events
        self._epoch = epoch
        self._run_token = run_token
        self._versions = versions
        self._limits = limits
        self._match = match
        self._may_give = may_give
        self._holds = holds
        self._cancel_unwanted = cancel_unwanted
        self._lock = threading.Lock()
        self._queues: dict[Group, list[_Waiting]] = {}
        self._queued: set[str] = set()  # all that wait here, held or not
        self._held: dict[str, tuple[Group, _Waiting]] = {}
        self._let_go: deque[str] = deque()  # to be looked at again, if they are held no more
        self._is_off: dict[tuple[str, str], bool] = {}
        self._configurations = 0  # how often what _is_off holds was forgotten
        self._loop = Loop("dispatcher", self.step)

    def start(self) -> None:
        """Load what waits, then listen and run."""
        self.load()
        self._loop.start()

    def load(self) -> None:
        """Listen from now on, and find what waits already."""
        self._events.subscribe(self._on_event)
        after: RunKey | None = None
        while page := self._repository.runs.pending(after, PAGE):
            for run in page:
                self._enqueue(run)
            after = RunKey(created_at=page[-1].created_at, id=page[-1].id)

    def stop(self) -> None:
        """Give nothing any more."""
        self._loop.stop()

    def wake(self) -> None:
        """A worker has a free slot now."""
        self._loop.wake()

    @property
    def waiting(self) -> int:
        """How many runs wait here."""
        return len(self._queued)

    def step(self) -> float | None:
        """Give out everything that can be given now."""
        refused: set[Group] = set()
        again = self._look_at_let_go()
        while self._may_give():
            with self._roster.lock:
                seats = [seat for seat in self._roster.seats() if seat.free]
            if not seats:
                return again
            chosen = self._choose(seats, refused)
            if chosen is None:
                return again
            group, waiting, seat = chosen
            try:
                self._give(waiting.run_id, group, seat)
            except Unavailable as error:
                _log.warning("run %s could not be given and waits a little: %s", waiting.run_id, error)
                self._requeue(group, waiting)
                refused.add(group)
                again = RETRY_AFTER
            except ApplianceError:
                _log.exception("run %s waits until something changes: it could not be given", waiting.run_id)
                self._requeue(group, waiting)
                refused.add(group)
        return again

    # ---- the queue

    def _on_event(self, event: Event) -> None:
        match event:
            case RunChanged(run=run):
                if run.status is Status.PENDING:
                    self._enqueue(run)
                    self._loop.wake()
                elif run.status not in run_state.LEASED:
                    self._roster.free_slot(run.id)
                    self._loop.wake()
            case ProjectsChanged():
                with self._lock:
                    self._is_off.clear()
                    self._configurations += 1
                self._loop.wake()
            case RecoveryChanged():
                self._sort_anew()
                self._loop.wake()
            case WorkerChanged():
                self._loop.wake()

    def _enqueue(self, run: Run) -> None:
        self._roster.free_slot(run.id)  # it may have come back from a worker
        with self._lock:
            if run.should_cancel or run.should_abort:
                self._let_go.append(run.id)
            if run.id not in self._queued:
                self._put((run.project, run.job, run.definition_version), _Waiting(run.created_at, run.id))

    def _requeue(self, group: Group, waiting: _Waiting) -> None:
        with self._lock:
            if waiting.run_id not in self._queued:
                self._put(group, waiting)

    def _put(self, group: Group, waiting: _Waiting) -> None:
        self._queued.add(waiting.run_id)
        if self._holds(waiting.run_id):
            self._held[waiting.run_id] = (group, waiting)
        else:
            heapq.heappush(self._queues.setdefault(group, []), waiting)

    def _sort_anew(self) -> None:
        """Other runs are held now than before."""
        with self._lock:
            queued = [(group, waiting) for group, queue in self._queues.items() for waiting in queue]
            held = dict(self._held)
            queued += held.values()
            self._queues.clear()
            self._held.clear()
            for group, waiting in queued:
                self._put(group, waiting)
            self._let_go.extend(held.keys() - self._held.keys())

    def _look_at_let_go(self) -> float | None:
        """Cancel what is not wanted any more; answers when to try again what the storage refused."""
        while self._let_go:
            try:
                run = self._repository.runs.get(self._let_go[0])
                if run is not None and run.status is Status.PENDING and not self._holds(run.id):
                    self._cancel_unwanted(run)
            except Unavailable as error:
                _log.warning("runs that were kept back wait a little: %s", error)
                return RETRY_AFTER
            self._let_go.popleft()
        return None

    def _choose(self, seats: list[Seat], refused: set[Group]) -> tuple[Group, _Waiting, Seat] | None:
        """The oldest waiting run that a seat can have, taken from the queue, and the least loaded such seat."""
        with self._lock:
            heads = sorted((queue[0], group) for group, queue in self._queues.items() if group not in refused)
        for _, group in heads:
            if self._off(group):
                continue
            try:
                document = self._versions.get(group[2])
            except (LookupError, ApplianceError) as error:
                _log.error("runs of %s/%s wait: their definition cannot be read: %s", *group[:2], error)
                refused.add(group)
                continue
            fits = [seat for seat in seats if not self._match(document, seat)]
            if not fits:
                continue
            with self._lock:
                queue = self._queues.get(group)
                if not queue:
                    continue
                waiting = self._pop(group, queue)  # perhaps an older one, which came in while we looked
            return group, waiting, max(fits, key=lambda seat: (seat.free / seat.slots, seat.name))
        return None

    def _pop(self, group: Group, queue: list[_Waiting]) -> _Waiting:
        waiting = heapq.heappop(queue)
        self._queued.discard(waiting.run_id)
        if not queue:
            del self._queues[group]
        return waiting

    def _off(self, group: Group) -> bool:
        """Whether the project or the job is disabled (D4): then its runs wait."""
        key = group[:2]
        with self._lock:
            is_off, seen = self._is_off.get(key), self._configurations
        if is_off is None:
            project = next((one for one in self._repository.projects.projects() if one.identifier == key[0]), None)
            job = self._repository.projects.job(*key)
            is_off = project is None or job is None or not (project.is_enabled and job.is_enabled)
            with self._lock:
                if seen == self._configurations:  # else it changed while we looked, and this may be old
                    self._is_off[key] = is_off
        return is_off

    # ---- the gift

    def _give(self, run_id: str, group: Group, seat: Seat) -> None:
        run = self._repository.runs.get(run_id)
        worker = self._repository.workers.get(seat.worker_id)
        if run is None or run.status is not Status.PENDING:
            return  # cancelled or deleted meanwhile
        if self._holds(run_id):
            self._requeue(group, _Waiting(run.created_at, run.id))
            return
        if run.should_cancel or run.should_abort:
            self._cancel_unwanted(run)
            return
        if worker is None or worker.journal_id != seat.journal_id:
            self._requeue(group, _Waiting(run.created_at, run.id))
            seat.takes_work = False  # it was removed, or is about to be superseded
            return
        request = request_of(run, self._versions.get(group[2]), self._limits)
        with self._roster.lock:
            if self._roster.seat(seat.worker_id) is not seat or not seat.free:
                self._requeue(group, _Waiting(run.created_at, run.id))
                return
            slot = self._roster.take_slot(seat, run_id)
        try:
            assignment = self._leases.grant(run, worker, self._epoch(), slot, request)
        except IllegalTransition:
            self._roster.free_slot(run_id)  # cancelled between the look and the grant
            return
        except ApplianceError:
            self._roster.free_slot(run_id)
            raise
        self.send(seat, assignment)

    def send(self, seat: Seat, assignment: Assignment) -> None:
        """Put an assignment on its way to a worker, for the first time or again."""
        run, lease = assignment.run, assignment.lease
        secrets = {"ORCHESTRA_TOKEN": self._run_token(run.id)}
        seat.voice.say(m.Assign, run=run.id, cap=lease.cap, request=lease.request, secrets=secrets)
