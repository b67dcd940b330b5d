"""Time as a part that is passed in, so that tests and the simulator own it."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from appliance.model.times import show_duration

_log = logging.getLogger(__name__)

JUMP = timedelta(minutes=10)  # so far the wall clock may be wrong without a word (F22)
MARK_EVERY = 60.0  # seconds; so old the stored mark may be
BELIEVED_AFTER = 3600.0  # seconds until a jump ahead is taken for the truth
CATCH_UP = 0.1  # this part of the passing time is left out until a wall clock that was set back has caught up


class Clock(Protocol):
    """Where every part takes its time from."""

    def now(self) -> datetime:
        """Wall clock: aware UTC, whole milliseconds. For display, stamps and calendars only."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. For durations and deadlines."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """See :meth:`Clock.now`."""
        return _whole_milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        """See :meth:`Clock.monotonic`."""
        return time.monotonic()


class FakeClock:
    """A clock that stands still until told to move."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._at = at
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """See :meth:`Clock.now`."""
        return self._at

    def monotonic(self) -> float:
        """See :meth:`Clock.monotonic`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both clocks move on."""
        self._at += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Only the wall clock jumps, as when an administrator sets it."""
        self._at += timedelta(seconds=seconds)


class SteadyClock:
    """The wall clock as far as it is believed: what expires counts by it, and what is triggered is sorted by it (F22).

    While the wall clock goes on as it should, ``now`` is the wall clock. When it jumps ahead by more than JUMP, ``now``
    goes on as if it had not, and follows after BELIEVED_AFTER: a mistake that is put right within that time ends no
    login and cancels no run. When it is set back, ``now`` goes on as well, slower by CATCH_UP until the wall clock has
    caught up: nothing that has expired comes back, nothing lives for ever, and no two instants change places.

    A server that starts cannot tell how long it was down, so it believes a wall clock that is ahead. But for
    BELIEVED_AFTER the high-water mark (:meth:`mark`, to be stored) does not, and ``now`` goes back when the clock does,
    as when a machine gets the right time only after its start.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._line = self._mark = clock.now()  # what ``now`` was when it was looked at last, and the mark then
        self._looked_at = clock.monotonic()
        self._sure_at: float | None = None  # monotonic; until then the start is not believed
        self._ahead_since: float | None = None  # monotonic
        self._is_behind = False

    def resume(self, mark: datetime | None) -> None:
        """Go on from the mark that the last life of this server has stored, at least each MARK_EVERY seconds. To be
        called once, before others ask."""
        with self._lock:
            self._line = self._mark = self._clock.now()
            self._looked_at = self._clock.monotonic()
            if mark is not None and mark - self._line > JUMP:
                self._line = self._mark = mark + timedelta(seconds=MARK_EVERY)  # so late it may have been at the end
            elif mark is not None and mark > self._line:
                self._line = self._mark = mark
            elif mark is not None and self._line - mark > JUMP:
                self._mark = mark
                self._sure_at = self._looked_at + BELIEVED_AFTER
            self._look()

    def now(self) -> datetime:
        """Aware UTC, whole milliseconds; with the wall clock unless that has jumped. For expiry, and to sort by."""
        with self._lock:
            self._look()
            return _whole_milliseconds(self._line)

    def monotonic(self) -> float:
        """See :meth:`Clock.monotonic`."""
        return self._clock.monotonic()

    def mark(self) -> datetime:
        """Up to when it is sure that time has gone. What has expired by then may be deleted."""
        with self._lock:
            self._look()
            return _whole_milliseconds(self._mark)

    def lead(self) -> timedelta:
        """How far this clock is ahead of the wall clock; negative when it is behind. 0 unless that has jumped."""
        with self._lock:
            wall = self._look()
            return self._line - wall if abs(self._line - wall) > JUMP else timedelta()

    def trouble(self) -> str:
        """What an administrator should know, as a sentence without its full stop; "" when all is well."""
        lead = self.lead().total_seconds()
        if lead > 0:
            return (
                f"The server's clock moved back {show_duration(lead)}: logins, tokens and waiting runs expire as if it "
                "had not, until it has caught up"
            )
        if lead < 0:
            return (
                f"The server's clock jumped ahead {show_duration(-lead)}, or the machine slept: nothing expires by it "
                f"within {show_duration(BELIEVED_AFTER)}, and then it is believed. If it is wrong, set it right now"
            )
        return ""

    # ---- with the lock held

    def _look(self) -> datetime:
        """Move on to the present; answers the wall clock."""
        wall, at = self._clock.now(), self._clock.monotonic()
        passed, self._looked_at = max(0.0, at - self._looked_at), at
        mark = self._mark + timedelta(seconds=passed)
        expected = self._line + timedelta(seconds=passed)
        if self._sure_at is not None and (at >= self._sure_at or wall < self._line - JUMP):
            if at < self._sure_at:
                _log.warning("the clock was set back by %s soon after the start", show_duration(_apart(expected, wall)))
                self._line = expected = min(expected, max(wall, mark))
            self._sure_at = None
        if wall - expected > JUMP:
            self._hold(wall, expected, at)
        else:
            if self._ahead_since is not None:
                _log.warning("the clock has been set right: it is not ahead any more")
            self._ahead_since = None
            slowed = self._line + timedelta(seconds=passed * (1 - CATCH_UP))
            self._line = max(wall, min(slowed, expected))
        self._mark = self._line if self._sure_at is None else min(self._line, mark)
        self._note_behind(self._line - wall)
        return wall

    def _hold(self, wall: datetime, expected: datetime, at: float) -> None:
        apart = show_duration(_apart(wall, expected))
        if self._ahead_since is None:
            self._ahead_since = at
            _log.warning("the clock jumped ahead %s; it is believed in %s", apart, show_duration(BELIEVED_AFTER))
        self._line = expected
        if at - self._ahead_since >= BELIEVED_AFTER:
            self._ahead_since = None
            self._line = wall
            _log.warning("the clock has been %s ahead for %s: it is believed now", apart, show_duration(BELIEVED_AFTER))

    def _note_behind(self, by: timedelta) -> None:
        if by > JUMP and not self._is_behind:
            _log.warning("the clock moved back %s; expiry goes on as if it had not", show_duration(by.total_seconds()))
        elif by <= JUMP and self._is_behind:
            _log.warning("the clock has caught up")
        self._is_behind = by > JUMP


def _apart(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()


def _whole_milliseconds(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
