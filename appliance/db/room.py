"""Room on the disk of the data directory, and the reserve that is given up when there is none left (F16).

A file called ``reserve`` takes 64 MiB, or an eighth of the file system if that is less. The first write that finds the
disk full gives it up: what is in flight can then end, while nothing new is begun. Up to a half of it may go to output
of runs, so that the database is never stopped by it. When enough has been freed it is taken again, and all goes on.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from datetime import datetime
from pathlib import Path

from appliance.clock import Clock
from appliance.db.disk import Disk
from appliance.model.errors import Full
from appliance.model.times import show_time

_log = logging.getLogger(__name__)

FILE = "reserve"
RESERVE = 64 << 20  # bytes
SHARE = 8  # at most this part of the file system is set aside
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
RETRY_AFTER = 10.0  # seconds


class Room:
    """Whether there is room. Every method may be called from any thread.

    ``look`` must be called every few seconds; it alone finds that there is room again, and notices that the disk has
    become nearly full (a quarter of the reserve is left beside it) before a write does.
    """

    def __init__(self, directory: Path, clock: Clock, disk: Disk | None = None) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._clock = clock
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._since: datetime | None = None

    @property
    def full_since(self) -> datetime | None:
        """Since when there is no room; None = there is."""
        return self._since

    def look(self) -> bool:
        """Take or give up the reserve, as the disk is now. Answers whether there is room.

        Raises OSError for every trouble but a full disk.
        """
        with self._lock:
            free, wanted = self._measure()
            held = self._held()
            if held >= wanted:
                if self._since is None and free < wanted // 4:
                    self._begin()
                elif self._since is not None:
                    self._end()
            elif free < (wanted - held) + wanted // (4 if self._since is None else 2) or not self._take(wanted):
                if self._since is None:
                    self._begin()
            elif self._since is not None:
                self._end()
            return self._since is None

    def used_up(self) -> bool:
        """A write has just found the disk full: give up the reserve. Answers whether it is worth another try."""
        with self._lock:
            is_held = self._held() > 0
            if self._since is None:
                self._begin()
            elif is_held:
                self._give_up()
            return is_held

    def admit(self) -> None:
        """Something new is about to begin. Raises Full while there is no room."""
        if self._since is not None:
            raise self.refusal()

    def admit_output(self) -> None:
        """Output of a run is about to be stored. Raises Full when a half of the reserve is all that is left."""
        if self._since is not None:
            free, wanted = self._measure()
            if free < wanted // 2:
                raise self.refusal()

    def refusal(self) -> Full:
        """The error for whoever wants room now."""
        state = "is full" if self._since is None else f"has been full since {show_time(self._since)}"
        return Full(
            f"the server's disk {state}; free some space there, and it goes on by itself",
            retry_after=RETRY_AFTER,
        )

    # ---- with the lock held

    def _measure(self) -> tuple[int, int]:
        """Bytes that are free now, and those that the reserve should have."""
        free, total = self._disk.space(self._directory)
        return free, min(RESERVE, total // SHARE)

    def _held(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _take(self, size: int) -> bool:
        """Fill the reserve; False when there is too little space for it after all, as with a quota."""
        try:
            file = self._disk.open(self._path)
        except OSError as error:
            if error.errno in FULL:
                return False
            raise
        try:
            self._disk.allocate(file, size)
        except OSError as error:
            self._disk.truncate(file, 0)
            if error.errno not in FULL:
                raise
            return False
        finally:
            os.close(file)
        return True

    def _give_up(self) -> None:
        if self._held():
            file = self._disk.open(self._path)
            try:
                self._disk.truncate(file, 0)
            finally:
                os.close(file)

    def _begin(self) -> None:
        self._since = self._clock.now()
        self._give_up()
        _log.warning("the disk of %s is full: nothing new is begun until some space is freed", self._directory)

    def _end(self) -> None:
        _log.info(
            "the disk of %s has room again; it was full since %s",
            self._directory,
            self._since and show_time(self._since),
        )
        self._since = None
