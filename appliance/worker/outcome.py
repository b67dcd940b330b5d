"""How a watched command ended, from what the system says: exit code, signal, refused exec, lack of memory (F06)."""

from __future__ import annotations

import os
import signal

from appliance.worker import command as commands
from appliance.worker import memory, rundir
from appliance.worker.verdict import Ending
from appliance.worker.watch import Watch

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the second is how a shell tells it of what it waited for


def ending_of(watch: Watch, status: int, program: str, path: str, killed_before: int) -> Ending:
    """The end of the command that ``watch`` has seen end with this wait status.

    ``program`` and ``path``: what was looked for, and on which PATH. ``killed_before``: ``memory.oom_kills()`` before
    the command began.
    """
    if watch.refusal is not None:
        why = commands.explain(*watch.refusal, program, rundir.WORKSPACE, path)
        return Ending(error=why, reason="start_failed", ended_by=watch.ended_by, survivors=watch.survivors)
    code = os.waitstatus_to_exitcode(status)
    out_of_memory = code in _KILLED and watch.ended_by is None and memory.oom_kills() > killed_before
    limit = watch.limit
    if watch.ended_by == "abort" and watch.was_killed:
        limit = "; killed when the grace was over"
    return Ending(
        code=code if code >= 0 else None,
        signal=_signal_name(-code) if code < 0 else None,
        ended_by=watch.ended_by,
        limit=limit,
        is_run_over=watch.is_run_over,
        is_out_of_memory=out_of_memory,
        memory_limit=memory.show_limit() if out_of_memory else "",
        survivors=watch.survivors,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
