"""The log files on the master: raw bytes at byte offsets, append only (reliability.md 5.5, decision 6).

``DIRECTORY/<aa>/<uuid>/<stream>.log``, names made from the run's UUID alone. The order that I4 asks for is the
caller's: ``append`` … ``sync``, then the transaction that stores what ``sync`` answered.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from appliance.db.disk import Disk
from appliance.db.disk_errors import DiskErrors
from appliance.db.room import Room
from appliance.db.stream_file import StreamFile
from appliance.model.entities import StreamRecord
from appliance.model.errors import ApplianceError, Full

_log = logging.getLogger(__name__)

OPEN_FILES = 256
SYNC_BYTES = 16 << 20
REMEMBERED = 8192  # streams whose digest so far is kept, open or not; an older one is read again
_PIECE = 1 << 20


class Gap(ApplianceError):
    """Bytes came for an offset beyond the end of the stream. ``size`` is where to go on."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the stream has {size} bytes; send from there")
        self.size = size


class LogStore:
    """All streams of all runs. Every method may be called from any thread; streams do not wait for each other.

    ``boot_id`` is the kernel's. After a disk error other than a full disk nothing is written any more (F18): every
    later ``append`` and ``sync`` raises Unavailable, and ``on_fatal`` is called once with the OSError. ``room`` decides
    whether there is any for output, and gives up its reserve when a write finds none (F16).
    """

    def __init__(
        self,
        directory: Path,
        boot_id: str,
        *,
        disk: Disk | None = None,
        on_fatal: Callable[[OSError], None] | None = None,
        room: Room | None = None,
    ) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._disk = disk or Disk()
        self._errors = DiskErrors(on_fatal, room)
        self._room = room
        self._lock = threading.Lock()
        self._streams: OrderedDict[tuple[str, int], StreamFile] = OrderedDict()
        self._open: OrderedDict[tuple[str, int], StreamFile] = OrderedDict()
        self._named: OrderedDict[Path, None] = OrderedDict()  # directories whose own name is durable
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def append(self, run_id: str, stream: int, offset: int, data: bytes | memoryview) -> int:
        """Add bytes that stand at ``offset`` of the stream; answers its new size.

        What is there already is dropped unread (F13). Raises Gap beyond the end and Full when no space is left;
        then the stream is as before.
        """
        with self._held(run_id, stream) as one:
            self._read(one)
            if offset > one.size:
                raise Gap(one.size)
            fresh = memoryview(data)[one.size - offset :]
            if fresh:
                if self._room is not None:
                    self._room.admit_output()
                self._write(self._opened((run_id, stream), one), one, fresh)
            return one.size

    def size(self, run_id: str, stream: int) -> int:
        """Bytes there are of the stream; 0 for one that never began."""
        if (run_id, stream) not in self._streams:  # which most streams never are
            return _size(self._path(run_id, stream))
        with self._held(run_id, stream) as one:
            return one.size if one.is_read else _size(one.path)

    def read(self, run_id: str, stream: int, offset: int, limit: int) -> bytes:
        """Up to ``limit`` bytes from ``offset``; fewer only at the end, none past it."""
        with self._held(run_id, stream) as one:
            end = one.size if one.is_read else _size(one.path)
        if offset < 0 or limit <= 0 or offset >= end:
            return b""
        wanted = min(limit, end - offset)
        parts = []
        try:
            with one.path.open("rb", buffering=0) as file:
                while wanted and (part := os.pread(file.fileno(), wanted, offset)):
                    parts.append(part)
                    offset += len(part)
                    wanted -= len(part)
        except OSError as error:
            raise self._errors.of_reading(error) from error
        return b"".join(parts)

    def open_file(self, run_id: str, stream: int) -> BinaryIO:
        """The stream as a file to read, for downloads (decision 12); it may grow. One that never began is empty."""
        try:
            return self._path(run_id, stream).open("rb")
        except FileNotFoundError:
            return io.BytesIO()
        except OSError as error:
            raise self._errors.of_reading(error) from error

    def sync(self, run_id: str, stream: int) -> StreamRecord:
        """Make all bytes of a stream durable; answers what is now durable, for the table ``stream``."""
        return self.sync_run(run_id, (stream,))[0]

    def sync_run(self, run_id: str, streams: Iterable[int]) -> list[StreamRecord]:
        """The same for several streams of a run, in order of their numbers, with few calls to the disk."""
        with ExitStack() as held:
            ones = [(stream, held.enter_context(self._held(run_id, stream))) for stream in sorted(streams)]
            for _, one in ones:
                self._read(one)
            self._sync([one for _, one in ones])
            return [
                StreamRecord(
                    run_id=run_id,
                    stream=stream,
                    size=one.size,
                    crc32=one.crc32,
                    boot_id=self._boot_id,
                    sha256=one.sha256.hexdigest(),
                )
                for stream, one in ones
            ]

    def restart(self, run_id: str, stream: int) -> None:
        """Empty the stream: it is sent again from 0 because digests differed (F39)."""
        with self._held(run_id, stream) as one:
            if one.path.exists():
                self._cut((run_id, stream), one, 0)
            one.restart_digest()
            one.is_read = True

    def close_run(self, run_id: str) -> None:
        """Let go of the descriptors of a run that has ended."""
        with self._lock:
            ended = [key for key in self._streams if key[0] == run_id]
            streams = [self._streams.pop(key) for key in ended]
            for key in ended:
                self._open.pop(key, None)
        for one in streams:
            with one.lock:
                self._close(one)

    def close(self) -> None:
        """Make everything durable and close all files."""
        with self._lock:
            runs = {run_id for run_id, _ in self._streams}
        for run_id in runs:
            self.close_run(run_id)

    def recover(self, records: Iterable[StreamRecord], live: Iterable[str] = ()) -> list[str]:
        """At start, before any worker speaks: believe only what a crash cannot have spoiled.

        After a crash of the process (same boot id) the size of a file is trusted. After a power loss a stream is cut to
        its durable size, or to nothing if its checksum differs or, for the runs in ``live``, it has no record at all:
        the worker has the bytes and sends them again. Answers a sentence for each stream that was damaged.
        """
        damaged = []
        known = set()
        for record in records:
            known.add((record.run_id, record.stream))
            if record.boot_id != self._boot_id and (sentence := self._check(record)):
                damaged.append(sentence)
        if self._was_rebooted():
            for run_id in live:
                for stream in self._files(run_id):
                    if (run_id, stream) not in known:
                        self.restart(run_id, stream)
        self._note_boot()
        for sentence in damaged:
            _log.error("%s", sentence)
        return damaged

    def _check(self, record: StreamRecord) -> str | None:
        """Cut one stream to what is durable; answers what was wrong with it."""
        key = (record.run_id, record.stream)
        with self._held(*key) as one:
            found = _size(one.path)
            if found > record.size:
                self._cut(key, one, record.size)
            one.is_read = False
            self._read(one)
            if (one.size, one.crc32) == (record.size, record.crc32):
                return None
            if one.size:
                self._cut(key, one, 0)
            one.restart_digest()
        return (
            f"stream {record.stream} of run {record.run_id} was damaged by a power loss: {found} bytes found, "
            f"{record.size} were durable; it starts again from 0"
        )

    def _was_rebooted(self) -> bool:
        try:
            return (self._directory / "boot").read_text() != self._boot_id
        except FileNotFoundError:
            return True

    def _note_boot(self) -> None:
        try:
            self._write_boot()
        except OSError as error:
            meaning = self._errors.of_writing(error)
            if not isinstance(meaning, Full):
                raise meaning from error
            self._write_boot()  # the reserve was given up for it

    def _write_boot(self) -> None:
        new = self._directory / "boot.new"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, self._boot_id.encode())
            self._disk.sync(file)
        finally:
            os.close(file)
        new.rename(self._directory / "boot")
        self._disk.sync_directory(self._directory)

    def _files(self, run_id: str) -> list[int]:
        folder = self._path(run_id, 0).parent
        return [int(one.stem) for one in folder.glob("*.log")] if folder.exists() else []

    def _path(self, run_id: str, stream: int) -> Path:
        name = str(uuid.UUID(run_id))  # nothing but a UUID ever becomes a path
        return self._directory / name[:2] / name / f"{stream:d}.log"

    def _held(self, run_id: str, stream: int) -> StreamFile:
        """The stream, locked until the end of its ``with``; never one that was forgotten while we waited for that."""
        while True:
            one = self._stream(run_id, stream)
            one.lock.acquire()
            if self._streams.get((run_id, stream)) is one:
                return one
            one.lock.release()

    def _stream(self, run_id: str, stream: int) -> StreamFile:
        key = (run_id, stream)
        with self._lock:
            one = self._streams.get(key)
            if one is None:
                one = self._streams[key] = StreamFile(self._path(run_id, stream))
                if len(self._streams) > REMEMBERED:
                    self._forget_oldest()
            else:
                self._streams.move_to_end(key)
            return one

    def _forget_oldest(self) -> None:
        """Drop the digest of a stream that is not open and not in use; with ``_lock`` held."""
        for key, one in self._streams.items():
            if key not in self._open and one.lock.acquire(blocking=False):
                one.lock.release()
                del self._streams[key]
                return

    def _read(self, one: StreamFile) -> None:
        """Learn size and digests from the file, once."""
        if one.is_read:
            return
        one.restart_digest()
        try:
            with one.path.open("rb", buffering=0) as file:
                while piece := file.read(_PIECE):
                    one.count(piece)
        except FileNotFoundError:
            pass  # a stream that never began
        except OSError as error:
            raise self._errors.of_reading(error) from error
        else:
            one.is_dirty = True  # nobody knows whether an earlier life synced it
        one.is_read = True

    def _opened(self, key: tuple[str, int], one: StreamFile) -> int:
        """The descriptor; with the stream's lock held. Closes the one used longest ago if there are too many."""
        self._errors.refuse_if_fatal()
        with self._lock:
            self._open[key] = one
            self._open.move_to_end(key)
            oldest = next(iter(self._open.items())) if len(self._open) > OPEN_FILES else None
            if oldest and oldest[1] is not one and oldest[1].lock.acquire(blocking=False):
                del self._open[oldest[0]]
            else:
                oldest = None  # in use just now: the next one to open a file will try again
        if oldest:
            try:
                self._close(oldest[1])
            finally:
                oldest[1].lock.release()
        if one.file is None:
            try:
                one.file = self._disk.open(one.path)
            except OSError as error:
                raise self._errors.of_writing(error) from error
        return one.file

    def _write(self, file: int, one: StreamFile, data: memoryview) -> None:
        offset = one.size
        rest = data
        try:
            while rest:
                written = self._disk.write(file, rest, offset)
                offset += written
                rest = rest[written:]
        except OSError as error:
            refusal = self._errors.of_writing(error)
            try:
                self._disk.truncate(file, one.size)  # nothing half counted
            except OSError as second:
                refusal = self._errors.of_writing(second)
            raise refusal from error
        one.count(data)
        one.is_dirty = True
        if one.unsynced >= SYNC_BYTES:  # little by little, so that the end of a run does not wait for all of it
            try:
                self._disk.sync(file)
            except OSError as error:
                raise self._errors.of_writing(error, is_sync=True) from error
            one.unsynced = 0

    def _cut(self, key: tuple[str, int], one: StreamFile, size: int) -> None:
        file = self._opened(key, one)
        try:
            self._disk.truncate(file, size)
        except OSError as error:
            raise self._errors.of_writing(error) from error
        one.is_dirty = True

    def _sync(self, ones: Iterable[StreamFile]) -> None:
        """Make streams of one run durable: their bytes, then their names, each directory once."""
        dirty = [one for one in ones if one.is_dirty]
        if not dirty:
            return
        self._errors.refuse_if_fatal()
        try:
            for one in dirty:
                if one.file is not None:
                    self._disk.sync(one.file)
                else:
                    file = self._disk.open(one.path)
                    try:
                        self._disk.sync(file)
                    finally:
                        os.close(file)
            unnamed = [one for one in dirty if not one.has_name]
            if unnamed:
                self._sync_names(unnamed[0].path.parent)
            for one in dirty:
                one.has_name, one.is_dirty, one.unsynced = True, False, 0
        except OSError as error:
            raise self._errors.of_writing(error, is_sync=True) from error

    def _sync_names(self, folder: Path) -> None:
        """Make the files in a run's folder findable after a power loss, and the way to it."""
        self._disk.sync_directory(folder)
        if folder not in self._named:
            self._disk.sync_directory(folder.parent)
            if folder.parent not in self._named:  # one of 256
                self._disk.sync_directory(self._directory)
                self._named[folder.parent] = None
            self._named[folder] = None
            while len(self._named) > REMEMBERED:
                self._named.popitem(last=False)

    def _close(self, one: StreamFile) -> None:
        """Close the descriptor, not before its bytes are durable: a later sync could miss a write error."""
        if one.file is None:
            return
        try:
            if self._errors.fatal is None:
                self._sync((one,))
        finally:
            os.close(one.file)
            one.file = None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
