"""How much room on its disk a worker wants before it takes a new run (F17)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MOST, SHARE = 1 << 30, 0.05  # bytes, or share of the disk, whichever is less


RETENTION_SHARE = 0.25  # of a small disk, which what is kept for the server may take at most


class Room:
    """Whether there is room for a new run, and whether one was declined since there was none."""

    def __init__(self, directory: Path, free: Callable[[], int], least: int | None) -> None:
        """``free``: bytes that are free now. ``least``: as for ``least_free``."""
        self._directory, self._free, self._least = directory, free, least
        self.is_short = False

    def suffices(self) -> bool:
        """Whether a new run may be taken; remembers a no."""
        self.is_short = self._free() < least_free(self._directory, self._least)
        return not self.is_short

    def is_back(self) -> bool:
        """Whether there was none when it was last asked for, and is some now."""
        return self.is_short and self.suffices()


def kept_bytes(directory: Path, most: int) -> int:
    """Bytes that committed runs may take: ``most``, or a quarter of a small disk, so that a new one finds room."""
    found = os.statvfs(directory)
    return int(min(most, RETENTION_SHARE * found.f_blocks * found.f_frsize))


def least_free(directory: Path, said: int | None) -> int:
    """Bytes that must be free; ``said``: as the settings have it, None for the default."""
    if said is not None:
        return said
    found = os.statvfs(directory)
    return int(min(MOST, SHARE * found.f_blocks * found.f_frsize))
