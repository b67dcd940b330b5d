"""A control group for each run, where the worker may divide its own (systemd: Delegate=yes; 5.7, F05, F27).

    <delegated>/worker         the worker, its starter and the executors
    <delegated>/run-<run id>   the commands of a run, and whatever they start: nobody leaves it by setsid, by a double
                               fork or by an empty environment, and it outlives worker, starter and executor

The kernel ends all of a group at once and says when it is empty; neither needs a look into /proc. Jobs have the account
of their worker, so one that looks for the way out finds it: the executor, as their subreaper, sees those all the same.
No controllers are switched on in there: systemd could not start the next worker in a group that has some.

Standard library only: every executor carries this module.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from appliance.worker import processes

_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # the second where version 1 is mounted too
_LEAF, _RUN = "worker", "run-"
_DELEGATED = ("user.delegate", "trusted.delegate")  # systemd's mark on a group that it leaves to a service


def divide() -> str | None:
    """Move this process into a leaf of its control group, and answer the group, in which runs may get theirs.

    None: it is not marked as ours to divide, or the system does not let us; then nothing is changed. Once, before the
    starter begins. Groups of runs that are over are removed.
    """
    delegated = _own()
    if delegated is None or not _is_delegated(delegated):
        return None
    leaf = Group(f"{delegated}/{_LEAF}")
    try:
        leaf.make()
        leaf.join()
    except OSError:
        return None
    with os.scandir(delegated) as entries:
        for entry in entries:
            if entry.name.startswith(_RUN):
                Group(entry.path).remove()  # one that is in use stays
    return delegated


def of_run(delegated: str, run_id: str) -> Group:
    """The group of a run. ``delegated``: as ``divide`` answered it."""
    return Group(f"{delegated}/{_RUN}{run_id}")


def noted(path: object, run_id: str) -> Group | None:
    """The group that ``started.json`` names, where its job can write; None: no group of this run."""
    is_its_own = isinstance(path, str) and os.path.basename(path) == _RUN + run_id
    if not is_its_own or os.path.normpath(str(path)) != path or not path.startswith(_MOUNTS[0] + "/"):
        return None
    return Group(path)


class Group:
    """One control group, whether it is there or not. ``path``: its directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> None:
        """It is there afterwards. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)

    def join(self) -> None:
        """The calling process belongs to it from here on, and all that it forks. Raises OSError."""
        try:
            self._write("cgroup.procs", b"0")
        except FileNotFoundError:  # systemd removes empty groups of a unit that stops
            self.make()
            self._write("cgroup.procs", b"0")

    def is_populated(self) -> bool:
        """Whether the kernel knows a process in it or below it that has not ended."""
        return b"populated 1" in self._read("cgroup.events")

    def pids(self) -> list[int]:
        """Of all in it and below it, as far as they can be seen."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            found += [pid for pid in map(int, Group(folder)._read("cgroup.procs").split()) if pid]
        return found

    def kill(self) -> None:
        """SIGKILL for all in it and below it, at once."""
        try:
            self._write("cgroup.kill", b"1")
        except OSError:  # before Linux 5.14; whoever calls looks again
            processes.signal_all(self.pids(), signal.SIGKILL)

    def end(self, within: float) -> bool:
        """SIGKILL until the kernel says that nobody is left, then remove it; False: not in so many seconds."""
        until = time.monotonic() + within
        try:
            events = os.open(f"{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True  # it is not there
        try:
            changes = select.poll()
            changes.register(events, select.POLLPRI)
            while b"populated 1" in os.pread(events, 4096, 0):
                if time.monotonic() > until:
                    return False
                self.kill()
                changes.poll(100)
        except OSError:
            return True  # somebody else has removed it: it was empty
        finally:
            os.close(events)
        self.remove()
        return True

    def remove(self) -> None:
        """With those below it; nothing happens while it is in use."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return
        except OSError:
            for folder, _, _ in os.walk(self.path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def _read(self, name: str) -> bytes:
        """A file of it, which is small; nothing when it is not there."""
        try:
            descriptor = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        content = b""
        try:
            while part := os.read(descriptor, 65_536):
                content += part
        except OSError:
            pass  # it was removed while we read: what was read is what was there
        finally:
            os.close(descriptor)
        return content

    def _write(self, name: str, word: bytes) -> None:
        descriptor = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, word)
        finally:
            os.close(descriptor)


def _own() -> str | None:
    """The directory of this process's group in version 2; None: it has none that can be seen."""
    try:
        with open("/proc/self/cgroup") as file:
            paths = [line.rstrip("\n")[3:] for line in file if line.startswith("0::/")]
    except OSError:
        return None
    for mount in _MOUNTS:
        for path in paths:
            if os.path.exists(f"{mount}{path.rstrip('/')}/cgroup.controllers"):
                return mount + path.rstrip("/")
    return None


def _is_delegated(group: str) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False
