"""Temporary directories inside the data directory, for whole copies of it. One that a kill has left is deleted."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.model.errors import Full

_PREFIX = ".copy."


@contextmanager
def workplace(directory: Path) -> Iterator[Path]:
    """An empty directory inside ``directory``, deleted at the end; first those are that nobody works in any more.

    Who works in one holds its lock, which the kernel lets go with the process, however that ends. Raises Full when the
    work in it finds no space, there or elsewhere.
    """
    for left in directory.glob(f"{_PREFIX}*"):
        lock = _lock(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    made, lock = _make(directory)
    try:
        yield made
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Full(f"no space is left, in {directory} or for the backup's file: free some and run it again") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _make(directory: Path) -> tuple[Path, int]:
    """A new one and its lock; another one where somebody has taken it for one that was left, before it was locked."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        lock = _lock(made)
        if lock is not None and made.exists():
            return made, lock
        if lock is not None:
            os.close(lock)


def _lock(path: Path) -> int | None:
    """The lock of a directory; None when somebody else has it, or the directory is gone."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
