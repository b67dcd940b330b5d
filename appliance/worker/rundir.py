"""The directory of one run: its file names, and who makes what durable when (reliability.md 5.4).

    request.json   what was assigned, with cap and digest; no secrets      journal, durable before ``accepted``
    lock           held by the executor as long as it lives (flock), says "pid start-time"
    abort          the intent, {"grace", "at"}                             journal, durable before the signal
    started.json   executor, child, boot id, time                          executor, durable before the gate opens
    log            stream 0, raw bytes; tail: what the cap holds back      executor, every 5 s or 16 MiB, and at the end
    mark           durable size of the log, see marks.py                   executor, after each of these syncs
    notes          stream 2, see notes.py                                  executor, each line
    live           sequence number, newline, the last good results         executor, not durable
    results        stream 1: the last results, if they are large           executor, with the exit record
    exit.json      the exit record                                         executor, or journal for a dead one
    acked          the master has the end, which it says again if asked    journal, not durable
    *.tmp          of exit.json, and of abort or then acked: space allocated in advance for a full disk (F17)
    errors         traceback of an executor that failed; for us
    workspace/     where commands run
    job/           results.json, artifacts/, tmp/: what we share with the commands

Standard library only, and little of it: every executor carries this module.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from typing import Any

from appliance.worker.disk import Disk

FORMAT = 1
_encode = json.JSONEncoder(separators=(",", ":")).encode

REQUEST, LOCK, ABORT, STARTED = "request.json", "lock", "abort", "started.json"
LOG, TAIL, MARK, NOTES, LIVE, RESULTS = "log", "tail", "mark", "notes", "live", "results"
EXIT, EXIT_SPACE, ACKED, ERRORS = "exit.json", "exit.json.tmp", "acked", "errors"
WORKSPACE, JOB = "workspace", "job"
RESULTS_FILE, ARTIFACTS, TEMPORARY = "job/results.json", "job/artifacts", "job/tmp"

OURS = (REQUEST, LOCK, ABORT, STARTED, LOG, TAIL, MARK, NOTES, LIVE, RESULTS, EXIT, EXIT_SPACE, ACKED)
STREAM_FILES = {0: LOG, 1: RESULTS, 2: NOTES}
EXIT_LIMIT = 4096  # bytes of an exit record
READ_LIMIT = 64 << 20  # bytes of a file that is read whole; results and notes are far smaller


class Damaged(Exception):
    """A file of ours that should be JSON is not. Says which."""


class RunDirectory:
    """One run on this worker. ``path`` may be relative: the executor works from inside, with ``"."``."""

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path = path
        self.disk = disk or Disk()

    def file(self, name: str) -> str:
        """The path of one of the files above."""
        return f"{self.path}/{name}"

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return os.path.lexists(self.file(name))

    def read(self, name: str) -> bytes | None:
        """The whole of a small file of ours; None when it does not exist. Raises Damaged when it is none of ours."""
        try:
            descriptor = self.open_regular(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(READ_LIMIT + 1)
        if len(content) > READ_LIMIT:
            raise Damaged(f"{self.file(name)} is too large")
        return content

    def open_up(self) -> None:
        """Give us back the rights to the directory, if its job has taken them: it has our account. Raises OSError."""
        if stat.S_IMODE(os.stat(self.path).st_mode) & 0o700 != 0o700:
            os.chmod(self.path, 0o700)

    def open_regular(self, name: str) -> int:
        """A descriptor to read the file. A job may have put a link, a FIFO or a directory there: raises Damaged.

        Never waits and never follows. Raises FileNotFoundError.
        """
        path = self.file(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise Damaged(f"{path} is no regular file") from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Damaged(f"{path} is no regular file")
        return descriptor

    def read_object(self, name: str) -> dict[str, Any] | None:
        """The JSON object in one of our files; None when it does not exist. Raises Damaged."""
        raw = self.read(name)
        if raw is None:
            return None
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if type(value) is not dict:
            raise Damaged(f"{self.file(name)} is damaged")
        return value

    def replace(self, name: str, content: bytes, *, is_durable: bool = True, is_named: bool = True) -> None:
        """Put ``content`` in the place of the file, at once or not at all. Raises OSError.

        ``is_named``: False leaves it to the caller to make a name of the file durable.
        """
        temporary = self.file(name + ".tmp")
        self.clear(name + ".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self.disk.write_whole(descriptor, content)
            os.ftruncate(descriptor, len(content))  # its space may have been reserved
            if is_durable:
                self.disk.sync(descriptor)
        finally:
            os.close(descriptor)
        self._take_place(temporary, name)
        if is_durable and is_named:
            self.disk.sync_directory(self.path)

    def _take_place(self, temporary: str, name: str) -> None:
        try:
            self.disk.rename(temporary, self.file(name))
        except IsADirectoryError:  # of the job's making
            self.set_aside(name)
            self.disk.rename(temporary, self.file(name))

    def replace_object(
        self, name: str, value: dict[str, Any], *, is_durable: bool = True, is_named: bool = True
    ) -> None:
        """As ``replace``, with the JSON of ``value``."""
        self.replace(name, _encode(value).encode(), is_durable=is_durable, is_named=is_named)

    def set_aside(self, name: str) -> None:
        """Move what cannot be ours out of the way, for people to look at. Raises OSError."""
        self.disk.rename(self.file(name), self.file(f"{name}.damaged.{time.monotonic_ns()}"))

    def clear(self, name: str) -> None:
        """Set aside what is there under the name of a file of ours and is no regular file: to write to a link, a FIFO
        or a directory of the job's making would go astray or wait for ever. Raises OSError."""
        try:
            there = os.lstat(self.file(name))
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISREG(there.st_mode):
            self.set_aside(name)

    # ---- the lock: liveness without pids

    def lock(self) -> int | None:
        """Take the lock; answers its descriptor, or None while another has it. Raises FileNotFoundError.

        What is no regular file was put there by the job, and is set aside.
        """
        self.clear(LOCK)
        descriptor = os.open(self.file(LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise
        return descriptor

    def is_locked(self) -> bool:
        """Whether somebody holds the lock: an executor lives."""
        self.clear(LOCK)
        try:
            descriptor = os.open(self.file(LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return True
            raise
        finally:
            os.close(descriptor)
        return False

    def executor(self) -> tuple[int, int] | None:
        """(pid, start time in ticks) that the last executor wrote; it is alive only while the lock is held."""
        words = (self.read(LOCK) or b"").split()
        if len(words) != 2 or not all(word.isdigit() and len(word) <= 20 for word in words):
            return None
        return int(words[0]), int(words[1])

    # ---- streams

    def sizes(self) -> dict[int, int]:
        """Bytes of each stream that is there."""
        found = {}
        for stream, name in STREAM_FILES.items():
            try:
                seen = os.lstat(self.file(name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(seen.st_mode):
                found[stream] = seen.st_size
        return found

    def live_results(self) -> tuple[int, bytes] | None:
        """(sequence number, JSON object) of the last good results; None while there are none."""
        seq, newline, value = (self.read(LIVE) or b"").partition(b"\n")
        return (int(seq), value) if newline and seq.isdigit() and len(seq) <= 12 else None

    # ---- the exit record

    def reserve(self, *names: str) -> None:
        """Allocate the space of small files, so that each can be put there on a full disk (F17). Raises OSError."""
        for name in names:
            descriptor = os.open(self.file(name + ".tmp"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, EXIT_LIMIT)
            finally:
                os.close(descriptor)

    def hand_on(self, name: str, to: str) -> None:
        """The space reserved for ``name``, if nothing used it, is reserved for another file."""
        with contextlib.suppress(OSError):  # then that one takes its chance
            os.rename(self.file(name + ".tmp"), self.file(to + ".tmp"))

    def write_exit(self, record: dict[str, Any]) -> None:
        """The end of the run, durable. Notes and the sentence are cut until it fits its space. Raises OSError."""
        content = _fitting(record)
        self.clear(EXIT_SPACE)
        descriptor = os.open(self.file(EXIT_SPACE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.disk.write_whole(descriptor, content)
            os.ftruncate(descriptor, len(content))
            self.disk.sync(descriptor)
        finally:
            os.close(descriptor)
        if self.has(ACKED):
            self.set_aside(ACKED)  # nobody has taken an end that is only now written: its job put it there
        self._take_place(self.file(EXIT_SPACE), EXIT)
        self.disk.sync_directory(self.path)


def _fitting(record: dict[str, Any]) -> bytes:
    """The record's JSON in at most EXIT_LIMIT bytes: long texts are cut, then late notes left out."""
    record = {**record, "sentence": record["sentence"][:500], "notes": [note[:300] for note in record["notes"][:20]]}
    while len(content := _encode(record).encode()) > EXIT_LIMIT:
        if record["notes"]:
            record["notes"] = record["notes"][:-1]
        else:
            record["sentence"] = record["sentence"][: len(record["sentence"]) // 2]
    return content


def sha256(content: bytes) -> str:
    """SHA-256 (hex)."""
    return hashlib.sha256(content).hexdigest()
