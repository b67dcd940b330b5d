"""What a failed call to the disk means for whoever asked for it (F16, F18)."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable

from appliance.db.room import FULL, Room
from appliance.model.errors import Full, Unavailable

_log = logging.getLogger(__name__)

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})  # only an open says so, never the sync behind it (F44)
_PASSING = _NO_DESCRIPTORS | {errno.ENOMEM}


class DiskErrors:
    """Turns an OSError into ours: a full disk passes, everything else while writing ends all writing (F18).

    ``on_fatal`` is called once, with the error that did so. ``room`` gives up its reserve when the disk is full.
    """

    def __init__(self, on_fatal: Callable[[OSError], None] | None, room: Room | None) -> None:
        self._on_fatal = on_fatal
        self._room = room
        self._lock = threading.Lock()
        self.fatal: OSError | None = None

    def refuse_if_fatal(self) -> None:
        """Raises Unavailable once nothing may be written any more."""
        if self.fatal is not None:
            raise Unavailable(f"storage error, the server must be restarted: {self.fatal}") from self.fatal

    def of_reading(self, error: OSError) -> Unavailable:
        """A call that only reads has failed."""
        _log.error("a log cannot be read: %s", error)
        return Unavailable("the server's disk cannot be read now; try again, or look at its log")

    def of_writing(self, error: OSError, *, is_sync: bool = False) -> Unavailable:
        """A call that changes the disk has failed.

        A sync that failed is never tried again, for whatever reason: the kernel may have dropped the bytes.
        """
        if error.errno in FULL and not is_sync:
            if self._room is None:
                return Full("no space is left on the server's disk; free some, or delete old runs")
            self._room.used_up()
            return self._room.refusal()
        if error.errno in _NO_DESCRIPTORS or (error.errno in _PASSING and not is_sync):
            return Unavailable("the server is out of file descriptors or memory; try again")
        with self._lock:
            is_first = self.fatal is None
            self.fatal = self.fatal or error
        if is_first:
            _log.critical("storage error in the log files: %s", error)
            if self._on_fatal:
                self._on_fatal(error)
        return Unavailable(f"storage error, the server must be restarted: {error}")
