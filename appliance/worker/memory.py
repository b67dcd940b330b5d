"""Whether the kernel killed for lack of memory, as the control group of this process counts it (F06).

A group counts for all below it, and where it has no memory controller the next one above it counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator


def oom_kills(root: str = "") -> int:
    """Processes of this control group that the kernel killed for lack of memory, ever; 0 where nobody counts.

    ``root``: of another machine's files, for tests.
    """
    for events, _ in _files(root):
        for line in _lines(events):
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def limit(root: str = "") -> int | None:
    """Bytes of memory this control group may use; None: no limit is known."""
    for _, most in _files(root):
        for line in _lines(most):
            if line.isdigit() and int(line) < 1 << 62:
                return int(line)
    return None


def show_limit() -> str:
    """The limit as a sentence adds it; "" if none is known."""
    most = limit()
    return "" if most is None else f" (limit {most / (1 << 30):.2g} GiB)"


def _files(root: str) -> Iterator[tuple[str, str]]:
    """(events, limit) in version 2 and in version 1 of control groups, of this one and then of those above it."""
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, events, most = f"{root}/sys/fs/cgroup", "memory.events", "memory.max"
        elif "memory" in controllers.split(","):
            mount, events, most = f"{root}/sys/fs/cgroup/memory", "memory.oom_control", "memory.limit_in_bytes"
        else:
            continue
        steps = [step for step in path.split("/") if step]
        for count in range(len(steps), -1, -1):
            group = "/".join([mount, *steps[:count]])
            yield f"{group}/{events}", f"{group}/{most}"


def _lines(path: str) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return os.read(descriptor, 65_536).decode(errors="replace").splitlines()
    except OSError:
        return []
    finally:
        os.close(descriptor)
