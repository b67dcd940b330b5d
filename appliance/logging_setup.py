"""The appliance's own log: one line a record on stderr, for the journal of the unit."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


LINES_A_MINUTE = 300  # of one kind
_MINUTE = 60.0


class _Flood(logging.Filter):
    """Lets LINES_A_MINUTE of each kind of line through a minute; the last one says that there were more.

    What an attacker can make us say without end would fill the disk of the journal and bury the rest (S-53, I7).
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._minute = -1.0
        self._said: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is said; the last one of its kind tells that more are left out."""
        kind = (record.name, str(record.msg)[:200])
        with self._lock:
            minute = time.monotonic() // _MINUTE
            if minute != self._minute:
                self._minute, self._said = minute, {}
            if len(self._said) >= LINES_A_MINUTE and kind not in self._said:
                kind = ("", "")  # whoever makes up kinds shares one
            count = self._said[kind] = self._said.get(kind, 0) + 1
        if count == LINES_A_MINUTE:
            record.msg, record.args = f"{record.getMessage()} (further lines like this are left out for a minute)", None
        return count <= LINES_A_MINUTE


class _Formatter(logging.Formatter):
    """Level, place and sentence; control characters of what others sent are escaped (S-53)."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the library's name
        """The line without a traceback, which keeps its own lines."""
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", super().formatMessage(record))


def set_up_logging(level: str) -> None:
    """Begin to log, once for the process. ``level``: debug, info, warning or error."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    stream.addFilter(_Flood())
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level.upper())
