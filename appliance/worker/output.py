"""Stream 0 of a run, its log: the bytes that commands wrote, as they wrote them (reliability.md 5.4, 5.5, F17, F29).

No lines, no characters: a chunk is written, added to the digest, and forgotten.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

from appliance.worker.disk import Disk
from appliance.worker.marks import Marks
from appliance.worker.notes import NO_SPACE
from appliance.worker.rundir import LOG, TAIL, RunDirectory

SYNC_EVERY = 5.0  # seconds
SYNC_BYTES = 16 << 20  # at full speed some ten syncs a second; each is two waits for the disk
TAIL_MOST = 64 << 20  # bytes held back at the end of an output over the limit
REMARKS = 10  # sentences about gaps in an exit record; the notes name them all
RETRY_EVERY = 1.0  # seconds between two tries on a full disk

Tell = Callable[..., None]  # Notes.add


class Output:
    """Writes the log of one run: head as it comes, and beyond the limit the last part, held in a ring file (L4)."""

    def __init__(self, directory: RunDirectory, limit: int, boot_id: str, tell: Tell) -> None:
        """``limit``: bytes of the log. ``tell`` gets the notes ``cut`` and ``gap``."""
        self._directory = directory
        self._disk: Disk = directory.disk
        self.descriptor = os.open(
            directory.file(LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._digest = hashlib.sha256()
        self._boot_id = boot_id
        self._marks = Marks(directory)
        self._tell = tell
        self._tail_size = min(TAIL_MOST, limit // 2)
        self._head_size = limit - self._tail_size
        self._ring: int | None = None
        self._held = 0  # bytes that went to the ring, ever
        self._synced = 0
        self._sync_at: float | None = None  # monotonic; None: nothing unsynced
        self._gap = 0  # bytes lost since the disk is full
        self._retry_at = 0.0
        self._has_lost = False
        self.size = 0
        self.remarks: list[str] = []  # sentences for the exit record

    @property
    def sync_at(self) -> float | None:
        """When ``sync`` is due (monotonic), or None."""
        return self._sync_at

    def write(self, chunk: bytes) -> None:
        """Take a chunk. A full disk loses it, noted; the job goes on. Raises OSError for a broken disk (F18)."""
        room = self._head_size - self.size
        if room >= len(chunk):
            self._append(chunk)
        else:
            if room > 0:
                self._append(chunk[:room])
            self._hold(chunk[max(room, 0) :])
        if self.size - self._synced >= SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        """The log so far is durable, and the mark says so. Raises OSError (F18)."""
        self._disk.sync_content(self.descriptor)
        self._synced = self.size
        self._sync_at = None
        self._marks.add(self.size, self.digest(), self._boot_id)

    def finish(self) -> None:
        """No more output comes: add what was held back, and make all durable. Raises OSError (F18)."""
        self._retry_at = 0.0
        if self._ring is not None:
            self._release(self._ring)
        self._close_gap()
        if self.size > self._synced:
            self._disk.sync_content(self.descriptor)
            self._synced = self.size
        self._sync_at = None

    @property
    def is_incomplete(self) -> bool:
        """A full disk has lost output (F17)."""
        return self._has_lost

    def digest(self) -> str:
        """SHA-256 (hex) of the log."""
        return self._digest.hexdigest()

    # ---- the head

    def _append(self, chunk: bytes) -> None:
        if self._gap and time.monotonic() < self._retry_at:
            self._gap += len(chunk)
            return
        written = 0
        try:
            while written < len(chunk):
                rest = chunk if written == 0 else chunk[written:]
                written += self._disk.write(self.descriptor, rest)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            if self._gap and written:
                self._close_gap()
            self._count(chunk[:written])
            self._has_lost = True
            if not self._gap and len(self.remarks) < REMARKS:
                self.remarks.append(f"the disk of the worker was full: output is incomplete from byte {self.size}")
            self._gap += len(chunk) - written
            self._retry_at = time.monotonic() + RETRY_EVERY
            return
        self._close_gap()
        self._count(chunk)

    def _count(self, written: bytes) -> None:
        if written:
            self._digest.update(written)
            self.size += len(written)
            if self._sync_at is None:
                self._sync_at = time.monotonic() + SYNC_EVERY

    def _close_gap(self) -> None:
        if self._gap:
            lost, self._gap = self._gap, 0
            self._tell("gap", offset=self.size, dropped=lost)

    # ---- beyond the limit

    def _hold(self, chunk: bytes) -> None:
        if self._ring is None:
            self._ring = self._open_ring()
        if self._tail_size == 0:
            self._held += len(chunk)
            return
        view = memoryview(chunk)
        if len(view) > self._tail_size:
            skipped = len(view) - self._tail_size
            self._held += skipped
            view = view[skipped:]
        while view:
            at = self._held % self._tail_size
            written = os.pwrite(self._ring, view[: self._tail_size - at], at)
            self._held += written
            view = view[written:]

    def _open_ring(self) -> int:
        """The ring file with its space allocated, so that it cannot fail later; without the space no tail is kept."""
        path = self._directory.file(TAIL)
        ring = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if self._tail_size:
                os.posix_fallocate(ring, 0, self._tail_size)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            os.ftruncate(ring, 0)
            self._tail_size = 0
        return ring

    def _release(self, ring: int) -> None:
        """Append the ring, oldest byte first. What it overwrote is the cut."""
        kept = min(self._held, self._tail_size)
        if dropped := self._held - kept:
            self._tell("cut", offset=self.size, dropped=dropped)
            self.remarks.append(f"output over the limit: {dropped} bytes were cut at byte {self.size}")
        first = self._held % kept if dropped and kept else 0
        for start, stop in ((first, kept), (0, first)):
            while start < stop:
                chunk = os.pread(ring, min(65_536, stop - start), start)
                if not chunk:
                    raise OSError(f"the file {TAIL} of the run is shorter than written")
                self._append(chunk)
                start += len(chunk)
        os.close(ring)
        self._ring = None
        os.unlink(self._directory.file(TAIL))
