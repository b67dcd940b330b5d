"""Runs under way on this worker: found at its start, as its supervisor sees them, and who wants to know of them."""

from __future__ import annotations

from typing import Protocol

import msgspec

from appliance.wire.local_runs import Record
from appliance.worker.rundir import RunDirectory


class Recovered(msgspec.Struct, frozen=True):
    """What ``Journal.recover`` found: run ids, each in exactly one list, acked runs in none.

    ``running``: to be watched: an executor lives, adopt it (F03), or the disk was too full to end a run whose executor
    died, which is tried again (F17). ``waiting``: accepted, never executed, safe to launch (5.6).
    ``ended``: the exit record is there, just now written for those whose executor died (F05, F07).
    """

    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


class Watcher(Protocol):
    """Who wants to know. Called on the event loop, in this order per run, and again after a restart of the worker.

    Must not block. ``sizes`` maps a stream to its bytes on disk, and only ever grows.
    """

    def started(self, run_id: str, at: float) -> None:
        """The first command began at ``at`` (seconds since 1970)."""

    def grew(self, run_id: str, sizes: dict[int, int]) -> None:
        """Streams have these sizes now."""

    def results(self, run_id: str, seq: int, value: bytes) -> None:
        """New results while running, a JSON object of at most RESULTS_INLINE bytes (larger ones: only at the end)."""

    def exited(self, run_id: str, sizes: dict[int, int], record: Record) -> None:
        """The exit record is durable. Exactly once per run and supervisor; nothing follows."""


class LiveRun:
    """A run that was launched and has not ended, and how much of it was told."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.pidfd: int | None = None
        self.launches = 0
        self.launched_at = 0.0  # loop time
        self.is_asked = False  # of the starter, which has not answered yet
        self.is_settling = False
        self.is_recorded = False  # its executor has said that the exit record is durable
        self.failures = 0  # tries to find or write its end that the disk refused
        self.is_gone = False  # its executor was seen to end
        self.is_started = False
        self.sizes: dict[int, int] = {}
        self.results_file: tuple[int, int] | None = None  # inode and time of what was told
