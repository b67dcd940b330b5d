"""Disks that fail, below the real connection: an apsw VFS that loses power, fills up or breaks when told to."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import apsw

Operation = tuple[Any, ...]  # (file, "write", offset, bytes) | (file, "cut", size) | (file, "sync") | (file, "gone")


class Disk(apsw.VFS):
    """Passes everything on, tells ``before`` of each change before it happens and notes it afterwards."""

    def __init__(self, name: str, before: Callable[[str], None] = lambda _kind: None) -> None:
        super().__init__(name, "")
        self.name = name
        self.before = before
        self.done: list[Operation] = []
        self.keeps = True  # whether what was done is noted

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        self.done.append((Path(name).name, "gone"))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.name = Path(path).name if path else None  # None: a temporary file, lost anyway
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        self.disk.before("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.before("write")
        super().xWrite(data, offset)
        if self.name and self.disk.keeps:
            self.disk.done.append((self.name, "write", offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self.disk.before("cut")
        super().xTruncate(size)
        if self.name and self.disk.keeps:
            self.disk.done.append((self.name, "cut", size))

    def xSync(self, flags: int) -> None:
        self.disk.before("sync")
        super().xSync(flags)
        if self.name and self.disk.keeps:
            self.disk.done.append((self.name, "sync"))


def image(done: list[Operation], chance: random.Random, directory: Path) -> None:
    """Write the files as they may stand after the power went: what was synced is whole, the rest kept, lost or torn."""
    files: dict[str, bytearray] = {}
    unsynced: dict[str, list[Operation]] = {}
    for operation in done:
        name, kind = operation[:2]
        if kind == "gone":
            files.pop(name, None)
            unsynced.pop(name, None)
        elif kind == "sync":
            for earlier in unsynced.pop(name, []):
                _change(files.setdefault(name, bytearray()), earlier)
        else:
            unsynced.setdefault(name, []).append(operation)
    for name, operations in unsynced.items():
        content = files.setdefault(name, bytearray())
        for operation in operations:
            if chance.random() >= chance.choice((0, 0.5, 0.9, 1)):
                continue
            if operation[1] == "write" and chance.random() < 0.3:
                kept = chance.randrange(0, len(operation[3]) + 1, 512) if len(operation[3]) > 512 else 0
                operation = (name, "write", operation[2], operation[3][:kept])
            _change(content, operation)
    for name, content in files.items():
        if not name.endswith("-shm"):
            (directory / name).write_bytes(content)


def _change(content: bytearray, operation: Operation) -> None:
    if operation[1] == "cut":
        del content[operation[2] :]
        return
    offset, data = operation[2:]
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Breaker:
    """Raises an error at operation number ``at``, once or from then on, but only while it is armed."""

    def __init__(self, at: int, error: type[apsw.Error], is_lasting: bool, kinds: Collection[str] = ()) -> None:
        """``kinds``: of operations that are counted; if not given, those that can meet such an error."""
        self.kinds = kinds or (("write", "cut") if error is apsw.FullError else ("write", "cut", "sync"))
        self.left = at
        self.error = error
        self.is_lasting = is_lasting
        self.is_armed = False
        self.has_struck = False

    def __call__(self, kind: str) -> None:
        if not self.is_armed or kind not in self.kinds:
            return
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.is_lasting):
            self.has_struck = True
            raise self.error("as told")
