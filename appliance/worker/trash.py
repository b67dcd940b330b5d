"""Deleting in two steps: a rename that is done at once, and the slow removal of what was renamed (5.3, ``forget``)."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from appliance.worker.disk import Disk

_log = logging.getLogger(__name__)


class Trash:
    """A directory of what is no longer wanted."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def take(self, path: str) -> None:
        """Move a file or directory here; nothing when it is not there. Durable after ``sync``."""
        with contextlib.suppress(FileNotFoundError):
            self._disk.rename(path, str(self._directory / secrets.token_hex(8)))

    def sync(self) -> None:
        """What was taken is durable."""
        self._disk.sync_directory(str(self._directory))

    def __len__(self) -> int:
        return len(os.listdir(self._directory))

    def empty(self) -> None:
        """Delete all of it. May take long: best called in a thread. Safe beside everything else."""
        for thrown in list(self._directory.iterdir()):
            if thrown.is_dir() and not thrown.is_symlink():
                shutil.rmtree(thrown, onerror=_open_and_try_again)
            else:
                thrown.unlink(missing_ok=True)


def _open_and_try_again(function: Callable[..., object], path: str, _: object) -> None:
    """A job may leave directories that may not be entered or written; they are its worker's all the same."""
    try:
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            for name in os.listdir(path):
                _open_and_try_again(function, f"{path}/{name}", None)
            os.rmdir(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return  # two of us delete it
    except OSError as error:
        _log.warning("%s cannot be deleted: %s", path, error)
