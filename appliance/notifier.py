"""What systemd is told of this process: ready, reloading, stopping, how it is, and that it lives (sd_notify(3)).

Each notice is one datagram of ``KEY=value`` lines. Without a unit nobody listens, and every notice goes nowhere.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time

_log = logging.getLogger(__name__)

_STATUS_LIMIT = 500  # characters of a status, which is one line of ``systemctl status``


class Notifier:
    """Speaks to the unit of this process. From any thread; no trouble with the socket ever reaches the caller."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """``address``: a path, or ``@name`` in the abstract space; "" where no unit listens.

        ``watchdog``: seconds after which a unit that heard no ``alive`` is ended; None: nobody watches.
        """
        self._address = address
        self.watchdog = watchdog if address else None
        self._has_failed = False

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """The settings are read again; ``ready`` follows. With the time that ``Type=notify-reload`` asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._send("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """How it is, for ``systemctl status``."""
        self._send(_status(text))

    def alive(self) -> None:
        """Everything that must not be stuck has just been seen at work."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        place = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as one:
            try:
                one.sendto("\n".join(lines).encode(), place)
            except OSError as error:
                if not self._has_failed:
                    _log.warning("systemd cannot be told %s: %s", lines[0], error)
                self._has_failed = True


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:_STATUS_LIMIT]}"
