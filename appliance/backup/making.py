"""Writing a backup, while the server runs: a snapshot of the database first, then the logs that it knows of.

Logs only grow: what the snapshot says of them is there still when they are copied, and what came later is left out.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

import appliance
from appliance.backup import archive
from appliance.backup.archive import Manifest, Writer
from appliance.backup.workplace import workplace
from appliance.config import PROJECTS_DIRECTORY
from appliance.db.disk import Disk
from appliance.db.logs import LogStore
from appliance.db.repository import Repository, RunFilter, RunKey
from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.snapshot import snapshot
from appliance.exit_records import LATE, STREAM_LIMITS, awaits_report
from appliance.foundation import DATABASE_FILE, Foundation
from appliance.model import caps
from appliance.model.entities import Run, StreamRecord
from appliance.model.errors import Conflict, NotFound
from appliance.model.run_state import LIVE
from appliance.wire import OUTPUT

PAGE = 500
Progress = Callable[[int, int], None]  # logs and bytes so far


class Made(msgspec.Struct, frozen=True):
    """What was written. ``findings``: logs of ended runs that are not what the database says, files that are not in."""

    file: Path
    size: int
    manifest: Manifest
    findings: tuple[str, ...]


def key_check(master_key: bytes, cluster: str) -> str:
    """Recognises the key a backup needs."""
    return hmac.new(caps.derive(master_key, "backup"), cluster.encode(), "sha256").hexdigest()


def back_up(foundation: Foundation, file: Path, progress: Progress) -> Made:
    """Write a backup to ``file``, whole or not at all.

    Raises Conflict if it exists, NotFound without a database, or without a directory for it.
    """
    if file.exists():
        raise Conflict(f"{file} exists already; name a new file")
    if not file.absolute().parent.is_dir():
        raise NotFound(f"there is no directory {file.absolute().parent}: make it, or name another file")
    database = foundation.directory / DATABASE_FILE
    if not database.exists():
        raise NotFound(f"there is no database in {foundation.directory}; name the server's data directory with --data")
    at = foundation.clock.now()
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    # The copy lies in the data directory: a backup may go to a network file system, an open database may not.
    with (
        workplace(foundation.directory) as place,
        contextlib.ExitStack() as undo,
    ):
        copy = place / DATABASE_FILE
        cluster = snapshot(database, copy)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        undo.callback(part.unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as out:
            with archive.writing(out, file.name) as writer:
                manifest, findings = _write(foundation, copy, cluster, writer, at, progress)
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)
        Disk().sync_directory(file.absolute().parent)
    return Made(file=file, size=file.stat().st_size, manifest=manifest, findings=tuple(findings))


def _write(
    foundation: Foundation, copy: Path, cluster: str, writer: Writer, at: datetime, progress: Progress
) -> tuple[Manifest, list[str]]:
    size = copy.stat().st_size
    with copy.open("rb") as file:
        digest = writer.add(archive.DATABASE, file, size, at).sha256.hexdigest()
    findings: list[str] = []
    cut: dict[str, int] = {}
    runs = logs = copied = 0
    with opened(copy) as repository:
        for run in runs_of(repository):
            runs += 1
            for record in (*repository.runs.streams(run.id), *_late_streams(foundation, repository, run)):
                if record.size:
                    name = archive.log_name(run.id, record.stream)
                    kept, finding = _add_log(foundation.logs, writer, run, record, at)
                    if kept != record.size:
                        cut[name] = kept
                    if finding:
                        findings.append(finding)
                    logs, copied = logs + 1, copied + kept
                    progress(logs, copied)
    findings += _add_settings(foundation, writer, at)
    manifest = Manifest(
        format=archive.FORMAT,
        version=appliance.__version__,
        created_at=at,
        cluster=cluster,
        runs=runs,
        logs=logs,
        log_bytes=copied,
        database_size=size,
        database_sha256=digest,
        key_check=key_check(foundation.master_key, cluster),
        cut=cut,
    )
    writer.finish(manifest)
    return manifest, findings


def _late_streams(foundation: Foundation, repository: Repository, run: Run) -> list[StreamRecord]:
    """What its worker has reported after the run had been ended without it (4.4): it is durable before the report."""
    report = repository.late.get(run.id) if awaits_report(run) else None
    if report is None:
        return []
    sizes = {stream: foundation.logs.size(run.id, LATE + stream) for stream in STREAM_LIMITS}
    return [
        StreamRecord(
            run_id=run.id,
            stream=LATE + stream,
            size=report.log.size if stream == OUTPUT else size,
            crc32=0,
            boot_id="",
            sha256=report.log.sha256 if stream == OUTPUT else None,
        )
        for stream, size in sizes.items()
    ]


def _add_log(logs: LogStore, writer: Writer, run: Run, record: StreamRecord, at: datetime) -> tuple[int, str | None]:
    """Copy what is durable of a stream; answers its size and what is wrong with it."""
    with logs.open_file(run.id, record.stream) as file:
        counted = writer.add(archive.log_name(run.id, record.stream), file, record.size, at)
    kept = record.size - counted.missing
    name = f"stream {record.stream} of {run.project}/{run.job}#{run.number}"
    if run.status in LIVE:
        return kept, None  # its worker sends it again
    if counted.missing:
        return kept, f"{name} has {kept} bytes of {record.size}"
    if record.sha256 is not None and counted.sha256.hexdigest() != record.sha256:
        return kept, f"{name} is not what it was when the run ended: its SHA-256 differs"
    return kept, None


def _add_settings(foundation: Foundation, writer: Writer, at: datetime) -> Iterator[str]:
    """Copy settings and project files; says which of them are not in the backup as they are."""
    for name, path in _settings(foundation):
        if not archive.is_entry(name):
            yield f"{path} is not in the backup: its name is too long, or has characters that cannot be in one"
            continue
        try:
            file = path.open("rb")
        except OSError as error:
            yield f"{path} is not in the backup: {error.strerror}"
            continue
        with file:
            if writer.add(name, file, os.fstat(file.fileno()).st_size, at).missing:
                yield f"{path} became shorter while it was copied; back up again"


def _settings(foundation: Foundation) -> Iterator[tuple[str, Path]]:
    """The settings file, and the project files that lie in the data directory."""
    file = foundation.settings.file
    if file is not None and file.is_file():
        yield archive.SETTINGS, file
    projects = foundation.directory / PROJECTS_DIRECTORY
    for path in sorted(projects.rglob("*")):
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            yield f"{PROJECTS_DIRECTORY}/{path.relative_to(projects).as_posix()}", path


def runs_of(repository: Repository) -> Iterator[Run]:
    """All runs, newest first."""
    after: RunKey | None = None
    while page := repository.runs.find(RunFilter(), after, PAGE):
        yield from page
        after = RunKey(created_at=page[-1].created_at, id=page[-1].id)


@contextlib.contextmanager
def opened(database: Path) -> Iterator[Repository]:
    """A database of a backup, sound and of our schema; nobody else uses it. Raises as ``Repository.open``."""
    repository = SqliteRepository(database)
    repository.open()
    try:
        yield repository
    finally:
        repository.close()
