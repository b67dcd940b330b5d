"""Real small file systems, so that a disk is full because it is (F16, F17)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.required import demand

PIECE = bytes(4096)


@contextmanager
def mounted(place: Path, size: int) -> Iterator[Path]:
    """A tmpfs of so many bytes at an empty directory, which is made. Skips the test where nothing may be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    try:
        failure = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
    except FileNotFoundError:
        failure = "there is no mount command"
    demand("tmpfs", f"it cannot be mounted here: {failure}" if failure else None)
    try:
        yield place
    finally:
        # Lazily: whoever still has a file open there keeps it, and nobody else sees it.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int = 0) -> Path:
    """Fill the file system of a directory, to its last page or down to ``leave`` bytes. Answers the filler."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while free(place) > leave:
                file.write(PIECE)
        except OSError:
            assert free(place) < len(PIECE)
    return filler


def free(place: Path) -> int:
    """Bytes that are free there."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize
