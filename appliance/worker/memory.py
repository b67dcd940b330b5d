"""Whether the kernel killed for lack of memory, as the control group of this process counts it (F06)."""

from __future__ import annotations

import os


def oom_kills() -> int:
    """Processes of this control group that the kernel killed for lack of memory, ever; 0 where nobody counts."""
    for events, _ in _files():
        for line in _lines(events):
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def limit() -> int | None:
    """Bytes of memory this control group may use; None: no limit is known."""
    for _, most in _files():
        for line in _lines(most):
            if line.isdigit() and int(line) < 1 << 62:
                return int(line)
    return None


def show_limit() -> str:
    """The limit as a sentence adds it; "" if none is known."""
    most = limit()
    return "" if most is None else f" (limit {most / (1 << 30):.2g} GiB)"


def _files() -> list[tuple[str, str]]:
    """(events, limit) in version 2 and in version 1 of control groups."""
    found = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        path = path.rstrip("/")
        if controllers == "":
            found.append((f"/sys/fs/cgroup{path}/memory.events", f"/sys/fs/cgroup{path}/memory.max"))
        elif "memory" in controllers.split(","):
            root = f"/sys/fs/cgroup/memory{path}"
            found.append((f"{root}/memory.oom_control", f"{root}/memory.limit_in_bytes"))
    return found


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
