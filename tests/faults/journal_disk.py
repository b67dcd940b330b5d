"""A record of what processes do to the files of a directory, and the directory as a power loss would leave it (F07).

``Recorder`` stands between the product and ``os``: every call that changes a file or a name under its root is carried
out and noted. ``image`` builds the directory anew from the first N notes: what was synced is there, of the rest
anything. A name is durable once its directory was synced, content once its file was; a rename is there wholly or not.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = 0  # the id of the root directory


class Note(NamedTuple):
    """One thing that was done. ``what``: write, cut, sync, names, sync_names, or event (which the test adds)."""

    what: str
    target: int = 0  # id of a file or directory
    offset: int = 0
    content: bytes = b""
    names: tuple[tuple[int, str, tuple[bool, int] | None], ...] = ()  # directory, name, (is directory, id) or gone
    event: Any = None


class Recorder:
    """Notes what this process, and nothing else, does under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.notes: list[Note] = []
        self._ids: dict[int, int] = {os.stat(root).st_ino: ROOT}  # inode -> id, which no later file gets again
        self._next = 1
        self._synced_logs: dict[int, int] = {}

    def event(self, event: Any) -> None:
        """Something is the case from here on."""
        self.notes.append(Note("event", event=event))

    # ---- where a call goes to

    def _path(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The absolute path, if it is under the root."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        base = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
        whole = os.path.normpath(os.path.join(base, os.fspath(path)))
        return whole if whole.startswith(self.root + "/") or whole == self.root else None

    def _file(self, descriptor: int) -> int | None:
        """The id of an open file."""
        try:
            return self._ids.get(os.fstat(descriptor).st_ino) if self._path(descriptor) else None
        except OSError:
            return None

    def _new(self, path: str) -> int:
        self._ids[os.lstat(path).st_ino] = number = self._next
        self._next += 1
        return number

    def _id(self, path: str) -> int:
        return self._ids[os.lstat(path).st_ino]

    def _named(self, *changes: tuple[str, tuple[bool, int] | None]) -> None:
        names = tuple((self._id(os.path.dirname(path)), os.path.basename(path), what) for path, what in changes)
        self.notes.append(Note("names", names=names))

    # ---- the calls

    @contextmanager
    def recording(self) -> Iterator[None]:
        """As long as this lasts, calls of ``os`` are noted."""
        calls = [name for name in vars(Recorder) if name.startswith("os_")]
        real = {name: getattr(os, name[3:]) for name in calls}
        try:
            for name in calls:
                setattr(os, name[3:], self._over(name, real[name]))
            yield
        finally:
            for name in calls:
                setattr(os, name[3:], real[name])

    def _over(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        ours = getattr(self, name)
        return lambda *words, **more: ours(real, *words, **more)

    def os_open(self, real: Any, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self._path(path, dir_fd)
        is_new = place is not None and not os.path.lexists(place)
        descriptor: int = real(path, flags, mode, dir_fd=dir_fd)
        if place is not None and flags & os.O_CREAT and is_new:
            self._named((place, (False, self._new(place))))
        elif place is not None and flags & os.O_TRUNC:
            self.notes.append(Note("cut", self._id(place)))
        return descriptor

    def os_write(self, real: Any, descriptor: int, content: Any) -> int:
        number = self._file(descriptor)
        if number is None:
            if bytes(content) == b"g":
                self.event("gate")
            written: int = real(descriptor, content)
            return written
        written = real(descriptor, content)
        offset = os.lseek(descriptor, 0, os.SEEK_CUR) - written
        self.notes.append(Note("write", number, offset, bytes(content)[:written]))
        return written

    def os_pwrite(self, real: Any, descriptor: int, content: Any, offset: int) -> int:
        written: int = real(descriptor, content, offset)
        if (number := self._file(descriptor)) is not None:
            self.notes.append(Note("write", number, offset, bytes(content)[:written]))
        return written

    def os_ftruncate(self, real: Any, descriptor: int, size: int) -> None:
        real(descriptor, size)
        if (number := self._file(descriptor)) is not None:
            self.notes.append(Note("cut", number, size))

    def os_truncate(self, real: Any, path: Any, size: int) -> None:
        real(path, size)
        if (place := self._path(path)) is not None:
            self.notes.append(Note("cut", self._id(place), size))

    def os_posix_fallocate(self, real: Any, descriptor: int, offset: int, size: int) -> None:
        before = os.fstat(descriptor).st_size
        real(descriptor, offset, size)
        if (number := self._file(descriptor)) is not None and offset + size > before:
            self.notes.append(Note("write", number, before, bytes(offset + size - before)))

    def os_fsync(self, real: Any, descriptor: int) -> None:
        real(descriptor)
        if (number := self._file(descriptor)) is None:
            return
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self.notes.append(Note("sync_names" if os.path.isdir(path) else "sync", number))
        folder, name = os.path.split(path)
        if name == "log":
            self._synced_logs[self._id(folder)] = os.fstat(descriptor).st_size
        elif name == "mark":
            self.event(("marked", os.path.basename(folder), self._synced_logs[self._id(folder)]))

    def os_fdatasync(self, real: Any, descriptor: int) -> None:
        self.os_fsync(real, descriptor)

    def os_rename(self, real: Any, old: Any, new: Any) -> None:
        source, target = self._path(old), self._path(new)
        real(old, new)
        if source is not None and target is not None:
            self._named((source, None), (target, (os.path.isdir(target), self._id(target))))

    def os_link(self, real: Any, old: Any, new: Any, **more: Any) -> None:
        real(old, new, **more)
        if (target := self._path(new)) is not None:
            self._named((target, (False, self._id(target))))

    def os_unlink(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        place = self._path(path, dir_fd)
        real(path, dir_fd=dir_fd)
        if place is not None:
            self._named((place, None))

    def os_rmdir(self, real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        self.os_unlink(real, path, dir_fd=dir_fd)

    def os_mkdir(self, real: Any, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        place = self._path(path, dir_fd)
        real(path, mode, dir_fd=dir_fd)
        if place is not None:
            self._named((place, (True, self._new(place))))


# ---- after the power loss


def image(notes: list[Note], place: Path, chance: random.Random | str) -> None:
    """Make ``place`` what the directory may be if the power goes after these notes.

    ``chance``: ``lost`` keeps nothing that was not synced, ``kept`` all of it, ``names`` all names and no content; a
    generator keeps some, in order, and tears the write that was under way.
    """
    contents, folders = _survivors(notes, chance)
    place.mkdir(mode=0o700)
    _build(place, ROOT, contents, folders)


def _build(
    place: Path, folder: int, contents: dict[int, bytes], folders: dict[int, dict[str, tuple[bool, int]]]
) -> None:
    for name, (is_folder, number) in folders.get(folder, {}).items():
        if is_folder:
            (place / name).mkdir(mode=0o700)
            _build(place / name, number, contents, folders)
        else:
            (place / name).write_bytes(contents.get(number, b""))
            (place / name).chmod(0o600)


def _survivors(
    notes: list[Note], chance: random.Random | str
) -> tuple[dict[int, bytes], dict[int, dict[str, tuple[bool, int]]]]:
    durable: dict[int, bytearray] = {}
    folders: dict[int, dict[str, tuple[bool, int]]] = {}
    loose: dict[int, list[Note]] = {}
    loose_names: list[Note] = []
    for note in notes:
        match note.what:
            case "write" | "cut":
                loose.setdefault(note.target, []).append(note)
            case "sync":
                for change in loose.pop(note.target, []):
                    _apply(durable.setdefault(note.target, bytearray()), change)
            case "names":
                loose_names.append(note)
            case "sync_names":
                for change in [one for one in loose_names if any(name[0] == note.target for name in one.names)]:
                    _rename(folders, change)
                    loose_names.remove(change)
    _keep_names(folders, loose_names, chance)
    for number, changes in loose.items():
        _keep_content(durable.setdefault(number, bytearray()), changes, chance)
    return {number: bytes(content) for number, content in durable.items()}, folders


def _keep_names(
    folders: dict[int, dict[str, tuple[bool, int]]], loose: list[Note], chance: random.Random | str
) -> None:
    if chance == "lost":
        return
    touched = {name[0] for note in loose for name in note.names}
    kept = {folder: len(loose) if isinstance(chance, str) else chance.randint(0, len(loose)) for folder in touched}
    for index, note in enumerate(loose):
        if all(index < kept[name[0]] for name in note.names):
            _rename(folders, note)


def _keep_content(content: bytearray, changes: list[Note], chance: random.Random | str) -> None:
    if chance in ("lost", "names"):
        return
    if isinstance(chance, str):
        for change in changes:
            _apply(content, change)
        return
    whole = chance.randint(0, len(changes))
    for change in changes[:whole]:
        _apply(content, change)
    if whole < len(changes) and (torn := changes[whole]).what == "write" and chance.random() < 0.7:
        cut = chance.randint(0, len(torn.content))
        rest = bytes(len(torn.content) - cut) if chance.random() < 0.5 else b""
        _apply(content, torn._replace(content=torn.content[:cut] + rest))


def _apply(content: bytearray, change: Note) -> None:
    if change.what == "cut":
        del content[change.offset :]
        content += bytes(change.offset - len(content))
        return
    content += bytes(max(0, change.offset - len(content)))
    content[change.offset : change.offset + len(change.content)] = change.content


def _rename(folders: dict[int, dict[str, tuple[bool, int]]], note: Note) -> None:
    for folder, name, what in note.names:
        names = folders.setdefault(folder, {})
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what
