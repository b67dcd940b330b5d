"""Tells systemd that the process lives, for as long as those parts of it are at work that it cannot live without (F44).

A part that is stuck answers no more; then nothing is told any more, and systemd starts the server again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from appliance.background import Loop
from appliance.notifier import Notifier

_ROUNDS = 3  # in the time that systemd waits


class Watchdog:
    """Asks each part in turn for a sign of life, and then gives one to systemd.

    ``beats``: name of a part to a call that returns once its thread has come by, and not while it is stuck. The feeding
    follows the answers at once: from a part that gets stuck to the end of systemd's patience it is never longer than
    that patience. A beat that raises is none.
    """

    def __init__(self, notifier: Notifier, beats: Mapping[str, Callable[[], None]]) -> None:
        self._notifier = notifier
        self._beats = dict(beats)
        self._loop = Loop("watchdog", self.step)

    def start(self) -> None:
        """Begin to feed, with a first sign at once. Does nothing where nobody watches."""
        if self._notifier.watchdog is not None:
            self._loop.start()

    def stop(self) -> None:
        """Feed no more. A part that is stuck just now is not waited for."""
        self._loop.stop(timeout=0.5)

    def step(self) -> float:
        """One round; answers the seconds until the next."""
        for beat in self._beats.values():
            beat()
        self._notifier.alive()
        assert self._notifier.watchdog is not None
        return self._notifier.watchdog / _ROUNDS
