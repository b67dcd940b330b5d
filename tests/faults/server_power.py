"""A server whose host loses power: its database and its log files on one recorded disk, and the images that are left.

What was synced is there. What was not may be there, may be missing, or is there in part; a file whose directory was not
synced since it was made may be gone. Database and logs are recorded in one order, so that an image is of one instant.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import NamedTuple

from appliance.db.disk import Disk as RealDisk
from appliance.db.logs import LogStore
from appliance.db.sqlite import SqliteRepository
from tests.db.sqlite.faults import Disk as DatabaseDisk
from tests.db.sqlite.faults import Operation, image

_names = itertools.count()
DATABASE, LOGS = "orchestra.db", "logs"


class Images(NamedTuple):
    """What is in an image, opened as by a server that starts on another boot: live runs are cut to what is durable."""

    repository: SqliteRepository
    logs: LogStore


class LogDisk(RealDisk):
    """Passes everything on and notes it, after it was done, among the operations of the database."""

    def __init__(self, directory: Path, done: list[Operation]) -> None:
        self._directory, self._done = directory, done
        self._names: dict[int, str] = {}

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._directory))

    def open(self, path: Path) -> int:
        is_new = not path.exists()
        file = super().open(path)
        self._names[file] = self._name(path)
        if is_new:
            self._done.append((self._names[file], "made"))
        return file

    def write(self, file: int, data: memoryview, offset: int) -> int:
        written = super().write(file, data, offset)
        self._done.append((self._names[file], "write", offset, bytes(data[:written])))
        return written

    def truncate(self, file: int, size: int) -> None:
        super().truncate(file, size)
        self._done.append((self._names[file], "cut", size))

    def sync(self, file: int) -> None:
        super().sync(file)
        if file in self._names:  # the mark of the boot has a descriptor of its own
            self._done.append((self._names[file], "sync"))

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self._done.append((self._name(path), "named"))


class PoweredServer:
    """The storage of a server, recorded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        disk = DatabaseDisk(f"powered-{next(_names)}")
        self.done: list[Operation] = disk.done
        self.repository = SqliteRepository(directory / DATABASE, vfs=disk.name)
        self.logs = LogStore(directory / LOGS, "first boot", disk=LogDisk(directory, self.done))
        self.repository.open()
        self.logs.recover([])
        self.begin = len(self.done)

    def close(self) -> None:
        """The end of the recording."""
        self.logs.close()
        self.repository.close()

    def image(self, until: int, chance: random.Random, directory: Path) -> Images:
        """The files as they may be found when the power went after so many operations, opened."""
        (directory / LOGS).mkdir(parents=True)
        (directory / LOGS / "boot").write_text("first boot")
        done = self.done[:until]
        lost = {name for name in _unnamed(done) if chance.random() < 0.5}
        kept = [one for one in done if one[1] not in ("made", "named") and not _is_within(one[0], lost)]
        for name, kind, *_ in kept:
            if kind == "write":
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
        image(kept, chance, directory)
        for file in directory.glob(f"{DATABASE}*"):
            file.chmod(0o600)
        repository = SqliteRepository(directory / DATABASE)
        repository.open()
        leased = repository.runs.leased()
        logs = LogStore(directory / LOGS, "second boot")
        records = [record for run, _ in leased for record in repository.runs.streams(run.id)]
        logs.recover(records, [run.id for run, _ in leased])
        return Images(repository, logs)


def _unnamed(done: list[Operation]) -> set[str]:
    """Files and folders of logs whose names a power loss may take: made since their directory was last synced."""
    made: set[str] = set()
    named: set[str] = set()
    for name, kind, *_ in done:
        if kind == "made":
            path = Path(name)
            made.update(str(one) for one in (path, *list(path.parents)[:2]))  # the file, its run's folder, one of 256
        elif kind == "named":
            named.update(one for one in made if str(Path(one).parent) == name)
    return made - named


def _is_within(name: str, lost: set[str]) -> bool:
    return name in lost or any(str(parent) in lost for parent in Path(name).parents)
