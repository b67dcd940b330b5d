"""Since when a journal has everything (F24).

A server restored from a backup asks its workers what they have executed since. A worker that has deleted some of that
must not be taken for one that has told all. (One whose journal is younger shows that by the journal's id.)
"""

from __future__ import annotations

import contextlib
import logging

import msgspec

from appliance.model.errors import Invalid
from appliance.worker.rundir import RunDirectory

_log = logging.getLogger(__name__)

NAME = "complete.json"


class _Since(msgspec.Struct, frozen=True):
    since: float  # seconds since 1970


class Watermark:
    """The file, and what it says: of runs whose end the master stored after this instant, every one is still here."""

    def __init__(self, home: RunDirectory) -> None:
        """``home``: the journal's directory, whose files are written as those of a run."""
        self._home = home
        self._since = 0.0

    @property
    def since(self) -> float:
        """Seconds since 1970 on the worker's clock; 0 = nothing was ever deleted."""
        return self._since

    def open(self) -> None:
        """Read it. Raises Invalid."""
        raw = self._home.read(NAME)
        if raw is not None:
            try:
                self._since = msgspec.json.decode(raw, type=_Since).since
            except msgspec.DecodeError:
                raise Invalid(f"{self._home.file(NAME)} is damaged: restore it, or empty the directory") from None
        self._reserve()

    def rise(self, at: float) -> None:
        """Note durably, before they are deleted, that runs go that were stored at this instant or earlier."""
        if at > self._since:
            self._home.replace(NAME, msgspec.json.encode(_Since(at)))
            self._since = at
            self._reserve()

    def may_go(self, at: float) -> bool:
        """As ``rise``; False, and logged, when it cannot be noted: then nothing may be deleted yet."""
        try:
            self.rise(at)
        except OSError as error:
            _log.error("runs whose retention is over stay for now, for that cannot be noted: %s", error)
            return False
        return True

    def _reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._home.reserve(NAME)  # a full disk must not keep what fills it
