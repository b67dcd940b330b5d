"""Reading a job's results file without trusting it (F38, J32): it may be anything, and may change under our hands."""

from __future__ import annotations

import errno
import os
import stat

from appliance.model.documents import canonical, nesting, strict_json
from appliance.model.errors import Invalid

LIMIT = 8 << 20  # bytes
DEPTH = 15  # levels: one less than a message may have, which carries it
SHOWN = 200  # first bytes of a bad file that are kept


class BadResults(Exception):
    """The file is no results file. ``text``: its first 200 bytes, for people; ``key``: which state of it."""

    def __init__(self, reason: str, text: str, key: tuple[int, ...]) -> None:
        super().__init__(reason)
        self.text = text
        self.key = key


class ResultsFile:
    """The file that a job may write its results to, at any time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._bad: BadResults | None = None

    def read(self) -> bytes | None:
        """The results as canonical JSON (an object), or None: no file, or as it was when last read well.

        Raises BadResults; never waits, never follows a link, never reads more than LIMIT. While the job goes on, a bad
        file may be one that is being written.
        """
        try:
            found = os.lstat(self._path)
        except OSError:
            return None  # not there, or its directory is gone
        key = _key(found)
        if key == self._seen:
            return None
        if self._bad is not None and key == self._bad.key:
            raise self._bad  # as it was: not read again each second
        try:
            value = self._load(found, key)
        except BadResults as bad:
            self._bad = bad
            raise
        self._seen = key
        return value

    def _load(self, found: os.stat_result, key: tuple[int, ...]) -> bytes:
        if not stat.S_ISREG(found.st_mode):
            raise BadResults("it is not a regular file", "", key)
        if found.st_size > LIMIT:
            raise BadResults(f"it has {found.st_size} bytes, and {LIMIT} are allowed", self._first(), key)
        raw = self._open_and_read(LIMIT + 1, key)
        try:
            value = strict_json(raw, LIMIT)
            text = canonical(value) if type(value) is dict else None
        except Invalid as error:
            raise BadResults(str(error), _shown(raw), key) from None
        if nesting(raw.decode()) > DEPTH:
            raise BadResults(f"it is nested deeper than {DEPTH} levels", _shown(raw), key)
        if text is None:
            raise BadResults("it is not a JSON object", _shown(raw), key)
        return text.encode()

    def _open_and_read(self, limit: int, key: tuple[int, ...]) -> bytes:
        """Opened without following or blocking: since the look it may have become a link or a FIFO."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            reason = "it is a link" if error.errno == errno.ELOOP else f"it cannot be read: {error.strerror}"
            raise BadResults(reason, "", key) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadResults("it is not a regular file", "", key)
            parts = []
            while limit > 0 and (part := os.read(descriptor, min(limit, 1 << 20))):
                parts.append(part)
                limit -= len(part)
            return b"".join(parts)
        except OSError as error:
            raise BadResults(f"it cannot be read: {error.strerror}", "", key) from None
        finally:
            os.close(descriptor)

    def _first(self) -> str:
        return _shown(self._open_and_read(SHOWN, ()))


def _key(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _shown(raw: bytes) -> str:
    return raw[:SHOWN].decode("utf-8", "replace")
