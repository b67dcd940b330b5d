"""Finding and ending processes: the tree beneath one, and those that carry a run's id in their environment (5.7)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
from collections.abc import Iterable, Set

COOKIE = "ORCHESTRA_RUN"  # variable of every command; it survives setsid, double forks and the death of the executor


def start_time(pid: int) -> int | None:
    """Ticks after boot at which the process began; with pid and boot id it names a process for good. None: gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def boot_id() -> str:
    """The kernel's name for this boot of the machine, without dashes; a unit that cannot see it is told."""
    if given := os.environ.get("ORCHESTRA_BOOT_ID"):
        return given.replace("-", "")
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip().replace("-", "")


def load_average() -> float:
    """Of the last minute. Asks the kernel itself: a hardened unit has no /proc/loadavg. Raises OSError."""
    found = ctypes.create_string_buffer(256)  # struct sysinfo: long uptime, then unsigned long loads[3] ..
    if ctypes.CDLL(None, use_errno=True).sysinfo(found) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    one_minute: int = struct.unpack_from("@lL", found)[1]
    return one_minute / 65_536


def descendants(root: int) -> list[int]:
    """Pids of the whole tree beneath ``root``, zombies included. A snapshot: forks may go on meanwhile."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def carrying(run_id: str) -> list[int]:
    """Pids of all processes of our account whose environment names this run; our own process is never among them."""
    cookie = f"{COOKIE}={run_id}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if cookie in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue  # gone, or of another account
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X")


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send the signal to each that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_carrying(run_id: str, rounds: int = 100) -> int:
    """SIGKILL every process that carries the run's id, until a look finds none; answers how many were alive.

    A zombie has no environment, so nothing is counted or met twice; ``rounds`` bounds a fork bomb.
    """
    ended: set[int] = set()
    for _ in range(rounds):
        found = carrying(run_id)
        if not found:
            break
        ended.update(found)
        if len(ended) > len(found):  # new ones came while we killed: stop them all first
            signal_all(found, signal.SIGSTOP)
            found = carrying(run_id)
            ended.update(found)
        signal_all(found, signal.SIGKILL)
    return len(ended)


def kill_sessions(sessions: Set[int], since: int, run_id: str, rounds: int = 100) -> int:
    """SIGKILL every process of these sessions, until a look finds none; answers how many were alive.

    Only ours count: of our account, begun at ``since`` (ticks after boot) or later, and not of another run, so that a
    session whose number was given out again is left alone.
    """
    ended: set[int] = set()
    for _ in range(rounds):
        found = [pid for pid in _of_sessions(sessions, since) if not _is_of_another(pid, run_id)]
        if not found:
            break
        ended.update(found)
        signal_all(found, signal.SIGKILL)
    return len(ended)


def _of_sessions(sessions: Set[int], since: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            fields = _stat(int(name))
            is_theirs = bool(fields) and int(fields[3]) in sessions and int(fields[19]) >= since
            if is_theirs and fields[0] not in (b"Z", b"X") and _owner(int(name)) == os.geteuid():
                found.append(int(name))
    return found


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _is_of_another(pid: int, run_id: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return True  # gone, or not ours to look at
    cookie = f"{COOKIE}=".encode()
    return any(word.startswith(cookie) and word != cookie + run_id.encode() for word in words)


def children(pid: int) -> list[int]:
    """Pids of its children, zombies included."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while we looked: its children are the subreaper's now, and seen at the next look
    return found


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the state on; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
