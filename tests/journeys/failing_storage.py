"""A deployment whose disk does as a test says: a file ``trouble`` in the data directory names what fails from then on.

``database``: each write of the database meets an I/O error. ``log``: each fsync of a log does.
"""

from __future__ import annotations

import errno
import os
from functools import cached_property
from pathlib import Path

import apsw

from appliance.app import Appliance
from appliance.config import boot_id
from appliance.db.disk import Disk
from appliance.db.logs import LogStore
from appliance.db.repository import Repository
from appliance.db.sqlite import SqliteRepository
from appliance.foundation import DATABASE_FILE, LOGS_DIRECTORY
from tests.db.sqlite.faults import Disk as DatabaseDisk

TROUBLE = "trouble"


def trouble(directory: Path) -> str:
    """What fails now."""
    file = directory / TROUBLE
    return file.read_text() if file.exists() else ""


class LogDisk(Disk):
    """Logs whose fsync fails."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def sync(self, file: int) -> None:
        if trouble(self._directory) == "log":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)


class Deployment(Appliance):
    """The appliance over such disks."""

    def new_repository(self) -> Repository:
        def before(_kind: str) -> None:
            if trouble(self.directory) == "database":
                raise apsw.IOError("disk I/O error")

        self._vfs = DatabaseDisk("troubled", before)
        self._vfs.keeps = False
        path = self.directory / DATABASE_FILE
        return SqliteRepository(path, on_fatal=self.on_fatal, room=self.room, vfs=self._vfs.name)

    @cached_property
    def logs(self) -> LogStore:
        disk = LogDisk(self.directory)
        return LogStore(self.directory / LOGS_DIRECTORY, boot_id(), disk=disk, on_fatal=self.on_fatal, room=self.room)
