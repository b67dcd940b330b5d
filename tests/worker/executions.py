"""Real runs for tests: a journal in a temporary directory, a supervisor, and what it told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from appliance.wire.local_runs import Record
from appliance.worker import rundir
from appliance.worker.journal import Journal, Recovered
from appliance.worker.rundir import RunDirectory
from appliance.worker.supervisor import Supervisor

PATIENCE = 30.0  # seconds until a test that waits for an event gives up
CAP = "c" * 64

Commands = list[Any]


def request_of(run_id: str, commands: Commands, **other: Any) -> str:
    """A request as the master makes it; ``setup`` and ``teardown`` are lists of commands too."""
    request: dict[str, Any] = {
        "format": 1,
        "run": run_id,
        "attempt": 1,
        "project": "website",
        "job": "test",
        "number": 7,
        "definition": {
            "setup_commands": other.pop("setup", []),
            "commands": commands,
            "teardown_commands": other.pop("teardown", []),
        },
        "parameters": {},
        "environment": {},
        "timeout": None,
        "teardown_timeout": 60.0,
        "grace": 30.0,
        "log_limit": 4 << 30,
        "url": "http://127.0.0.1:1",
    }
    return json.dumps(request | other)


class Told:
    """A watcher that keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()
        self.on_exit: Callable[[str, dict[int, int], Record], Any] | None = None

    def _hear(self, *word: Any) -> None:
        self.words.append(word)
        self._changed.set()

    def started(self, run_id: str, at: float) -> None:
        self._hear("started", run_id, at)

    def grew(self, run_id: str, sizes: dict[int, int]) -> None:
        self._hear("grew", run_id, sizes)

    def results(self, run_id: str, seq: int, value: bytes) -> None:
        self._hear("results", run_id, seq, json.loads(value))

    def exited(self, run_id: str, sizes: dict[int, int], record: Record) -> None:
        self._hear("exited", run_id, sizes, record)
        if self.on_exit is not None:
            self.on_exit(run_id, sizes, record)

    def all(self, kind: str, run_id: str) -> list[tuple[Any, ...]]:
        """Every word of this kind about the run."""
        return [word for word in self.words if word[:2] == (kind, run_id)]

    async def wait(self, is_there: Callable[[], Any]) -> Any:
        """Until ``is_there`` answers something after a word; that is the answer."""
        async with asyncio.timeout(PATIENCE):
            while not (found := is_there()):
                self._changed.clear()
                await self._changed.wait()
        return found


class Workshop:
    """A worker without its socket."""

    def __init__(self, journal: Journal, group: str | None = None) -> None:
        self.journal = journal
        self.told = Told()
        self.supervisor = Supervisor(
            journal,
            self.told,
            environment={"origin": "/srv/git"},
            inherited={**os.environ, "LEAK": "me"},
            group=group,
        )

    def accept(self, commands: Commands, *, secrets: dict[str, str] | None = None, **other: Any) -> str:
        """Store a run; answers its id."""
        run_id = str(uuid.uuid4())
        self.journal.accept(run_id, CAP, request_of(run_id, commands, **other), secrets or {})
        return run_id

    def launch(self, commands: Commands, **other: Any) -> str:
        """Store a run and start it."""
        run_id = self.accept(commands, **other)
        self.supervisor.launch(run_id)
        return run_id

    async def started(self, run_id: str) -> None:
        """Wait until the first command began."""
        await self.told.wait(lambda: self.told.all("started", run_id))

    async def said(self, run_id: str, text: bytes) -> None:
        """Wait until the run's log holds the text."""
        await self.told.wait(lambda: text in self.log(run_id))

    async def end(self, run_id: str) -> Record:
        """Wait for the end of a run, whose receipts must agree with its files; answers its record."""
        (_, _, sizes, record), *others = await self.told.wait(lambda: self.told.all("exited", run_id))
        assert others == []
        for stream, size in sizes.items():
            content = self.journal.read(run_id, stream, 0, size + 1)
            assert len(content) == size
            assert hashlib.sha256(content).hexdigest() == record.digests[stream]
        assert isinstance(record, Record)
        return record

    async def run(self, commands: Commands, **other: Any) -> tuple[Record, bytes]:
        """Run to the end; answers record and log."""
        run_id = self.launch(commands, **other)
        record = await self.end(run_id)
        return record, self.log(run_id)

    def directory(self, run_id: str) -> RunDirectory:
        """The run's directory."""
        return self.journal.run_directory(run_id)

    def log(self, run_id: str) -> bytes:
        """The whole log."""
        return self.directory(run_id).read(rundir.LOG) or b""

    def notes(self, run_id: str) -> list[dict[str, Any]]:
        """The notes."""
        return [json.loads(line) for line in (self.directory(run_id).read(rundir.NOTES) or b"").splitlines()]

    def executor(self, run_id: str) -> int:
        """Pid of the run's executor."""
        found = self.directory(run_id).executor()
        assert found is not None
        return found[0]


@asynccontextmanager
async def workshop(path: Path, recovered: Recovered | None = None, group: str | None = None) -> AsyncIterator[Workshop]:
    """A worker on the journal in ``path``, which is recovered first. When it is left, no executor notices.

    ``group``: the control group in which each run gets one.
    """
    journal = Journal(path)
    journal.open()
    try:
        shop = Workshop(journal, group)
        await shop.supervisor.start(recovered or journal.recover())
        try:
            yield shop
        finally:
            await shop.supervisor.stop()
    finally:
        journal.close()
