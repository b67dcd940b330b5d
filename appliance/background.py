"""Threads that the appliance keeps: a loop that sleeps until it is due or woken, and never dies of an error.

The dispatcher, the sweeps and the janitors are such loops. What a loop does is a plain function, so that tests call the
function and need no thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from appliance.model.errors import Unavailable

_log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1  # seconds a loop rests after a failed step; doubled at each further failure in a row
LONGEST_PAUSE = 30.0  # seconds


class Loop:
    """Calls ``step`` in a thread of its own, again and again.

    ``step`` answers after how many seconds it wants to be called again at the latest, or None for "only when woken".
    A :meth:`wake` that arrives while a step is under way makes one more step follow at once: none is ever missed, many
    become one. A step that raises is logged as ERROR and tried again after a pause that doubles from 0.1 s to 30 s and
    that no wake shortens, so that a failing step never spins.
    """

    def __init__(self, name: str, step: Callable[[], float | None]) -> None:
        self.name = name
        self._step = step
        self._condition = threading.Condition()
        self._is_awake = True  # the first step comes at once
        self._is_stopping = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self) -> None:
        """Start the thread, with a first step at once. Nothing happens if it runs already."""
        with self._condition:
            if self.is_running and not self._is_stopping:
                return
            if self.is_running:
                raise RuntimeError(f"the loop {self.name} is still stopping")
            self._is_stopping = False
            self._is_awake = True
            self._failures = 0
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Make a step happen now, or right after the one under way. From any thread; before start it does nothing."""
        with self._condition:
            self._is_awake = True
            self._condition.notify_all()

    def stop(self, timeout: float = 5.0) -> bool:
        """Let no further step begin, and wait up to ``timeout`` seconds for the one under way. True: the thread ended.

        May be called early, twice, and by the step itself (which then only asks for the end, and gets False).
        """
        with self._condition:
            self._is_stopping = True
            thread = self._thread
            self._condition.notify_all()
        if thread is None:
            return True
        if thread is threading.current_thread():
            return False
        thread.join(timeout)
        if thread.is_alive():
            _log.warning("the loop %s did not end within %.1f s", self.name, timeout)
            return False
        return True

    def _run(self) -> None:
        delay: float | None = 0.0
        while self._rest(delay):
            try:
                delay = self._step()
                self._failures = 0
            except Exception as error:
                delay = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 16))
                self._failures += 1
                is_planned = isinstance(error, Unavailable)
                _log.log(
                    logging.WARNING if is_planned else logging.ERROR,
                    "a step of the loop %s failed (%s); it is tried again in %.1f s",
                    self.name,
                    error,
                    delay,
                    exc_info=None if is_planned else error,
                )

    def _rest(self, delay: float | None) -> bool:
        """Wait until the next step is due. False: the loop is to end."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._is_stopping or (self._is_awake and not self._failures), timeout=delay
            )
            # Cleared before the step looks at the world: what changes from here on wakes the loop again.
            self._is_awake = False
            return not self._is_stopping
