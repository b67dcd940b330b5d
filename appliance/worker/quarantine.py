"""Runs that the server cannot take, or that the disk does not give back, are set aside and stop nobody else (F35).

A connection that is closed with 1009 or 4400 would be closed again, for ever, if the same words were said on the next
one. So the run that was told last is under suspicion, and on the next connection the runs take turns: one speaks, until
the server has its end or it has nothing to say, then the next, the suspects last. So a second close falls upon the
right one. Three such closes, or three refusals of its end, and it is set aside: ended if it still runs, and told as
``errored`` with nothing but the reason. The server keeps what it has of its output.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Protocol

import msgspec

from appliance.wire import NOTES, OUTPUT, Close
from appliance.wire.local_runs import Read, Record
from appliance.wire.worker_end import WorkerEnd
from appliance.worker.rundir import Damaged, sha256

_log = logging.getLogger(__name__)

STRIKES = 3
TURN, LONGEST_TURN = 0.5, 20.0  # seconds of silence that end a turn; of waiting for the answer to an end
GRACE = 30.0  # seconds for a run that is ended because of this
_POISON = (Close.TOO_BIG, Close.PROTOCOL)
_REMEMBERED = 1000  # exits told, and not answered yet


class Shelf(Protocol):
    """The journal's part."""

    def set_aside(self, run_id: str, reason: str, sentence: str) -> Record:
        """Replace the end of a run durably. Raises OSError, Damaged."""


class Ender(Protocol):
    """The supervisor's part."""

    def abort(self, run_id: str, grace: float) -> None:
        """End a run. Raises OSError."""


class _Said(msgspec.Struct):
    type: str
    id: int
    run: str | None = None


_said = msgspec.json.Decoder(_Said).decode


class Quarantine:
    """Watches what one worker says, over all its connections. One thread at a time."""

    def __init__(self, end: WorkerEnd, journal: Shelf, supervisor: Ender) -> None:
        self._end, self._journal, self._supervisor = end, journal, supervisor
        self._strikes: dict[str, int] = {}
        self._waiting: list[str] = []  # runs whose turn has not come on this connection, the next one last
        self._said_at = 0.0
        self._subject: str | None = None  # the run that was told last
        self._exits: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)  # message id, run
        self._aside: dict[str, tuple[str, str]] = {}  # reason and sentence for runs that must end first

    # ---- one connection

    def resumed(self) -> None:
        """The runs may speak: all at once, or in turns while one is under suspicion; none that is set aside."""
        self._subject = None
        self._exits.clear()
        runs = self._end.runs
        self._strikes = {run_id: count for run_id, count in self._strikes.items() if run_id in runs}
        self._waiting = []
        if self._strikes:
            self._waiting = sorted(runs.keys() - self._aside.keys(), key=lambda one: -self._strikes.get(one, 0))
        for run_id in (*self._waiting, *(self._aside.keys() & runs.keys())):
            runs[run_id].resumed = False

    @property
    def has_turns(self) -> bool:
        """Whether runs wait for their turn."""
        return bool(self._waiting)

    def next_turn(self, now: float) -> bool:
        """Nobody has anything to say at ``now`` (seconds): let the next run speak, if the turn before it is over."""
        if not self._waiting:
            return False
        speaking = None if self._subject is None else self._end.runs.get(self._subject)
        if speaking is not None and now < self._said_at + (LONGEST_TURN if speaking.told_exit else TURN):
            return False
        self._subject = None
        run_id = self._waiting.pop()
        if run_id in self._end.runs and run_id not in self._aside:
            self._subject, self._said_at = run_id, now
            self._speak(run_id)
        return True

    def says(self, item: str | Read, now: float) -> None:
        """This goes to the socket at ``now``."""
        if isinstance(item, Read):
            self._subject, self._said_at = item.run, now
            return
        said = _said(item)
        if said.run is not None:
            self._subject, self._said_at = said.run, now
            if said.type == "exited":
                self._exits.append((said.id, said.run))

    def closed(self, code: int) -> bool:
        """The connection was closed so; answers whether a run is to blame, so that the next try need not wait."""
        run_id, self._subject = self._subject, None
        if code not in _POISON or run_id not in self._end.runs:
            return False
        self._strike(run_id, f"the server closed the connection with {code}")
        return True

    def refused(self, message_id: int | None, text: str) -> None:
        """The server refused a message. The end of a run is told again, since nothing else can end it there."""
        run_id = next((run_id for number, run_id in self._exits if number == message_id), None)
        if run_id is None or (run := self._end.runs.get(run_id)) is None or not run.told_exit:
            return
        run.told_exit = False
        self._strike(run_id, f"the server refused its end: {text[:200]}")
        if run_id in self._end.runs:
            self._end.grew(run_id, {})

    # ---- runs

    def unreadable(self, run_id: str, why: str) -> None:
        """The disk does not give back what it should have of a run. One that lives has until its end."""
        run = self._end.runs.get(run_id)
        if run is not None and run.record is not None:
            self._set_aside(run_id, "internal_error", f"storage error on the worker: {why}")
        elif run is not None:
            run.resumed = False

    def ended(self, run_id: str) -> None:
        """The run has its end, which may be told now, or is replaced."""
        if run_id in self._aside:
            self._replace(run_id, *self._aside.pop(run_id))
        elif self._end.is_welcome and run_id not in self._waiting and run_id in self._end.runs:
            self._speak(run_id)  # perhaps its log could not be read while it ran

    def _strike(self, run_id: str, why: str) -> None:
        self._strikes[run_id] = self._strikes.get(run_id, 0) + 1
        _log.warning("run %s is under suspicion (%d of %d): %s", run_id, self._strikes[run_id], STRIKES, why)
        if self._strikes[run_id] >= STRIKES:
            del self._strikes[run_id]
            self._set_aside(run_id, "protocol_error", f"set aside by the worker, {STRIKES} times {why}")

    def _set_aside(self, run_id: str, reason: str, sentence: str) -> None:
        _log.error("run %s is set aside: %s", run_id, sentence)
        run = self._end.runs[run_id]
        if run.record is not None:
            self._replace(run_id, reason, sentence)
            return
        run.resumed = False
        self._aside[run_id] = (reason, sentence)
        try:
            self._supervisor.abort(run_id, GRACE)
        except OSError as error:
            _log.error("run %s cannot be ended: %s", run_id, error)  # it ends by itself, and is told then

    def _replace(self, run_id: str, reason: str, sentence: str) -> None:
        run = self._end.runs.get(run_id)
        if run is None:
            return
        try:
            record = self._journal.set_aside(run_id, reason, sentence)
        except (Damaged, OSError) as error:
            _log.error("run %s: its end cannot be replaced on disk: %s", run_id, error)
            empty = sha256(b"")
            digests = {OUTPUT: empty, NOTES: empty}
            at = round(time.time(), 3)
            record = Record(status="errored", at=at, digests=digests, reason=reason, sentence=sentence)
        run.record = None
        run.results = None
        self._end.exited(run_id, {OUTPUT: 0, NOTES: 0}, record)
        if self._end.is_welcome:
            self._speak(run_id)

    def _speak(self, run_id: str) -> None:
        run = self._end.runs[run_id]
        run.resumed, run.told_exit = True, False
        self._end.grew(run_id, {})
