"""Putting a backup back. What was there is moved aside, never deleted; the workers are fenced by lineage (F24).

Everything is unpacked and checked beside its place first. Then the old files go aside and the new ones in; a restore
that is killed in between leaves ``orchestra.db.restoring``, with which no server starts, and is simply run again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from appliance.backup import archive
from appliance.backup.archive import Entry, Manifest
from appliance.backup.making import Progress, key_check, opened
from appliance.backup.workplace import workplace
from appliance.clock import Clock
from appliance.config import (
    KEY_FILE,
    PROJECTS_DIRECTORY,
    SERVER_FILE,
    ConfigurationError,
    read_master_key,
    write_master_key,
)
from appliance.db.disk import Disk
from appliance.db.repository import Repository
from appliance.db.sqlite.connection import DirectoryLock, unfinished_restore
from appliance.exit_records import LATE
from appliance.foundation import DATABASE_FILE, LOGS_DIRECTORY
from appliance.model.errors import Conflict, Invalid
from appliance.model.run_state import LIVE
from appliance.private_files import make_private_directory
from appliance.wire import OUTPUT

FINDINGS = 1000  # at most so many are told


class Restored(msgspec.Struct, frozen=True):
    """What was put back, and where the old state is (None: there was none)."""

    directory: Path
    manifest: Manifest
    findings: tuple[str, ...]
    aside: Path | None


def verify(file: Path, directory: Path, progress: Progress) -> tuple[Manifest, tuple[str, ...]]:
    """Try a restore of ``file`` in a temporary directory inside ``directory``. Answers what is wrong in it.

    Raises Invalid when it is no whole backup, and Conflict when its database is damaged.
    """
    with workplace(directory) as place:
        manifest, findings = _unpack(file, place, progress)
    return manifest, findings


def restore(file: Path, directory: Path, clock: Clock, progress: Progress, new_key: bytes | None = None) -> Restored:
    """Put a backup in place of what ``directory`` holds, which is moved to a directory of its own inside.

    ``new_key`` is the master key for a directory that has none. Settings and project files are only put where there are
    none. Raises Conflict while a server runs there, or when the master key is another one; Invalid for no backup.
    """
    make_private_directory(directory)
    lock = DirectoryLock(directory / DATABASE_FILE)
    with ExitStack() as undo:
        lock.take()
        undo.callback(lock.release)
        stage = undo.enter_context(workplace(directory))
        manifest, findings = _unpack(file, stage, progress)
        _check_key(directory, manifest, new_key)
        with opened(stage / DATABASE_FILE) as repository:
            repository.lineage.begin_recovery(clock.now(), manifest.created_at)
        (stage / LOGS_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        _give_to_owner(directory, stage)
        os.sync()
        aside = _swap(directory, stage, clock.now())
        if new_key is not None and not (directory / KEY_FILE).exists():
            write_master_key(directory, new_key)
            _give_to_owner(directory, directory / KEY_FILE)
        return Restored(directory=directory, manifest=manifest, findings=findings, aside=aside)


# ---- unpacking


def _unpack(file: Path, stage: Path, progress: Progress) -> tuple[Manifest, tuple[str, ...]]:
    """All of a backup in an empty directory, checked. Answers what is wrong with its logs."""
    manifest: Manifest | None = None
    digest, copied = "", 0
    logs: dict[str, int] = {}  # sizes
    findings: list[str] = []
    with archive.reading(file) as entries, ExitStack() as undo:
        repository: Repository | None = None
        for entry, content in entries:
            if manifest is not None or (repository is None) != (entry.name == archive.DATABASE):
                raise Invalid(f"{file} is no backup of ours: {entry.name} is not where it belongs")
            if entry.name == archive.MANIFEST:
                manifest = archive.read_manifest(content)
                continue
            found = _copy(content, stage / _place(entry))
            if entry.name == archive.DATABASE:
                digest = found
                repository = undo.enter_context(opened(stage / DATABASE_FILE))
            elif entry.log and repository is not None:
                logs[entry.name] = entry.size
                copied += entry.size
                progress(len(logs), copied)
                if (wrong := _wrong_with(repository, *entry.log, entry.size, found)) and len(findings) < FINDINGS:
                    findings.append(wrong)
        if manifest is None or repository is None:
            raise Invalid(f"{file} ends before its manifest: it was cut off; take another backup")
        cut = manifest.cut.items()
        names_logs = all(0 <= size <= logs.get(name, -1) for name, size in cut)  # else it could cut any file
        if not names_logs or (digest, len(logs)) != (manifest.database_sha256, manifest.logs):
            raise Invalid(f"{file} is not what its manifest says; take another backup")
        if damage := repository.check():
            raise Conflict(f"the database in {file} is damaged: {damage[0]}; take another backup")
    for name, size in cut:
        os.truncate(stage / _log_place(name), size)
    return manifest, tuple(findings)


def _wrong_with(repository: Repository, run_id: str, stream: int, size: int, sha256: str) -> str | None:
    """What is wrong with a log of a run that has ended. A live one is sent again by its worker."""
    run = repository.runs.get(run_id)
    if run is None:
        return f"the backup has a log of run {run_id}, which is not in its database"
    record = next((one for one in repository.runs.streams(run_id) if one.stream == stream), None)
    is_same = record is not None and (record.size, record.sha256 or sha256) == (size, sha256)
    if stream >= LATE:
        late = repository.late.get(run_id)  # it says nothing of its other streams
        is_same = late is not None and (stream != LATE + OUTPUT or (late.log.size, late.log.sha256) == (size, sha256))
    if run.status in LIVE or is_same:
        return None
    return f"stream {stream} of {run.project}/{run.job}#{run.number} is damaged: its SHA-256 differs"


def _place(entry: Entry) -> str:
    return _log_place(entry.name) if entry.log else entry.name


def _log_place(name: str) -> str:
    """Where the log store looks for a stream; names came through the archive's pattern."""
    _, run_id, stream = name.split("/")
    return f"{LOGS_DIRECTORY}/{run_id[:2]}/{run_id}/{stream}"


