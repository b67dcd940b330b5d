"""Start and end programs, and see what they use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 15.0  # seconds a program has to end after SIGTERM


@dataclass(frozen=True)
class Use:
    """What one process holds (MB of 1024 x 1024) and has used (seconds, children that it waited for included)."""

    pid: int
    command: str
    resident: float
    proportional: float
    private: float
    seconds: float


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program that :func:`start` started: SIGTERM, then SIGKILL to its group."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_all(pids: Iterable[int]) -> None:
    """SIGKILL to processes that may be gone already: executors and commands that a stopped worker left to live on."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def below(directory: Path) -> list[int]:
    """Processes with a path of ``directory`` in their command line, environment or working directory.

    An executor leaves its parent on purpose, so ancestry does not tell whose it is.
    """
    found = []
    needle = os.fsencode(directory)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            place = Path("/proc", entry)
            with contextlib.suppress(OSError):
                said = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
                if needle in said or needle in os.fsencode((place / "cwd").readlink()):
                    found.append(int(entry))
    return found


def tree(root: int) -> list[int]:
    """A process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(_stat(int(entry))[1])
                children.setdefault(parent, []).append(int(entry))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def use(pids: Iterable[int]) -> list[Use]:
    """What these processes use; one that has ended is left out."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError, KeyError):
            fields = _stat(pid)
            seconds = sum(int(text) for text in fields[11:15]) / _TICKS
            sizes = dict(line.split(":")[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            keys = ("Rss", "Pss", "Private_Clean", "Private_Dirty")
            resident, proportional, *private = (int(sizes[key].split()[0]) / 1024 for key in keys)
            found.append(Use(pid, command, resident, proportional, sum(private), seconds))
    return found


def seconds_of(root: int) -> float:
    """CPU seconds of a process, its living descendants, and the children they have waited for."""
    return sum(one.seconds for one in use(tree(root)))


def wait_until(condition: str, is_true: Callable[[], object], limit: float = 60.0, gap: float = 0.005) -> None:
    """Call ``is_true`` until it answers something true. Raises TimeoutError naming ``condition``."""
    deadline = time.monotonic() + limit
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:.0f} s for: {condition}")
        time.sleep(gap)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name: [0] state, [1] parent, [11:15] CPU ticks."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
