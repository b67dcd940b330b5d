"""What the port does when the process has no descriptor left for a connection (F44).

A connection that cannot be accepted stays in the kernel's queue, so that the loop, told of it again and again, would
do nothing else any more. So one descriptor is kept in reserve: it is given up for a moment, the connection accepted
in its place and closed.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time

_log = logging.getLogger(__name__)

_OUT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.5  # seconds in which nothing is accepted when even the reserve was taken by somebody else
TELL_EVERY = 60.0  # seconds between two lines of the log


class Doorkeeper:
    """Holds the reserve. For the one thread that accepts."""

    def __init__(self) -> None:
        self._reserve: int | None = None
        self._ready_at = 0.0
        self._tell_at = 0.0
        self._take()

    @property
    def is_ready(self) -> bool:
        """Whether it is time to accept; False for a moment after even the reserve was gone."""
        return time.monotonic() >= self._ready_at

    def turn_away(self, listening: socket.socket, error: OSError) -> bool:
        """Accept and close the next connection if ``error``, of an accept, says that there are no descriptors.

        Answers False for another error, which is the caller's.
        """
        if error.errno not in _OUT:
            return False
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            _log.warning("connections are turned away, the server is out of file descriptors: %s", error.strerror)
        self.close()
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            pass  # it has gone by itself
        except OSError:
            self._ready_at = now + PAUSE
        self._take()
        return True

    def close(self) -> None:
        """Give the reserve back."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _take(self) -> None:
        try:
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._reserve = None  # the next time
