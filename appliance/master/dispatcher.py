"""Who gets which run, as soon as both are there. Woken by events; nothing on the way of a run polls.

Pending runs wait in memory by job version, in the order of their triggers; the database is the truth, and a run that is
no longer pending falls out when its grant fails. What a dispatch costs depends on the number of waiting jobs and of
free workers, not on the number of waiting runs.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping

from appliance.background import Loop
from appliance.db.repository import Repository, RunKey
from appliance.events import Event, Events, ProjectsChanged, RecoveryChanged, RunChanged, WorkerChanged
from appliance.job_versions import JobVersions
from appliance.leases import Assignment, Leases
from appliance.master.judge import Judge
from appliance.master.line import Lines
from appliance.master.outlook import Outlook
from appliance.master.roster import Roster, Seat
from appliance.model import fitting, run_state
from appliance.model.definitions import JobDocument
from appliance.model.entities import Run
from appliance.model.errors import ApplianceError, Unavailable
from appliance.model.fitting import Match
from appliance.model.groups import Group, Key
from appliance.model.requests import Limits, request_of
from appliance.model.run_state import IllegalTransition, Status
from appliance.model.waiting import Wait, Why
from appliance.wire import messages as m

_log = logging.getLogger(__name__)

PAGE = 1000
RETRY_AFTER = 2.0  # seconds after which storage that refused a grant is asked again (F19)

_DISK_FULL = Wait(Why.DISK_FULL, "waits until the server's disk has room again: nothing new is started meanwhile")


def _trouble(error: Exception) -> Wait:
    """Why a run waits that could not be given for this error."""
    if isinstance(error, Unavailable):
        return Wait(Why.STORAGE, f"waits until the server can store it again: {error}")
    return Wait(Why.FAILED, f"waits: the server failed when it gave it out, and its log says more: {error}")


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
        match: Match = fitting.match,
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
        self._limits = limits
        self._judge = Judge(repository, versions, match)
        self._versions = versions
        self._may_give = may_give
        self._holds = holds
        self._cancel_unwanted = cancel_unwanted
        self._lines = Lines(holds)
        self._let_go: deque[str] = deque()  # to be looked at again, if they are held no more
        self._refused: dict[Group, Wait] = {}  # what could not be given in the last step, though a worker was there
        self._trouble: Wait | None = None  # what ended the last step early
        self.outlook = Outlook(self._lines, self._judge, roster, self._found)
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
        return len(self._lines)

    def step(self) -> float | None:
        """Give out everything that can be given now."""
        refused: dict[Group, Wait] = {}
        try:
            again = self._give_out(refused)
        except Exception as error:
            self._trouble = _trouble(error)
            raise
        self._refused, self._trouble = refused, None
        return again

    def _give_out(self, refused: dict[Group, Wait]) -> float | None:
        again = self._look_at_let_go()
        while self._may_give():
            with self._roster.lock:
                seats = [seat for seat in self._roster.seats() if seat.free]
            if not seats:
                return again
            chosen = self._choose(seats, refused)
            if chosen is None:
                return again
            group, key, seat = chosen
            try:
                self._give(key, group, seat)
            except Unavailable as error:
                _log.warning("run %s could not be given and waits a little: %s", key[1], error)
                self._lines.put(group, key)
                refused[group] = _trouble(error)
                again = RETRY_AFTER
            except ApplianceError as error:
                _log.exception("run %s waits until something changes: it could not be given", key[1])
                self._lines.put(group, key)
                refused[group] = _trouble(error)
        return again

    # ---- the queue

    def _on_event(self, event: Event) -> None:
        match event:
            case RunChanged(run=run):
                if run.status is Status.PENDING:
                    self._enqueue(run)
                    self._loop.wake()
                    return
                self._lines.remove(run)
                if run.status not in run_state.LEASED:
                    self._roster.free_slot(run.id)
                    self._loop.wake()
            case ProjectsChanged():
                self._judge.forget()
                self._loop.wake()
            case RecoveryChanged():
                self._let_go.extend(self._lines.sort_anew())
                self._loop.wake()
            case WorkerChanged():
                self._loop.wake()

    def _enqueue(self, run: Run) -> None:
        self._roster.free_slot(run.id)  # it may have come back from a worker
        if run.should_cancel or run.should_abort:
            self._let_go.append(run.id)
        self._lines.add(run)

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

    def _choose(self, seats: list[Seat], refused: dict[Group, Wait]) -> tuple[Group, Key, Seat] | None:
        """The oldest waiting run that a seat can have, taken from the line, and the least loaded such seat."""
        for _, group in self._lines.heads():
            document = self._look(group, refused)
            if isinstance(document, Wait):
                if document.why is Why.UNREADABLE and group not in refused:
                    _log.error("runs of %s/%s wait: %s", *group[:2], document.sentence)
                    refused[group] = document
                continue
            fits = [seat for seat in seats if self._judge.fits(group[2], document, seat)]
            key = self._lines.pop(group) if fits else None  # perhaps an older one, which came in while we looked
            if key is not None:
                return group, key, max(fits, key=lambda seat: (seat.free / seat.slots, seat.name))
        return None

    def _look(self, group: Group, refused: Mapping[Group, Wait]) -> Wait | JobDocument:
        """Why no worker is even looked for, or what the runs of the group execute. ``refused``: what could not be given
        though a worker was there."""
        if obstacle := self._judge.off(group) or refused.get(group):
            return obstacle
        return self._judge.document(group) if self._may_give() else _DISK_FULL

    def _found(self, group: Group) -> Wait | JobDocument:
        """The same as the last step found it."""
        return self._trouble or self._look(group, self._refused)

    # ---- the gift

    def _give(self, key: Key, group: Group, seat: Seat) -> None:
        run_id = key[1]
        run = self._repository.runs.get(run_id)
        worker = self._repository.workers.get(seat.worker_id)
        if run is None or run.status is not Status.PENDING:
            self._lines.forget(run_id)
            return  # cancelled or deleted meanwhile
        if self._holds(run_id):
            self._lines.put(group, key)
            return
        if run.should_cancel or run.should_abort:
            self._cancel_unwanted(run)
            return
        if worker is None or worker.journal_id != seat.journal_id:
            self._lines.put(group, key)
            seat.is_gone = True  # it was removed, or is about to be superseded
            return
        request = request_of(run, self._versions.get(group[2]), self._limits)
        with self._roster.lock:
            if self._roster.seat(seat.worker_id) is not seat or not seat.free:
                self._lines.put(group, key)
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
