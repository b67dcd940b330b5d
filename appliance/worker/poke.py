"""The executor's word to the worker: "look at my run". A hint, not a message: it may be lost, nothing depends on it."""

from __future__ import annotations

import contextlib
import socket
import time

SOCKET = "poke"  # in the journal's directory
_EVERY = 0.02  # seconds


class Poke:
    """Sends the run's id, at once after a pause and then at most every 20 ms. Called from inside the run directory."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id.encode()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._sent_at = 0.0

    def grew(self) -> float | None:
        """There is something new. Answers when to call again (monotonic), or None when it was told."""
        due = self._sent_at + _EVERY
        if time.monotonic() < due:
            return due
        self.now()
        return None

    def now(self) -> None:
        """Tell it at once. No worker may be there, or its buffer be full: it looks by itself each second."""
        self._sent_at = time.monotonic()
        with contextlib.suppress(OSError):
            self._socket.sendto(self._run_id, f"../../{SOCKET}")
