"""The executor's word to the worker: "look at my run". A hint, not a message: it may be lost, nothing depends on it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable

SOCKET = "poke"  # in the journal's directory
EVERY = 0.02  # seconds
PATIENCE = 1.0  # seconds after which the worker looks by itself
OVER = b" over"  # behind the run's id


class Poke:
    """Sends the run's id, at once after a pause and then at most every 20 ms. Called from inside the run directory."""

    def __init__(
        self,
        run_id: str,
        *,
        send: Callable[[bytes], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``send`` never waits, and raises OSError when it cannot send. By default it is the worker's socket."""
        self._run_id = run_id.encode()
        self._socket = None if send else _to_worker()
        self._send = send or self._to_socket
        self._monotonic = monotonic
        self._told_at = float("-inf")
        self._pause = EVERY  # longer while nobody empties the buffer

    def grew(self) -> float | None:
        """There is something new. Answers when to call again (monotonic), or None when nothing is owed."""
        is_early = self._monotonic() < self._told_at + self._pause
        if is_early or not self.now():
            return self._told_at + self._pause
        return None

    def now(self, *, is_over: bool = False) -> bool:
        """Tell it at once. Answers whether that is done with: a full buffer owes a poke, an absent worker none (it
        looks at every run when it comes back). ``is_over``: the exit record is durable, its name included."""
        self._told_at = self._monotonic()
        try:
            self._send(self._run_id + OVER if is_over else self._run_id)
        except BlockingIOError:
            self._pause = min(2 * self._pause, PATIENCE)
            return False
        except OSError:
            pass  # nobody is there
        self._pause = EVERY
        return True

    def close(self) -> None:
        """No more is said."""
        if self._socket is not None:
            self._socket.close()

    def _to_socket(self, word: bytes) -> None:
        assert self._socket is not None
        self._socket.sendto(word, f"../../{SOCKET}")


def listen(directory: str) -> socket.socket:
    """The worker's socket, bound by way of the journal's directory: a socket's path may have 107 bytes."""
    home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{directory}/{SOCKET}")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listening.bind(f"/proc/self/fd/{home}/{SOCKET}")
    finally:
        os.close(home)
    return listening


def _to_worker() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
