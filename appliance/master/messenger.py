"""What events mean for the workers that are connected: told to end a run, sent away, given work or not."""

from __future__ import annotations

from appliance.db.repository import Repository
from appliance.events import (
    AccountChanged,
    Event,
    RecoveryChanged,
    RunChanged,
    WorkerChanged,
    WorkerDisconnected,
    WorkerRevoked,
)
from appliance.master.roster import Roster, Seat
from appliance.model import run_state
from appliance.model.errors import Disconnected, Forbidden
from appliance.model.permissions import check_standing
from appliance.wire import Close
from appliance.wire import messages as m


class Messenger:
    """Carries events to the seats of the roster. ``hear`` may be called from any thread."""

    def __init__(self, repository: Repository, roster: Roster) -> None:
        self._repository = repository
        self._roster = roster

    def hear(self, event: Event) -> None:
        """Tell whom it concerns."""
        match event:
            case RunChanged(run=run) if run.status in run_state.LEASED and (run.should_abort or run.should_cancel):
                seat = self._roster.seat_of(run.id)
                if seat is not None:
                    kind = m.Abort if run.should_abort else m.Withdraw
                    seat.voice.say(kind, run=run.id)
            case WorkerRevoked(worker_id=worker_id) | WorkerDisconnected(worker_id=worker_id):
                self._send_away(worker_id)
            case AccountChanged(user=user):
                self._look_at_workers_of(user)
            case RecoveryChanged():
                self._call_back()
            case WorkerChanged(worker_id=worker_id):
                worker = self._repository.workers.get(worker_id)
                if worker is not None:
                    self._roster.update(worker)

    def _send_away(self, worker_id: str) -> None:
        seat = self._roster.seat(worker_id)
        if seat is None:
            return
        worker = self._repository.workers.get(worker_id)
        try:
            check_standing(worker, self._repository.accounts.user(seat.owner))
        except Forbidden as error:
            _send_away(seat, error)
        else:  # it was enabled again, or has a new token, in this moment: it comes back at once
            _send_away(seat, Disconnected("it was disconnected, and may come back"))

    def _look_at_workers_of(self, user: str) -> None:
        owner = self._repository.accounts.user(user)
        for seat in self._roster.seats():
            if seat.owner != user:
                continue
            try:
                check_standing(self._repository.workers.get(seat.worker_id), owner)
            except Forbidden as error:
                _send_away(seat, error)

    def _call_back(self) -> None:
        """The database turned out to be older: connected workers must tell all that they hold before they get more."""
        recovery = self._repository.lineage.recovery()
        for one in recovery.waiting if recovery is not None else ():
            seat = self._roster.seat(one.id)
            if seat is not None and not seat.is_merging:
                seat.is_merging = True
                seat.voice.close(Close.RESTART, "the server was restored from a backup: come back")


def farewell(error: Forbidden) -> tuple[int, str]:
    """The code and the sentence with which a worker is sent away that may not be here."""
    return Close.DISCONNECTED if isinstance(error, Disconnected) else Close.REVOKED, str(error)


def _send_away(seat: Seat, error: Forbidden) -> None:
    """Take nothing more from a worker, and close its connection (F25, W6)."""
    seat.voice.retire()
    seat.voice.close(*farewell(error))