def _copy(content: IO[bytes], path: Path) -> str:
    """Write a new file, 0600, its missing directories 0700 (S-55); answers its SHA-256."""
    for directory in reversed(path.parents):  # one by one: "parents" of mkdir would leave all but the last to the umask
        directory.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        while piece := content.read(archive.PIECE):
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest()


# ---- putting it in place


def _check_key(directory: Path, manifest: Manifest, new_key: bytes | None) -> None:
    """The master key must be the one that signed what workers hold and what tokens are derived from."""
    try:
        key = read_master_key(directory)
    except ConfigurationError:
        if (directory / KEY_FILE).exists():
            raise
        if new_key is None:
            message = f"{directory} has no master key: give the one kept from init with --master-key-stdin"
            raise Conflict(message) from None
        key = new_key
    if key_check(key, manifest.cluster) != manifest.key_check:  # public: it stands in the backup
        raise Conflict("this master key is not the one that the backup was made with")


def _swap(directory: Path, stage: Path, at: datetime) -> Path | None:
    """The old state aside, the new one in its place. Killed at any point, it can be done again from the beginning."""
    disk = Disk()
    database = directory / DATABASE_FILE
    mark = unfinished_restore(database)
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    disk.sync_directory(directory)
    old = [database, Path(f"{database}-wal"), Path(f"{database}-shm"), directory / LOGS_DIRECTORY]
    present = [path for path in old if path.exists()]
    aside = None
    if present:
        aside = Path(tempfile.mkdtemp(prefix=f"before-restore-{at:%Y%m%d-%H%M%S}-", dir=directory))
        _give_to_owner(directory, aside)
        for path in present:
            path.rename(aside / path.name)
        disk.sync_directory(aside)
    for name in (LOGS_DIRECTORY, DATABASE_FILE):
        (stage / name).rename(directory / name)
    for name in (SERVER_FILE, PROJECTS_DIRECTORY):
        if (stage / name).exists() and not (directory / name).exists():
            (stage / name).rename(directory / name)
    disk.sync_directory(directory)
    mark.unlink()
    disk.sync_directory(directory)
    return aside


def _give_to_owner(directory: Path, path: Path) -> None:
    """What root restores belongs to the account that the server runs as."""
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for one in (path, *path.rglob("*")) if path.is_dir() else (path,):
        os.chown(one, owner.st_uid, owner.st_gid, follow_symlinks=False)
