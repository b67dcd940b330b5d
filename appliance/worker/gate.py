"""The launch gate: what is durable before a run's first command may begin, so that none ever begins twice (5.6, I2).

    runs/<run id>/started.json   who began it, when, on which boot
    begun/<run id>.started       a second name of that
    begun/<run id>               that it has begun: a second name of its request.json, outside its own directory

The names in ``begun`` are the ones that are made durable, with one call. And they are for jobs that remove files of
their run, or its whole directory: the run is not begun again, and it can still be told how it ended. They are no wall:
jobs have the worker's account, and one that looks for them finds them.

Standard library only: every executor carries this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Any

from appliance.worker import rundir
from appliance.worker.disk import Disk
from appliance.worker.rundir import RunDirectory

BEGUN = "begun"  # in the journal's directory
_STARTED = ".started"
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})  # no second names on this file system


def mark_of(path: str) -> str:
    """Where it is noted that the run has begun; ``path`` is its directory, absolute."""
    runs, run_id = os.path.split(path)
    return os.path.join(os.path.dirname(runs), BEGUN, run_id)


def has_begun(directory: RunDirectory, path: str) -> bool:
    """Whether a command of the run may have begun: then none begins any more. ``path``: as for ``mark_of``."""
    return directory.has(rundir.STARTED) or os.path.lexists(mark_of(path))


def note_begun(directory: RunDirectory, path: str, started: dict[str, Any]) -> None:
    """Durable, before the gate opens. Raises OSError: then nothing may begin."""
    directory.replace_object(rundir.STARTED, started, is_named=False)
    mark = mark_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mark + _STARTED)  # the power has left it of a try before, whose gate never opened
    try:
        os.link(directory.file(rundir.STARTED), mark + _STARTED, follow_symlinks=False)
        os.link(directory.file(rundir.REQUEST), mark, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without second names: a mark alone must do, and the first name of started.json.
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        directory.disk.sync_directory(directory.path)
    directory.disk.sync_directory(os.path.dirname(mark))


def forget_begun(path: str, disk: Disk) -> None:
    """Remove the mark durably, before the run is deleted: a mark without its run means that its job removed it."""
    mark = mark_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mark + _STARTED)
    try:
        os.unlink(mark)
    except FileNotFoundError:
        return
    disk.sync_directory(os.path.dirname(mark))


def restore(directory: RunDirectory, boot_id: str) -> None:
    """Make of the run's path a directory that we may use, with its request in it if that is left. Raises OSError.

    ``directory``: by its absolute path. ``boot_id``: of this boot. After another one started.json, too, may have lost
    its name there, with the power; within one boot only the job can have removed it, and that is to be seen.
    """
    path = directory.path
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.rename(path, f"{path}.damaged.{time.monotonic_ns()}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    directory.open_up()
    for name in rundir.OURS:
        directory.clear(name)
    mark = mark_of(path)
    if not directory.has(rundir.REQUEST) and os.path.isfile(mark):
        os.link(mark, directory.file(rundir.REQUEST), follow_symlinks=False)
    if not directory.has(rundir.STARTED) and _boot_of(mark) not in (None, boot_id):
        os.link(mark + _STARTED, directory.file(rundir.STARTED), follow_symlinks=False)


def _boot_of(mark: str) -> object:
    home, name = os.path.split(mark + _STARTED)
    try:
        return (RunDirectory(home).read_object(name) or {}).get("boot")
    except rundir.Damaged:
        return None


def take(directory: RunDirectory, path: str) -> int | None:
    """The run's lock, if the run is still there and was never begun; None: leave it alone.

    ``directory``: the working directory; ``path``: where it should be. Who only looks holds the lock for an instant.
    """
    for _ in range(20):
        try:
            lock = directory.lock()
        except FileNotFoundError:
            return None
        if lock is not None:
            break
        time.sleep(0.005)
    else:
        return None
    try:
        is_same = os.path.samestat(os.stat(path), os.stat("."))  # not moved to the trash meanwhile
    except FileNotFoundError:
        is_same = False
    if is_same and not has_begun(directory, path) and not directory.has(rundir.EXIT):
        return lock
    os.close(lock)
    return None
