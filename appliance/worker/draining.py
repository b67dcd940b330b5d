"""What whoever looks at this machine is told when an operator takes the worker out of service (W6, F43)."""

from __future__ import annotations

import logging

from appliance.model.sizes import show_count
from appliance.wire.worker_end import WorkerEnd

_log = logging.getLogger(__name__)


class Draining:
    """Whether the master gives this worker new runs. The master decides; here it is only said."""

    def __init__(self, end: WorkerEnd) -> None:
        self._end = end
        self.is_on = False
        self._is_over = False

    def told(self, on: bool) -> None:
        """The master says so; again after each welcome while it is on."""
        if on == self.is_on:
            return
        self.is_on, self._is_over = on, False
        if not on:
            _log.info("the server gives this worker new runs again")
        elif self._end.runs:
            _log.info(
                "the server gives this worker no new runs; it has %s left", show_count(len(self._end.runs), "run")
            )
        self.look()

    def look(self) -> None:
        """A run is over and stored: perhaps it was the last one."""
        if self.is_on and not self._is_over and not self._end.runs:
            self._is_over = True
            _log.info("drained: the server gives this worker no new runs, and it has none left; it may be stopped")
