"""The disks of the simulator: real files through the product's own seams, under a record of what is durable.

``Platter`` remembers what each file held and each directory named when it was last synced. ``lose_power`` rebuilds the
tree as a machine may find it afterwards: what was synced is there; of the rest anything between nothing and all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

from appliance.db.disk import Disk as LogDisk
from appliance.worker.disk import Disk as JournalDisk


class Died(BaseException):
    """The process that was doing this is gone, in the middle of it. Not an Exception: nobody may catch it."""


class Fuse:
    """Burns at every place where a process may die; when it is lit, it ends at one of them."""

    def __init__(self) -> None:
        self._left: int | None = None

    def light(self, places: int) -> None:
        """Die at the ``places``-th place from now."""
        self._left = places

    def quench(self) -> None:
        """Do not die after all."""
        self._left = None

    @property
    def is_lit(self) -> bool:
        """Whether it burns."""
        return self._left is not None

    def burn(self, place: str) -> None:
        """A place where a process may die. Raises Died."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left = None
                raise Died(place)


Names = dict[str, tuple[int, bool]]  # name -> inode, whether it is a directory


class Platter:
    """What is durable of the files under ``root``."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root = root
        self._rng = rng
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, Names] = {}
        root.mkdir(parents=True, exist_ok=True)
        self.settle()

    def settle(self) -> None:
        """Everything that is there now is durable."""
        self._files, self._folders = self._look()

    def sync_file(self, descriptor: int) -> None:
        """The content of a file is durable."""
        found = os.fstat(descriptor)
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:  # it may be open for writing only
            self._files[found.st_ino] = file.read()

    def sync_folder(self, path: str) -> None:
        """The names in a directory are durable."""
        self._folders[os.stat(path).st_ino] = _names(path)

    def lose_power(self) -> None:
        """What the machine finds when it is up again."""
        files, folders = self._look()
        root = os.stat(self.root).st_ino
        new = self.root.with_name(self.root.name + ".new")
        self._build(new, root, files, folders)
        shutil.rmtree(self.root)
        new.rename(self.root)
        self.settle()

    def durable(self, path: str) -> bytes:
        """What a file is sure to hold after a power loss."""
        return self._files.get(os.stat(self.root / path).st_ino, b"")

    def erase(self) -> None:
        """Nothing is left."""
        shutil.rmtree(self.root)

    def _build(self, path: Path, folder: int, files: dict[int, bytes], folders: dict[int, Names]) -> None:
        path.mkdir(mode=0o700)
        choices = [self._folders.get(folder, {}), folders.get(folder, self._folders.get(folder, {}))]
        for name, (inode, is_folder) in self._rng.choice(choices).items():
            if is_folder:
                self._build(path / name, inode, files, folders)
            else:
                (path / name).write_bytes(self._content(self._files.get(inode), files.get(inode)))

    def _content(self, durable: bytes | None, current: bytes | None) -> bytes:
        """A file after a power loss: as synced, as it was, or torn between."""
        if current is None:
            return durable or b""
        before = durable or b""
        if durable is not None and not current.startswith(durable):
            return self._rng.choice((durable, current))
        cut = self._rng.randint(len(before), len(current))
        return self._rng.choice((before, current, current[:cut], current[:cut] + bytes(len(current) - cut)))

    def _look(self) -> tuple[dict[int, bytes], dict[int, Names]]:
        files: dict[int, bytes] = {}
        folders: dict[int, Names] = {}
        for at, _, names in os.walk(self.root):
            folders[os.stat(at).st_ino] = _names(at)
            for name in names:
                path = os.path.join(at, name)
                files[os.stat(path).st_ino] = Path(path).read_bytes()
        return files, folders


def _names(path: str) -> Names:
    with os.scandir(path) as entries:
        return {one.name: (one.inode(), one.is_dir()) for one in sorted(entries, key=lambda one: one.name)}


def close_under(path: Path) -> None:
    """Close every descriptor on a file under ``path``, as the death of a process does."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(f"{path}/"):
                os.close(int(name))


def _has_room(descriptor: int, size: int) -> bool:
    """Whether the place was allocated before, as for the exit record."""
    return os.lseek(descriptor, 0, os.SEEK_CUR) + size <= os.fstat(descriptor).st_size


class SimJournalDisk(JournalDisk):
    """The worker's seam over a platter. Each process on the machine has one, with a fuse of its own."""

    def __init__(self, platter: Platter, fuse: Fuse) -> None:
        self._platter = platter
        self._fuse = fuse
        self.is_full = False

    def write(self, descriptor: int, content: bytes | memoryview) -> int:
        """See the seam."""
        self._fuse.burn("write")
        if self.is_full and not _has_room(descriptor, len(content)):
            raise OSError(errno.ENOSPC, "the simulated disk is full")
        return super().write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        """See the seam."""
        self._fuse.burn("before sync")
        self._platter.sync_file(descriptor)
        self._fuse.burn("after sync")

    def sync_content(self, descriptor: int) -> None:
        """See the seam."""
        self.sync(descriptor)

    def rename(self, old: str, new: str) -> None:
        """See the seam."""
        self._fuse.burn("before rename")
        super().rename(old, new)
        self._fuse.burn("after rename")

    def sync_directory(self, path: str) -> None:
        """See the seam."""
        self._fuse.burn("before sync of a directory")
        self._platter.sync_folder(path)
        self._fuse.burn("after sync of a directory")


class SimLogDisk(LogDisk):
    """The seam of the master's log files over a platter."""

    def __init__(self, platter: Platter, fuse: Fuse) -> None:
        self._platter = platter
        self._fuse = fuse
        self.is_full = False

    def write(self, file: int, data: memoryview, offset: int) -> int:
        """See the seam."""
        self._fuse.burn("write of a log")
        if self.is_full:
            raise OSError(errno.ENOSPC, "the simulated disk is full")
        return super().write(file, data, offset)

    def sync(self, file: int) -> None:
        """See the seam."""
        self._fuse.burn("before sync of a log")
        self._platter.sync_file(file)
        self._fuse.burn("after sync of a log")

    def sync_directory(self, path: Path) -> None:
        """See the seam."""
        self._platter.sync_folder(str(path))
