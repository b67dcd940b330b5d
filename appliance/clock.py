"""Time as a part that is passed in, so that tests and the simulator own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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
        at = datetime.now(UTC)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

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
