"""The appliance's own log: one line a record on stderr, for the journal of the unit."""

from __future__ import annotations

import logging
import re
import sys

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _Formatter(logging.Formatter):
    """Level, place and sentence; control characters of what others sent are escaped (S-53)."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the library's name
        """The line without a traceback, which keeps its own lines."""
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", super().formatMessage(record))


def set_up_logging(level: str) -> None:
    """Begin to log, once for the process. ``level``: debug, info, warning or error."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level.upper())
