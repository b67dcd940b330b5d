"""The end of a run that its executor cannot tell any more: it was killed, or the machine restarted (F05, F07).

Never launched again: ``started.json`` says that its commands may have run (5.6).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from appliance.model.documents import strict_json
from appliance.model.errors import Invalid
from appliance.wire import RESULTS_INLINE, RESULTS_LIMIT
from appliance.worker import control_group, processes, rundir
from appliance.worker.marks import read_marks
from appliance.worker.notes import NO_SPACE
from appliance.worker.rundir import Damaged, RunDirectory

if TYPE_CHECKING:
    from appliance.wire.local_runs import Record

_FULL_TRIES, _BROKEN_TRIES = 60, 3
_PAUSE = 1.0  # seconds between two tries
_EMPTY_WITHIN = 5.0  # seconds in which the kernel must empty a control group


def end_processes(directory: RunDirectory, run_id: str, boot_id: str) -> None:
    """End what a run without executor has left: its control group, what carries its id, and what lives in a session of
    its commands (5.7).

    Also an executor that lost its lock to the job. Without a control group, a process that cleared its environment and
    opened a session of its own is not found here; while a starter lives, it is that one's child, and ended there.
    """
    started = _started(directory)
    boot = started.get("boot")
    if isinstance(boot, str) and boot != boot_id:
        return  # nothing outlives the machine, and the numbers are of others now
    processes.kill_carrying(run_id)
    if boot is None:
        return
    executor, since = started.get("executor"), started.get("executor_start")
    if type(executor) is not int or type(since) is not int or executor <= 1:
        return
    if processes.start_time(executor) == since:
        processes.signal_all([executor], signal.SIGKILL)
    if (group := control_group.noted(started.get("cgroup"), run_id)) is not None:
        group.end(_EMPTY_WITHIN)
    begun = [note.get("pid") for note in _whole_notes(directory) if note.get("note") == "began"]
    sessions = {started.get("child"), *begun}
    processes.kill_sessions({one for one in sessions if type(one) is int and one > 1}, since, run_id)


def bury(directory: RunDirectory, boot_id: str) -> None:
    """Write the exit record of a run that was started and has no executor any more; the caller holds its lock.

    Its processes must be gone. ``boot_id``: of this boot; after another one only what was synced is trusted, and the
    log is cut to its mark. Reads the whole log. Raises OSError.
    """
    started = _started(directory)
    boot = started.get("boot")
    is_other_boot = isinstance(boot, str) and boot != boot_id  # started.json is durable before anything runs (5.6)
    until = _modified(directory)
    notes = _whole_notes(directory)
    if is_other_boot:
        _cut_log(directory, boot)
    if directory.has(rundir.TAIL):
        os.unlink(directory.file(rundir.TAIL))
    command = _last_begun(notes)
    record: dict[str, Any] = {"format": rundir.FORMAT, "status": "errored", "notes": []}
    if boot is None:
        record["reason"] = "internal_error"
        record["sentence"] = "files of the run were removed or spoilt while it ran; what is left of its output was kept"
    elif is_other_boot:
        record["reason"] = "worker_host_restarted"
        record["sentence"] = "the machine of the worker restarted; up to 5 s of output may be missing"
    elif command is None:
        record["reason"] = "start_interrupted"
        record["sentence"] = "the executor died while the first command was starting; whether it began is not known"
    else:
        record["reason"] = "executor_killed"
        record["sentence"] = f"the executor was killed; output until {until} is complete"
    if command is not None:
        record["command"] = command
    record["notes"].append("teardown commands could not run")
    seq = _keep_results(directory)
    streams = {stream: digest(directory, name) for stream, name in rundir.STREAM_FILES.items()}
    write_record(directory, record, started_at=started.get("at"), seq=seq, streams=streams)


def end_unstarted(directory: RunDirectory, status: str, reason: str, sentence: str) -> None:
    """Write the exit record of a run that never began and never will; the caller holds its lock. Raises OSError."""
    record = {"format": rundir.FORMAT, "status": status, "reason": reason, "sentence": sentence, "notes": []}
    write_record(directory, record, started_at=None, seq=0, streams={})


def set_aside(directory: RunDirectory, end: Record | None, reason: str, sentence: str) -> None:
    """Put another end in the place of ``end``; what that said stays as a note. Raises OSError."""
    itself = [f"the run itself ended as {end.status}: {end.sentence or end.reason or 'no reason'}"] if end else []
    record = {"format": rundir.FORMAT, "status": "errored", "reason": reason, "sentence": sentence, "notes": itself}
    write_record(directory, record, started_at=end.started_at if end else None, seq=0, streams={})


def write_record(
    directory: RunDirectory,
    record: dict[str, Any],
    *,
    started_at: float | None,
    seq: int,
    streams: dict[int, tuple[int, str]],
) -> None:
    """Complete a record with its streams, which are (size, SHA-256), and make it durable. Raises OSError."""
    empty = (0, rundir.sha256(b""))
    kept = {0: empty, 2: empty} | {stream: found for stream, found in streams.items() if found[0] or stream != 1}
    directory.write_exit(
        {
            **record,
            "started_at": started_at,
            "at": round(time.time(), 3),
            "sizes": {str(stream): size for stream, (size, _) in kept.items()},
            "sha256": {str(stream): digest for stream, (_, digest) in kept.items()},
            "seq": seq,
        }
    )


def write_at_last(directory: RunDirectory, record: dict[str, Any], **rest: Any) -> None:
    """As ``write_record``, again and again: a full disk gets a minute, another trouble three tries (F17, F18).

    What had to be tried again is said in the record. Raises OSError in the end, FileNotFoundError at once.
    """
    tries = 0
    while True:
        try:
            return write_record(directory, record, **rest)
        except FileNotFoundError:
            raise
        except OSError as error:
            tries += 1
            is_full = error.errno in NO_SPACE
            if tries >= (_FULL_TRIES if is_full else _BROKEN_TRIES):
                raise
            why = "the disk of the worker is full" if is_full else "storage error on the worker"
            reason = "disk_full" if is_full else "internal_error"
            record.update(status="errored", reason=reason, sentence=f"{why}: the exit record failed: {error}")
            time.sleep(_PAUSE)


def _started(directory: RunDirectory) -> dict[str, Any]:
    try:
        return directory.read_object(rundir.STARTED) or {}
    except Damaged:
        return {}


def _modified(directory: RunDirectory) -> str:
    """When the log last grew, as text."""
    try:
        at = os.stat(directory.file(rundir.LOG)).st_mtime
    except FileNotFoundError:
        return "its start"
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _whole_notes(directory: RunDirectory) -> list[dict[str, Any]]:
    """The notes; a torn last line is cut from the file."""
    try:
        raw = directory.read(rundir.NOTES) or b""
    except Damaged:
        return []
    notes: list[dict[str, Any]] = []
    good = 0
    for line in raw.splitlines(keepends=True):
        try:
            note = json.loads(line)
        except ValueError:
            break
        if type(note) is not dict or not line.endswith(b"\n"):
            break
        notes.append(note)
        good += len(line)
    if good < len(raw):
        os.truncate(directory.file(rundir.NOTES), good)
    return notes


def _last_begun(notes: list[dict[str, Any]]) -> str | None:
    """The command that began last, as ``commands[0]``; None: no command began."""
    for note in reversed(notes):
        if note.get("note") == "began":
            return f"{note.get('phase')}[{note.get('index')}]"
    return None


def _cut_log(directory: RunDirectory, boot: object) -> None:
    """Cut the log to what was durable when the machine went down; to nothing without a mark that can be trusted."""
    if not directory.has(rundir.LOG):
        return
    size = os.stat(directory.file(rundir.LOG)).st_size
    for mark in read_marks(directory):
        # The digest is of public bytes, a receipt against a broken disk.
        if mark["boot"] == boot and mark["offset"] <= size and _prefix(directory, mark["offset"]) == mark["sha256"]:
            os.truncate(directory.file(rundir.LOG), mark["offset"])
            return
    os.truncate(directory.file(rundir.LOG), 0)


def _prefix(directory: RunDirectory, size: int) -> str:
    """SHA-256 of so many first bytes of the log."""
    digest = hashlib.sha256()
    with open(directory.file(rundir.LOG), "rb") as file:
        while size > 0 and (chunk := file.read(min(size, 1 << 20))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()


def _keep_results(directory: RunDirectory) -> int:
    """Make the last good results durable, as far as they survived; answers their sequence number, 0 for none."""
    try:
        found = directory.live_results()
        if found is None or type(strict_json(found[1], RESULTS_LIMIT)) is not dict:
            return 0
    except (Damaged, Invalid, ValueError):
        return 0
    seq, value = found
    directory.replace(rundir.LIVE, b"%d\n%b" % (seq, value))
    if len(value) > RESULTS_INLINE:
        directory.replace(rundir.RESULTS, value)
    return seq


def digest(directory: RunDirectory, name: str) -> tuple[int, str]:
    """(size, SHA-256) of a file, which is then durable; of nothing when it is not there."""
    try:
        descriptor = directory.open_regular(name)
    except (Damaged, FileNotFoundError):
        return 0, rundir.sha256(b"")
    digest = hashlib.sha256()
    size = 0
    try:
        directory.disk.sync(descriptor)
        while chunk := os.read(descriptor, 1 << 20):
            digest.update(chunk)
            size += len(chunk)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()
