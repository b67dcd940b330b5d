"""One stream of one run on the master's disk: what is known of its file."""

from __future__ import annotations

import hashlib
import threading
import zlib
from pathlib import Path
from typing import Self


class StreamFile:
    """One file: its size and digests so far. Its lock guards all of it, the descriptor included."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.file: int | None = None
        self.is_read = False  # size and digests are known
        self.is_dirty = False  # bytes were written since the last sync
        self.has_name = False  # its directory entries are durable
        self.restart_digest()

    def __enter__(self) -> Self:
        """Only once its lock is taken."""
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def restart_digest(self) -> None:
        """Begin to count anew."""
        self.size = 0
        self.crc32 = 0
        self.unsynced = 0  # bytes written since the last sync
        self.sha256 = hashlib.sha256()

    def count(self, data: bytes | memoryview) -> None:
        """Take in bytes that follow those known."""
        self.size += len(data)
        self.unsynced += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.sha256.update(data)
