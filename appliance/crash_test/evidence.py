"""All that is known when everything has healed: what was asked, what the jobs marked, what the service says."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from appliance.client import Client
from appliance.crash_test import job
from appliance.crash_test.ledger import Facts, Wish
from appliance.crash_test.plan import Order, Task
from appliance.crash_test.stage import Stage

_SUSPICIOUS = ("ERROR ", "CRITICAL ", "Traceback ")
_COMPLAINTS_MOST = 20  # lines of one log file
_HASHED_AT_ONCE = 1 << 20  # bytes


class Mark(NamedTuple):
    """A line that a job wrote by itself, outside of everything of ours."""

    run_id: str
    key: str
    pid: int


class Found(NamedTuple):
    """A run as the service shows it in the end. ``size``, ``sha256`` and ``is_prefix`` are of the log as it was read,
    ``is_prefix``: it is what the job printed, or its beginning. ``results`` is None when the job sets none."""

    document: dict[str, Any]
    size: int
    sha256: str
    is_prefix: bool
    results: dict[str, Any] | None


class Evidence(msgspec.Struct, kw_only=True):
    """See the module. Keys name orders, ids name runs. ``worker_logs``: (size, SHA-256) of the log on its worker, for
    runs that are still there. ``healed_after``: seconds from the last fault until no run was live; None: never."""

    orders: Mapping[str, Order]
    acknowledged: Mapping[str, str]
    wishes: Mapping[str, Sequence[Wish]]
    hits: Mapping[str, set[str]]
    seen: Mapping[str, Facts]
    runs: Sequence[Found]
    starts: Sequence[Mark]
    ends: Sequence[Mark]
    worker_logs: Mapping[str, tuple[int, str]]
    database: Sequence[str]
    complaints: Sequence[str]
    left: Sequence[str]
    healed_after: float | None


class Digests:
    """How much of a log is what the job of a task prints, found piece by piece: nothing is kept in memory."""

    def __init__(self, task: Task) -> None:
        self._expected = job.pieces(task.seed, task.size, task.shape)
        self._rest = b""
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.is_prefix = True

    def add(self, content: bytes) -> None:
        """The next bytes of the log."""
        self._sha256.update(content)
        self.size += len(content)
        while content and self.is_prefix:
            self._rest = self._rest or next(self._expected, b"")
            length = min(len(content), len(self._rest))
            if length == 0 or content[:length] != self._rest[:length]:
                self.is_prefix = False
            content, self._rest = content[length:], self._rest[length:]

    @property
    def sha256(self) -> str:
        """Of all bytes."""
        return self._sha256.hexdigest()


def printed(task: Task) -> int:
    """Bytes that a job prints when nothing disturbs it."""
    return len(next(job.pieces(task.seed, 0, "text"))) if task.shape == "text" else task.size


def read_runs(client: Client, tell: Callable[[int], None]) -> Iterator[Found]:
    """Every run of the service, with its log read to the end. ``tell`` hears how many were read."""
    for number, document in enumerate(client.runs(), 1):
        tell(number)
        yield read_run(client, document)


def read_run(client: Client, document: dict[str, Any]) -> Found:
    """One run, with its log read to the end by ranges."""
    task = task_of(document)
    digests = Digests(task or Task(key="", seed=0, size=0, shape="bytes", seconds=0.0))
    while content := client.log(document["id"], digests.size).content:
        digests.add(content)
    results = client.results(document["id"]) if task is not None and task.has_results else None
    return Found(document, digests.size, digests.sha256, digests.is_prefix, results)


def task_of(document: dict[str, Any]) -> Task | None:
    """What a run was to do, by its parameter; None if that is no task."""
    with contextlib.suppress(msgspec.MsgspecError, KeyError, TypeError):
        return msgspec.json.decode(document["parameters"]["task"], type=Task)
    return None


def read_marks(file: Path) -> list[Mark]:
    """The marks of the jobs, in the order in which they were written."""
    if not file.exists():
        return []
    return [
        Mark(run_id, key, int(pid)) for run_id, key, pid in (line.split() for line in file.read_text().splitlines())
    ]


def read_worker_logs(stage: Stage) -> dict[str, tuple[int, str]]:
    """(size, SHA-256) of every log that is still on a worker, by run. The workers must be stopped."""
    found = {}
    for home in stage.homes.values():
        for directory in (home / "runs").iterdir():
            with contextlib.suppress(FileNotFoundError), (directory / "log").open("rb") as file:
                digest = hashlib.sha256()
                while piece := file.read(_HASHED_AT_ONCE):
                    digest.update(piece)
                found[directory.name] = (os.fstat(file.fileno()).st_size, digest.hexdigest())
    return found


def read_complaints(stage: Stage) -> list[str]:
    """Lines of our programs' own logs that mean a bug or lost data (I7)."""
    found = []
    for program in stage.programs:
        count = 0
        with program.log.open(errors="replace") as lines:
            for line in lines:
                if line.startswith(_SUSPICIOUS):
                    count += 1
                    if count <= _COMPLAINTS_MOST:
                        found.append(f"{program.log.name}: {line.strip()[:300]}")
    return found
