"""The starter: a small, prepared, single-threaded process that forks an executor per line (5.7, M14).

Forking from here costs a few milliseconds and one or two megabytes; from the worker, with its threads and sockets, it
would be slow and unsafe. Executors outlive it. It ends when its input does.

    in    one JSON object per line: run, directory, secrets, boot, base, environment (see executor.execute);
          or {"sweep": RUN}: end what executors that are gone have left behind
    out   "ready", then per line "forked RUN PID", "failed RUN why" or "swept RUN COUNT"

It is the subreaper of its executors, and each of them is that of its commands: so whoever becomes a child of this
process without being an executor has lost one that was killed (F05), whatever it made of its session and environment.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import time
import traceback
from typing import Any

from appliance.worker import processes
from appliance.worker.executor import execute
from appliance.worker.rundir import ERRORS
from appliance.worker.tree import adopt_orphans

_ROUNDS, _BETWEEN = 200, 0.005  # looks at what is left, and seconds between two
_TICKS = os.sysconf("SC_CLK_TCK")

Span = tuple[int, int]  # ticks after boot, the first and the last

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from appliance.worker.starter import main; main()"


def main() -> None:
    """Serve until the input ends."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the executors
    adopt_orphans()
    executors: dict[int, Span] = {}
    umask = os.umask(0o077)
    gc.collect()
    gc.disable()
    gc.freeze()
    _say("ready")
    waiting = b""
    while part := os.read(0, 65_536):
        *lines, waiting = (waiting + part).split(b"\n")
        for line in lines:
            words = json.loads(line)
            if "sweep" in words:
                _say(f"swept {words['sweep']} {_sweep(executors)}")
            else:
                _fork(words, umask, executors)


def _sweep(executors: dict[int, Span]) -> int:
    """End every child that is no executor; answers how many those were. ``executors``: when each pid was forked."""
    for pid in [pid for pid, span in executors.items() if not _began_in(pid, span)]:
        del executors[pid]
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        strays = [pid for pid in processes.children(os.getpid()) if pid not in executors]
        if not strays:
            break
        ended.update(strays)
        processes.signal_all(strays, signal.SIGKILL)  # what they leave behind comes here, and is met in the next round
        time.sleep(_BETWEEN)
    return len(ended)


def _began_in(pid: int, span: Span) -> bool:
    """Whether there is a process with this pid that began then: pids are given again."""
    began = processes.start_time(pid)
    return began is not None and span[0] <= began <= span[1]


def _ticks() -> int:
    """Now as the kernel counts the start of a process; to ask it for each executor's own would cost far more."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def _fork(launch: dict[str, Any], umask: int, executors: dict[int, Span]) -> None:
    before = _ticks()
    try:
        pid = os.fork()
    except OSError as error:
        _say(f"failed {launch['run']} {error.strerror}")
        return
    if pid == 0:
        try:
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):  # nobody waits for the end of a pipe because a run goes on
                os.dup2(null, descriptor)
            os.close(null)
            execute(launch, umask)
        except Exception:
            _keep_traceback(launch["directory"])
        finally:
            os._exit(0)
    executors[pid] = (before, _ticks())
    _say(f"forked {launch['run']} {pid}")


def _keep_traceback(directory: str) -> None:
    """The executor could not even begin; the supervisor tries again, and a person finds out why."""
    with contextlib.suppress(OSError), open(f"{directory}/{ERRORS}", "w") as file:
        file.write(traceback.format_exc())


def _say(text: str) -> None:
    os.write(1, text.encode() + b"\n")
