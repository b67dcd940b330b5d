"""Stream 2 of a run, the notes: JSON lines that say what happened between the job's bytes (reliability.md section 5).

Each line is an object with ``note`` and ``at`` (seconds since 1970, the worker's clock):

    {"note": "began",   "at", "phase", "index", "name", "offset", "command"}
        A command begins. ``phase``: setup_commands | commands | teardown_commands; ``index`` from 0; ``name`` as the
        definition gives it, or null; ``offset``: size of the log then; ``command``: its text for people, at most 500
        characters (values filled in).
    {"note": "ended",   "at", "phase", "index", "offset", "seconds", "code" | "signal" | "error", "ended_by"?}
        It ended: exit ``code``, ``signal`` name such as SIGTERM, or ``error``: why it could not start.
        ``ended_by``: "abort", "timeout" or "disk_full" when we ended it.
    {"note": "skipped", "at", "phase", "index", "name"}
        It was not started, because of what came before it.
    {"note": "background", "at", "count"}      that many background processes were ended (F28)
    {"note": "results_invalid", "at", "reason", "text"}   the results file; ``text``: its first 200 bytes (F38)
    {"note": "cut",     "at", "offset", "dropped"}   the output limit: bytes dropped at this offset of the log (L4)
    {"note": "gap",     "at", "offset", "dropped"}   the disk was full: output lost at this offset (F17)
    {"note": "remark",  "at", "text"}          one sentence for people
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from typing import Any

from appliance.worker.disk import Disk

_encode = json.JSONEncoder(separators=(",", ":")).encode
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # a full disk, a quota, a size limit: not a broken disk


class Notes:
    """Writes the notes of one run. Each line is durable before anybody can read it."""

    def __init__(self, path: str, disk: Disk) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._disk = disk
        self._digest = hashlib.sha256()
        self._waiting = b""  # lines that found the disk full
        self.size = 0

    def add(self, note: str, **fields: Any) -> None:
        """Add a line. A full disk keeps it waiting for the next try. Raises OSError for a broken disk (F18)."""
        self.put(note, **fields)
        self.flush()

    def put(self, note: str, **fields: Any) -> None:
        """As ``add``, but the line is written, and durable, with the next ``add`` or ``flush``."""
        self._waiting += _encode({"note": note, "at": round(time.time(), 3), **fields}).encode() + b"\n"

    def flush(self) -> bool:
        """Try to write what waits; answers whether nothing waits any more. Raises OSError for a broken disk."""
        if not self._waiting:
            return True
        try:
            self._disk.write_whole(self.descriptor, self._waiting)
            self._disk.sync(self.descriptor)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            os.ftruncate(self.descriptor, self.size)  # never half a line
            self._waiting = self._waiting[:65_536]  # the first are the ones that explain the later
            return False
        self._digest.update(self._waiting)
        self.size += len(self._waiting)
        self._waiting = b""
        return True

    def digest(self) -> str:
        """SHA-256 (hex) of what is in the file."""
        return self._digest.hexdigest()
