"""The processes beneath an executor: reaped, counted, and ended to the last one (5.7, F27, F28).

The executor is their subreaper: whoever loses its parent becomes its child, so nothing leaves the tree, not by setsid
and not by a double fork. Where they have a control group, the kernel ends all of them at once, and has the last word on
whether somebody is left. Signals come in through a pipe that can be polled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time

from appliance.worker import processes
from appliance.worker.control_group import Group

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def die_with_parent() -> None:
    """SIGKILL for the calling process when the thread that forked it ends. It does not reach grandchildren."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Whoever loses its parent beneath the calling process becomes its child."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Tree:
    """Everything beneath this process. Make one, in the main thread, before the first child."""

    def __init__(self, group: Group | None = None) -> None:
        """``group``: the commands will join it."""
        adopt_orphans()
        self.group = group
        self.wake, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._awaited: int | None = None
        self._status: int | None = None

    def expect(self, pid: int) -> None:
        """``reap`` keeps the status of this child."""
        self._awaited, self._status = pid, None

    def reap(self) -> int | None:
        """Bury whoever has died; the wait status of the expected child once it has, else None."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self._awaited:
                self._status = status
        return self._status

    def alive(self) -> list[int]:
        """Pids of the tree that are no zombies."""
        return [pid for pid in self._all() if processes.is_alive(pid)]

    def _all(self) -> list[int]:
        pids = processes.descendants(os.getpid())
        if self.group is not None and self.group.is_populated():
            pids = list({*pids, *self.group.pids()})
        return pids

    def terminate(self) -> None:
        """Ask all to end; the stopped ones are woken to hear it."""
        pids = self._all()
        processes.signal_all(pids, signal.SIGTERM)
        processes.signal_all(pids, signal.SIGCONT)

    def kill(self, within: float) -> tuple[int, list[int]]:
        """SIGKILL until nobody is left: (how many were ended, pids that ``within`` seconds did not end).

        From the second round on all are stopped before one is killed, so that a fork bomb cannot outrun us.
        """
        ended: set[int] = set()
        until = time.monotonic() + within
        rounds = 0
        while True:
            self.reap()
            is_populated = self.group is not None and self.group.is_populated()
            pids = self._all() if is_populated else processes.descendants(os.getpid())
            if not pids and not is_populated:
                return len(ended), []
            ended.update(pid for pid in pids if processes.is_alive(pid))
            if self.group is not None and is_populated:
                self.group.kill()
            if rounds:
                pids = self._stop_all(set(pids))
            processes.signal_all(pids, signal.SIGKILL)
            if time.monotonic() > until:
                return len(ended), self.alive()
            rounds += 1
            select.select([self.wake], [], [], 0.005 if rounds < 20 else 0.1)

    def _stop_all(self, known: set[int]) -> list[int]:
        for _ in range(50):
            processes.signal_all(known, signal.SIGSTOP)
            now = set(processes.descendants(os.getpid()))
            if now <= known:
                break
            known |= now
        return list(known)
