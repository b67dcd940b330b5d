"""Watching one command from the opening of its gate until nothing of it is left (F27, F28, X7, X10)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from appliance.worker.command import Child
from appliance.worker.output import Output
from appliance.worker.tree import Tree

CHUNK = 65_536
DRAIN = 2.0  # seconds in which output may still come when the main child is gone but others hold the pipe (F28)
KILL_WITHIN = 10.0  # seconds after which a process that survives SIGKILL is reported
TICK = 1.0  # seconds between two looks at what nobody tells us: results file, a lost signal
LOOK = 0.05  # seconds between two looks at a tree that was asked to end
READS = 16  # chunks read before anything else is looked at


class Limit:
    """A point in time (monotonic) by which a command must have ended, and how to say it: ``longer than …``.

    ``is_of_run``: the time of the whole run is then over, not only that of one command or of the teardown.
    """

    def __init__(self, at: float, sentence: str, *, is_of_run: bool = False) -> None:
        self.at, self.sentence, self.is_of_run = at, sentence, is_of_run


class Watch:
    """One command under way. ``run`` gives its wait status."""

    def __init__(
        self,
        child: Child,
        tree: Tree,
        output: Output,
        limits: list[Limit],
        *,
        abort_grace: Callable[[], float | None],
        is_log_full: Callable[[], bool],
        grace: float,
        tick: Callable[[], None],
        grew: Callable[[], float | None],
    ) -> None:
        """``abort_grace``: seconds of grace once an abort was asked, else None. ``grace``: after a limit.

        ``is_log_full``: output was lost, and that ends the command (F17).

        ``tick``: called each second. ``grew``: called after output; answers when it wants to be called again.
        """
        self._child, self._tree, self._output = child, tree, output
        self._limit = min(limits, key=lambda one: one.at) if limits else None
        self._abort_grace, self._grace, self._tick, self._grew = abort_grace, grace, tick, grew
        self._is_log_full = is_log_full
        self._poll = select.poll()
        self._poll.register(tree.wake, select.POLLIN)
        self._is_open = True  # the pipe
        self._kill_at: float | None = None
        self.ended_by: str | None = None
        self.limit = ""  # which limit ended it
        self.is_run_over = False  # it was the limit of the run
        self.was_killed = False
        self.refusal: tuple[str, int] | None = None
        self.background = 0  # processes that outlived the main child and were ended
        self.survivors: list[int] = []

    def run(self, execed: Callable[[], None]) -> int:
        """Watch it to its end; answers the wait status of the main child. ``execed`` is called once it has exec'd.

        Raises OSError when the log cannot be written (F18).
        """
        child = self._child
        self._tree.expect(child.pid)
        self._poll.register(child.output, select.POLLIN)
        self._poll.register(child.status, select.POLLIN)
        child.open_gate()
        status: int | None = None
        drained_at = tick_at = time.monotonic() + TICK
        grew_at: float | None = None
        while True:
            found = self._tree.reap()
            now = time.monotonic()
            if status is None and found is not None:
                status, drained_at = found, now + DRAIN
            self._end_if_asked(now, status)
            if status is not None and self._is_over(now, drained_at):
                break
            if self.survivors:
                status = status if status is not None else int(signal.SIGKILL)
                break
            if now >= tick_at:
                self._tick()
                tick_at = now + TICK
            if self._output.sync_at is not None and now >= self._output.sync_at:
                self._output.sync()
            if grew_at is not None and now >= grew_at:
                grew_at = self._grew()
            due = [tick_at, self._output.sync_at, grew_at, self._kill_at, self._limit.at if self._limit else None]
            if status is not None:
                due.append(now + LOOK if self.ended_by else drained_at)
            for descriptor, _ in self._poll.poll(max(0.0, min(one for one in due if one is not None) - now) * 1000 + 1):
                if descriptor == child.output:
                    self._pump()
                    grew_at = self._grew()
                elif descriptor == child.status:
                    self._poll.unregister(child.status)
                    self.refusal = child.refusal()
                    os.close(child.status)
                    child.status = -1
                    if self.refusal is None:
                        execed()
        self._clear()
        return status

    def _end_if_asked(self, now: float, status: int | None) -> None:
        """Abort, limit or full disk: ask the tree to end, and end it when the grace is over."""
        if self.ended_by is None:
            grace = self._abort_grace()
            if grace is not None:
                self.ended_by = "abort"
            elif self._limit is not None and now >= self._limit.at and status is None:
                self.ended_by, self.limit, grace = "timeout", self._limit.sentence, self._grace
                self.is_run_over = self._limit.is_of_run
            elif status is None and self._is_log_full():
                self.ended_by, grace = "disk_full", self._grace
            if grace is not None:
                self._limit = None
                self._kill_at = now + grace
                self._tree.terminate()
        elif self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self.was_killed = True
            _, self.survivors = self._tree.kill(KILL_WITHIN)

    def _is_over(self, now: float, drained_at: float) -> bool:
        if self.ended_by:
            return not self._tree.alive()  # the grace is for all of them
        return not self._is_open or now >= drained_at

    def _pump(self) -> None:
        for _ in range(READS):
            try:
                chunk = os.read(self._child.output, CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._is_open = False
                self._poll.unregister(self._child.output)
                return
            self._output.write(chunk)

    def _clear(self) -> None:
        """End whoever is left, and take what is still in the pipe."""
        if not self.survivors:
            self.background, self.survivors = self._tree.kill(KILL_WITHIN)
        while self._is_open:
            try:
                chunk = os.read(self._child.output, CHUNK)
            except BlockingIOError:
                break  # an end of the pipe left the tree; nobody waits for it
            if not chunk:
                break
            self._output.write(chunk)
        os.close(self._child.output)
        if self._child.status >= 0:
            with contextlib.suppress(OSError):
                if self.refusal is None and not self.survivors:
                    self.refusal = self._child.refusal()
                os.close(self._child.status)
