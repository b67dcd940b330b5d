"""An appliance's data directory with runs and logs, made by its own use cases, without a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.cli.server import initialise
from appliance.config import load_server
from appliance.db.sqlite import SqliteRepository
from appliance.foundation import DATABASE_FILE, Foundation
from appliance.leases import Holder
from appliance.model.entities import Run, Source, Worker
from appliance.model.requests import request_of
from appliance.wire import messages as m
from appliance.workers import Registration

PROJECT = """\
projects:
  - identifier: p
    jobs:
      - {identifier: work, definition: {commands: [[work]]}}
"""
JOURNAL = "1" * 32


def quiet(_logs: int, _size: int) -> None:
    """Progress that nobody watches."""


class Site:
    """A data directory; its parts are opened for a moment at a time, as by a server that starts and stops."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        initialise(directory, None, None, None, None)
        for old in (directory / "projects").iterdir():
            old.unlink()
        project = directory / "projects" / "p.yaml"
        project.write_text(PROJECT)
        project.chmod(0o600)

    @property
    def closed(self) -> Foundation:
        """The parts, nothing opened."""
        return Foundation(load_server(data=self.directory))

    @contextmanager
    def running(self) -> Iterator[Life]:
        """A life of the server, without its loops."""
        foundation = self.closed
        foundation.repository.open()
        try:
            yield Life(foundation)
        finally:
            foundation.logs.close()
            foundation.repository.close()


class Life:
    """What a server and its worker ``w`` do."""

    def __init__(self, foundation: Foundation) -> None:
        self.of = foundation
        self.lineage = foundation.repository.lineage.open_epoch(
            foundation.new_incarnation(), "boot", foundation.clock.now()
        )
        foundation.configuration.load()

    def worker(self) -> Worker:
        """The one worker, with its journal."""
        worker = self.of.repository.workers.named("w") or self.of.workers.create("w", "alice", None)[0]
        return self.of.workers.register(worker.id, Registration(JOURNAL, "orchestra-appliance 0", 4, {}, 0.0))

    def trigger(self) -> Run:
        return self.of.runs.trigger("p", "work", {}, Source(type="user", user="alice"))[0]

    def started(self, output: bytes) -> Run:
        """A run that goes on, with so much of its log here."""
        worker = self.worker()
        run = self.trigger()
        request = request_of(run, self.of.job_versions.get(run.definition_version), self.of.limits)
        self.of.leases.grant(run, worker, self.lineage.epoch, 0, request)
        holder = self.holder()
        self.of.leases.accepted(holder, run.id)
        self.of.leases.append_log(holder, run.id, 0, 0, output)
        self.of.leases.sync_streams()
        return self.of.runs.get(run.id)

    def ended(self, output: bytes) -> Run:
        """A run that has succeeded, with this log."""
        run = self.started(output)
        self._exits(run, output)
        return self.of.runs.get(run.id)

    def report(self, run: Run, output: bytes) -> None:
        """The run was ended without its worker, which says now how it went."""
        self.of.leases.append_log(self.holder(), run.id, 0, 0, output)
        self._exits(run, output)

    def _exits(self, run: Run, output: bytes) -> None:
        record = m.Exited(
            id=1,
            run=run.id,
            status="succeeded",
            at=self.of.clock.now().timestamp(),
            sizes={0: len(output)},
            digests={0: hashlib.sha256(output).hexdigest()},
            code=0,
            command="commands[0]",
        )
        assert self.of.leases.exited(self.holder(), record) is None

    def holder(self) -> Holder:
        worker = self.worker()
        return Holder(worker_id=worker.id, journal_id=JOURNAL, name=worker.name)


def log_file(directory: Path, run: Run, stream: int = 0) -> Path:
    return directory / "logs" / run.id[:2] / run.id / f"{stream}.log"


@contextmanager
def database_of(directory: Path) -> Iterator[SqliteRepository]:
    """The database of a directory, to look into."""
    repository = SqliteRepository(directory / DATABASE_FILE)
    repository.open()
    try:
        yield repository
    finally:
        repository.close()
