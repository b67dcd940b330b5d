"""Who is connected right now, with how many free slots. In memory only: every connection tells it anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from appliance.model.entities import Worker
from appliance.model.waiting import Stand
from appliance.model.worker_states import Vitals
from appliance.wire import Close, ProtocolError
from appliance.wire import messages as m


class Voice(Protocol):
    """The way to a connected worker. May be called from any thread."""

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """Send a message, if the connection still stands."""
        ...

    def refuse(self, error: ProtocolError) -> None:
        """Answer a word that may not be said; too many of them end the connection (F36)."""
        ...

    def close(self, code: int, text: str) -> None:
        """End the connection."""
        ...

    def retire(self) -> None:
        """Obey nothing any more that it says, and wait for what is being done. The one call that blocks."""
        ...


class Seat:
    """One connected worker. ``runs``: what it has, each in a slot. ``stand`` says whether it may get more."""

    def __init__(self, worker: Worker, voice: Voice, journal_id: str) -> None:
        self.worker_id, self.name, self.owner = worker.id, worker.name, worker.owner
        self.journal_id = journal_id
        self.voice = voice
        self.slots = worker.slots
        self.properties: Mapping[str, Any] = worker.known
        self.fits: dict[str, bool] = {}  # versions of jobs of which it may have runs, or not
        self.version = worker.version  # of the worker's record that the next two come from
        self.is_enabled, self.is_draining = worker.is_enabled, worker.is_draining
        self.is_told_to_drain = False  # what the worker was told of those
        self.load: float | None = None  # of its last beat, as is disk_free
        self.disk_free: int | None = None
        self.is_gone = False  # it was removed, or is about to be superseded
        self.since: datetime | None = None  # when its inventory was merged
        self.is_greeting = False  # its welcome has not been said yet
        self.is_merging = False  # after a restore it has not told yet all that it holds (F24)
        self.wants_drain = False  # the worker itself asked for nothing new
        self.has_declined = False  # it declined a run, and has not beaten since
        self.declined_why = ""  # what it said when it did so last
        self.is_stalled = False  # runs of its wait for room on the server's disk; a new connection resumes them (F16)
        self.slot_of: dict[str, int] = {}

    @property
    def stand(self) -> Stand:
        """Whether it may get another run, and why not (F43). Never ``UNFIT``: that is between it and a job."""
        if self.is_gone:
            return Stand.AWAY
        if self.is_greeting:
            return Stand.CONNECTING
        if self.is_merging:
            return Stand.MERGING
        if not self.is_enabled:
            return Stand.DISABLED
        if self.is_draining:
            return Stand.DRAINING
        if self.wants_drain:
            return Stand.LEAVING
        if self.has_declined:
            return Stand.DECLINED
        return Stand.READY if len(self.slot_of) < self.slots else Stand.FULL

    @property
    def free(self) -> int:
        """Slots that may be filled now."""
        return self.slots - len(self.slot_of) if self.stand is Stand.READY else 0


class Roster:
    """All seats. Every method may be called from any thread; ``lock`` makes several of them one step."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """``monotonic`` gives seconds that never go back: how long a worker has been silent (F22)."""
        self.lock = threading.RLock()
        self._monotonic = monotonic
        self._seats: dict[str, Seat] = {}
        self._seat_of: dict[str, Seat] = {}  # run -> where it uses a slot
        self._heard: dict[str, datetime] = {}
        self._heard_by: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._refusals: dict[str, str] = {}

    def sit(self, seat: Seat, runs: Mapping[str, int]) -> Seat | None:
        """A worker is welcome, with the runs it has and their slots; answers the seat it had before, if any (F15)."""
        with self.lock:
            before = self._seats.get(seat.worker_id)
            self._refusals.pop(seat.worker_id, None)
            seat.slot_of.update(runs)
            self._seat_of.update(dict.fromkeys(runs, seat))
            self._seats[seat.worker_id] = seat
            return before

    def rise(self, seat: Seat) -> bool:
        """A connection is gone. False: another one of the same worker sits there already."""
        with self.lock:
            if self._seats.get(seat.worker_id) is not seat:
                return False
            del self._seats[seat.worker_id]
            for run_id in seat.slot_of:
                self._seat_of.pop(run_id, None)
            return True

    def seat(self, worker_id: str) -> Seat | None:
        """The seat of a connected worker."""
        return self._seats.get(worker_id)

    def seats(self) -> list[Seat]:
        """All seats."""
        with self.lock:
            return list(self._seats.values())

    def take_slot(self, seat: Seat, run_id: str) -> int:
        """The lowest free slot of a seat, from now on used by this run."""
        with self.lock:
            taken = set(seat.slot_of.values())
            slot = next(number for number in range(len(taken) + 1) if number not in taken)
            seat.slot_of[run_id] = slot
            self._seat_of[run_id] = seat
            return slot

    def free_slot(self, run_id: str) -> None:
        """The run no longer uses a slot."""
        with self.lock:
            if seat := self._seat_of.pop(run_id, None):
                seat.slot_of.pop(run_id, None)

    def seat_of(self, run_id: str) -> Seat | None:
        """The connected worker that has the run."""
        return self._seat_of.get(run_id)

    def update(self, worker: Worker) -> None:
        """The worker was enabled, disabled or drained. Of two changes the later one counts, whoever tells it first."""
        with self.lock:
            seat = self._seats.get(worker.id)
            if seat is None or worker.version < seat.version:
                return
            seat.version, seat.is_enabled, seat.is_draining = worker.version, worker.is_enabled, worker.is_draining
            if seat.is_told_to_drain == worker.takes_work:
                seat.is_told_to_drain = not worker.takes_work
                seat.voice.say(m.Drain, on=seat.is_told_to_drain)

    def resume(self) -> None:
        """There is room on the disk: let those whose runs wait for it come back, and say what was refused."""
        for seat in self.seats():
            if seat.is_stalled:
                seat.is_stalled = False
                seat.voice.close(Close.RESTART, "there is room again: come back")

    # ---- presence (for pages and service)

    def is_connected(self, worker_id: str) -> bool:
        """Whether the worker is connected and welcome."""
        return worker_id in self._seats

    def used(self, worker_id: str) -> int:
        """How many slots of the worker are in use."""
        seat = self._seats.get(worker_id)
        return len(seat.slot_of) if seat else 0

    def refuse(self, worker_id: str, sentence: str) -> None:
        """The worker came and cannot be taken, such as for its version (F37); until it comes in another one."""
        self._refusals[worker_id] = sentence

    def refusal(self, worker_id: str) -> str:
        """Why the worker was not taken when it came last; "" if it was."""
        return self._refusals.get(worker_id, "")

    def vitals(self, worker_id: str) -> Vitals | None:
        """What a connected worker says of itself now."""
        seat = self._seats.get(worker_id)
        if seat is None:
            return None
        return Vitals(
            load=seat.load,
            disk_free=seat.disk_free,
            wants_nothing=seat.wants_drain,
            has_declined=seat.has_declined,
        )

    # ---- beats

    def heard(self, worker_id: str, at: datetime) -> None:
        """A sign of life; written in batches."""
        self._heard[worker_id] = at
        self._heard_by[worker_id] = self._monotonic()
        self._unwritten.add(worker_id)

    def last_heard(self, worker_id: str) -> datetime | None:
        """When it was last heard in this life of the master."""
        return self._heard.get(worker_id)

    def silent_for(self, worker_id: str) -> float | None:
        """Seconds since it was last heard in this life of the master, whatever the wall clock did (F22)."""
        heard = self._heard_by.get(worker_id)
        return None if heard is None else self._monotonic() - heard

    def take_heard(self) -> dict[str, datetime]:
        """What was heard since the last call, to be written."""
        fresh, self._unwritten = self._unwritten, set()
        return {worker_id: self._heard[worker_id] for worker_id in fresh}
