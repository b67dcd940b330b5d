"""The few calls by which log files reach the disk: a seam, so that a test can let it fill up, fail or forget."""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """The disk of the machine. All errors are OSError, as the kernel gave them."""

    def open(self, path: Path) -> int:
        """A descriptor to read and write; the file is made 0600 and its missing directories 0700 (S-55)."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            for directory in (path.parent.parent, path.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)

    def write(self, file: int, data: memoryview, offset: int) -> int:
        """Write some of ``data`` at ``offset``; answers how many bytes."""
        return os.pwrite(file, data, offset)

    def truncate(self, file: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(file, size)

    def allocate(self, file: int, size: int) -> None:
        """Make the file at least so long, with space that is really its own."""
        os.posix_fallocate(file, 0, size)

    def space(self, directory: Path) -> tuple[int, int]:
        """Bytes free for us on the file system of a directory, and bytes it has in all."""
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def sync(self, file: int) -> None:
        """Return when bytes and size of the file are durable."""
        os.fdatasync(file)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are durable."""
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
