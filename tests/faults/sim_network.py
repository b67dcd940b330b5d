"""One simulated connection: frames under way in both directions, and what each side believes of it."""

from __future__ import annotations

from collections import deque

import msgspec


class Goodbye(msgspec.Struct, frozen=True):
    """The last thing a worker hears on a connection that the master closed."""

    code: int
    text: str


HALF_OPEN = 25.0  # seconds after which each side has noticed that a connection is dead (F11)


class Cable:
    """Frames arrive in order, or not at all and then none after them, as with TCP.

    The two ends learn of a cut at different times: frames under way may reach the master long after the worker has
    begun another connection. That is the reordering across connections.
    """

    def __init__(self) -> None:
        self.to_master: deque[str | bytes] = deque()
        self.to_worker: deque[str | Goodbye] = deque()
        self.has_worker = True  # the worker's end is open
        self.has_master = True  # the master's end is open
        self.dead_since: float | None = None  # a black hole: nothing arrives, nobody is told (F11)
        self.held_until = 0.0  # frames under way are late

    def send_to_master(self, frame: str | bytes) -> None:
        """The worker sends."""
        if self.has_master and self.dead_since is None:
            self.to_master.append(frame)

    def send_to_worker(self, frame: str | Goodbye) -> None:
        """The master sends."""
        if self.has_worker and self.dead_since is None:
            self.to_worker.append(frame)

    def swallow(self, now: float) -> None:
        """Become a black hole."""
        if self.dead_since is None:
            self.dead_since = now
            self.to_master.clear()
            self.to_worker.clear()

    def leave_worker(self) -> None:
        """The worker's end is closed. What it sent may still arrive."""
        self.has_worker = False
        self.to_worker.clear()

    def leave_master(self) -> None:
        """The master's end is closed. What it sent may still arrive."""
        self.has_master = False
        self.to_master.clear()

    def is_overdue(self, now: float) -> bool:
        """Whether pings have gone unanswered for long enough."""
        return self.dead_since is not None and now - self.dead_since > HALF_OPEN
