"""The processes of runs, found by the directory they work in: /proc says it of every process of our account."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_RUN_ID = 36  # characters


class Victim(NamedTuple):
    """A process of a run. ``kind``: ``executor``, ``command``, ``child`` (between both: it waits at the launch gate, or
    is an executor that has not taken its lock yet) or ``descendant`` of a command."""

    run_id: str
    pid: int
    kind: str


def find(homes: Iterable[Path]) -> list[Victim]:
    """All processes of runs of the workers whose data directories these are, by run and pid."""
    roots = [f"{home}/runs/" for home in homes]
    found = (_victim(int(name), roots) for name in os.listdir("/proc") if name.isdigit())
    return sorted(victim for victim in found if victim is not None)


def strike(victim: Victim, number: signal.Signals, homes: Iterable[Path]) -> bool:
    """Send a signal to exactly this process, never to another that got its pid; False when it is gone."""
    try:
        descriptor = os.pidfd_open(victim.pid)
    except OSError:
        return False
    try:
        again = _victim(victim.pid, [f"{home}/runs/" for home in homes])
        if again is None or again.run_id != victim.run_id:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def starter(worker: int) -> int | None:
    """The pid of the process that forks the executors of a worker, given its pid."""
    for pid in _children(worker):
        with contextlib.suppress(OSError):
            if b"appliance.worker.starter" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def working_in(directory: Path) -> dict[int, str]:
    """Every process whose working directory is in this one, or was before it was deleted, with its command line."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and _cwd(int(name)).startswith(f"{directory}/"):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{name}/cmdline").read_bytes()
                if words:  # a zombie has none
                    found[int(name)] = words.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return found


def _victim(pid: int, roots: list[str]) -> Victim | None:
    cwd = _cwd(pid)
    for root in roots:
        if cwd.startswith(root):
            run_id, _, below = cwd[len(root) :].partition("/")
            if len(run_id) != _RUN_ID:
                return None
            executor = _executor(f"{root}{run_id}")
            if not below:
                return Victim(run_id, pid, "executor" if pid == executor else "child")
            return Victim(run_id, pid, "command" if _parent(pid) == executor else "descendant")
    return None


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""  # gone, a zombie, or of another account


def _executor(run: str) -> int | None:
    """What the executor wrote into the lock of its run."""
    with contextlib.suppress(OSError):
        words = Path(run, "lock").read_bytes().split()
        if words and words[0].isdigit():
            return int(words[0])
    return None


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found
