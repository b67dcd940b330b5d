"""The durable size of a run's log, for the case that the machine goes down (F07)."""

from __future__ import annotations

import json
import os
from typing import Any

from appliance.worker.notes import NO_SPACE
from appliance.worker.rundir import MARK, RunDirectory

_SLOT = 512  # bytes, a sector: written whole or not at all


class Marks:
    """Two marks in one small file, written in turns: a torn one leaves the one before it.

    In place, because a new file and its directory would cost two more syncs for every megabyte of log.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._descriptor: int | None = None
        self._count = 0

    def add(self, offset: int, sha256: str, boot_id: str) -> None:
        """So many bytes of the log are durable, with this SHA-256. A full disk leaves the old mark.

        Raises OSError when the disk is broken (F18).
        """
        mark = json.dumps({"offset": offset, "sha256": sha256, "boot": boot_id}, separators=(",", ":")).encode()
        try:
            if self._descriptor is None:
                path = self._directory.file(MARK)
                self._directory.clear(MARK)
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                os.posix_fallocate(self._descriptor, 0, 2 * _SLOT)
                self._directory.disk.sync_directory(self._directory.path)
            os.lseek(self._descriptor, self._count % 2 * _SLOT, os.SEEK_SET)
            self._directory.disk.write_whole(self._descriptor, mark.ljust(_SLOT - 1) + b"\n")
            self._directory.disk.sync_content(self._descriptor)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
        self._count += 1


def read_marks(directory: RunDirectory) -> list[dict[str, Any]]:
    """The marks of a run that can be read, the furthest first."""
    raw = directory.read(MARK) or b""
    marks = []
    for start in (0, _SLOT):
        try:
            mark = json.loads(raw[start : start + _SLOT])
        except ValueError:
            continue
        if type(mark) is dict and type(mark.get("offset")) is int and {"sha256", "boot"} <= mark.keys():
            marks.append(mark)
    return sorted(marks, key=lambda mark: -mark["offset"])
