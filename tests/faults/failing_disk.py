"""A disk that fails at the N-th change of a file or a name under a directory, once or for ever (F17, F18)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.journal_disk import Recorder

CHANGES = os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class FailingDisk(Recorder):
    """Between the product and ``os``, in this process and in its forks; see ``Recorder.recording``."""

    def __init__(self, root: Path, number: int, at: int, *, is_for_ever: bool) -> None:
        """Raises OSError with ``number`` (as ENOSPC) at change ``at``, from 1, and at those after it."""
        super().__init__(root)
        self._number, self._at, self._is_for_ever = number, at, is_for_ever
        self.changes = 0
        self.is_off = False

    def _over(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if not self.is_off and self._concerns(name, words, more):
                self.changes += 1
                if self.changes == self._at or (self._is_for_ever and self.changes > self._at):
                    raise OSError(self._number, os.strerror(self._number))
            return real(*words, **more)

        return call

    def _concerns(self, name: str, words: tuple[Any, ...], more: dict[str, Any]) -> bool:
        if name == "os_open" and not words[1] & CHANGES:
            return False
        try:
            return self._path(words[0], more.get("dir_fd")) is not None
        except OSError:
            return False  # a pipe that was closed
