"""The few calls by which the worker and its executors make something durable; passed in, so that a test can lose power.

Imports only ``os``: every executor carries this module.
"""

from __future__ import annotations

import os


class StorageTrouble(Exception):
    """The worker's disk is broken so badly that it is not known what is on it: nothing can be promised (F18)."""


class Disk:
    """The disk of the machine. A simulated one overrides these and forgets what was not synced."""

    def write(self, descriptor: int, content: bytes | memoryview) -> int:
        """Write at the file's position (append for a log); answers the bytes written, perhaps fewer. Raises OSError."""
        return os.write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        """Content and size of a file are durable. Raises OSError: then nothing of the file may be trusted (F18)."""
        os.fsync(descriptor)

    def sync_content(self, descriptor: int) -> None:
        """As ``sync``, without times and mode: for the log, which only grows."""
        os.fdatasync(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Put ``old`` in the place of ``new``; durable only after ``sync_directory``."""
        os.rename(old, new)

    def sync_directory(self, path: str) -> None:
        """Names in the directory are durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_whole(self, descriptor: int, content: bytes) -> None:
        """Write all of it. Raises OSError."""
        view = memoryview(content)
        while view:
            view = view[self.write(descriptor, view) :]
