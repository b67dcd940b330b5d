"""The simulated executor: the product's own files and order of syncs, with commands that are made up.

A model of ``appliance.worker.executor``: lock, gate, log with marks, notes, results, exit record are written by the
product's classes; the process, its commands and their signals are not there. ``Deed`` is what really happened, kept
outside of everything that can be lost: it is what the invariants compare with.
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

from appliance.worker import gate, rundir
from appliance.worker.notes import Notes
from appliance.worker.output import Output
from appliance.worker.rundir import RunDirectory
from appliance.worker.saved_results import SavedResults
from tests.faults.sim_disk import Died, Fuse, SimJournalDisk, close_under

if TYPE_CHECKING:
    from tests.faults.machines import Machine

PIECES = (1, 40, 3000, 70_000)  # bytes


Told = tuple[str, str | None, dict[int, int], dict[int, str]]  # status, reason, sizes, digests


class Deed:
    """What one run really did, wherever it ran."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.starts = 0
        self.output = bytearray()  # all that its commands said
        self.results: dict[str, Any] | None = None
        self.ended: tuple[str, str | None] | None = None  # as its exit record says, once that is durable
        self.was_killed = False  # an executor of it was
        self.lost_power = False  # it was running then
        self.had_full_disk = False
        self.is_end_torn = False  # its executor died while it made the exit record durable
        self.told: Told | None = None  # the end that its worker told


class Execution:
    """One executor process."""

    def __init__(self, machine: Machine, run_id: str, rng: random.Random, pieces: int | None = None) -> None:
        self.run_id = run_id
        self.fuse = Fuse()
        self.should_abort = False
        self.is_over = False
        self.is_waiting = False  # its command says nothing, and does not end
        self._machine = machine
        self._rng = rng
        self._deed = machine.world.deed(run_id)
        self._disk = SimJournalDisk(machine.platter, self.fuse)
        self._directory = RunDirectory(str(machine.directory / "runs" / run_id), self._disk)
        self._lock: int | None = None
        self._output: Output | None = None
        self._notes: Notes | None = None
        self._results: SavedResults | None = None
        self._started_at: float | None = None
        self._has_failed = False
        self.left = rng.randrange(6) if pieces is None else pieces
        self._status: tuple[str, str | None] = rng.choice((("succeeded", None), ("failed", "exit_code")))

    def step(self) -> None:
        """Do the next small thing."""
        self._disk.is_full = self._machine.disk.is_full
        try:
            self._step()
        except Died:
            self.kill()
        except OSError:  # the disk was full before the run began: it ends so, as with the real one
            self._has_failed = True
            self._status = ("errored", "disk_full")

    def kill(self) -> None:
        """kill -9 of the executor; its command dies with it (F05)."""
        if not self.is_over and self._lock is not None:
            self._deed.was_killed = True
        self.close()

    def close(self) -> None:
        """The process is gone, with its descriptors and its lock."""
        self.is_over = True
        if self._lock is not None:
            close_under(self._machine.directory / "runs" / self.run_id)
            self._lock = None

    def _step(self) -> None:
        if self._lock is None:
            self._take()
        elif self._output is None:
            self._prepare()
        elif self._has_failed:
            self._end()
        elif self._started_at is None and not self._directory.has(rundir.ABORT):
            self._begin()
        elif self.is_waiting:
            pass
        elif self.left and not self._directory.has(rundir.ABORT):
            self.left -= 1
            self._work()
        else:
            self._end()

    def _take(self) -> None:
        """As ``gate.take``: only one, and only if the run was never begun."""
        try:
            lock = self._directory.lock()
        except FileNotFoundError:
            lock = None
        if lock is None:
            self.is_over = True
        elif gate.has_begun(self._directory, self._directory.path) or self._directory.has(rundir.EXIT):
            os.close(lock)
            self.is_over = True
        else:
            self._lock = lock

    def _prepare(self) -> None:
        os.makedirs(self._directory.file(rundir.JOB), exist_ok=True)
        self._directory.reserve(rundir.EXIT, rundir.ABORT)
        self._notes = Notes(self._directory.file(rundir.NOTES), self._disk)
        self._output = Output(self._directory, 1 << 30, self._machine.boot, self._notes.add)
        self._results = SavedResults(self._directory)

    def _begin(self) -> None:
        """``started.json`` is durable, then the gate opens (5.6)."""
        assert self._notes is not None
        at = round(self._machine.world.now, 3)
        started = {"format": 1, "boot": self._machine.boot, "at": at}
        gate.note_begun(self._directory, self._directory.path, started)
        self._started_at = at
        self._deed.starts += 1
        self._machine.world.note_start(self._deed)
        self._notes.add("began", phase="commands", index=0, name=None, offset=0, command="work")

    def _work(self) -> None:
        assert self._output is not None and self._results is not None
        piece = self._rng.randbytes(self._rng.choice(PIECES))
        self._deed.output += piece
        self._deed.had_full_disk |= self._disk.is_full
        self._output.write(piece)
        self._output._retry_at = float("inf")  # a full disk is tried again at the end, not after a second of real time
        if self._rng.random() < 0.4:
            self._output.sync()
        if self._rng.random() < 0.2 and not self._disk.is_full:
            self._deed.results = {"seen": len(self._deed.output), "text": "x" * self._rng.choice((0, 0, 70_000))}
            with open(self._directory.file(rundir.RESULTS_FILE), "w") as file:
                json.dump(self._deed.results, file)
            self._results.look()

    def _end(self) -> None:
        """As ``executor._flush`` and ``record``: streams durable, then the exit record, the truth from then on."""
        assert self._output is not None and self._notes is not None and self._results is not None
        if self._disk.is_full:
            return  # the real one waits a minute for room; the simulated one as long as it takes
        is_aborted = self._directory.has(rundir.ABORT) and not self._has_failed
        status, reason = ("aborted", "requested") if is_aborted else self._status
        if self._started_at is not None:
            self._notes.add("ended", phase="commands", index=0, offset=self._output.size, seconds=0.1, code=0)
        self._output.finish()
        self._results.keep()
        self._notes.flush()
        streams = {"0": (self._output.size, self._output.digest()), "2": (self._notes.size, self._notes.digest())}
        if self._results.large is not None:
            streams["1"] = (len(self._results.large), rundir.sha256(self._results.large))
        record = {
            "format": 1,
            "status": status,
            "reason": reason,
            "sentence": reason or "",
            "code": {"succeeded": 0, "failed": 3}.get(status),
            "started_at": self._started_at,
            "at": round(self._machine.world.now, 3),
            "sizes": {stream: size for stream, (size, _) in streams.items()},
            "sha256": {stream: digest for stream, (_, digest) in streams.items()},
            "seq": self._results.seq,
            "notes": list(self._output.remarks),
        }
        try:
            self._directory.write_exit(record)
        except Died:
            self._deed.is_end_torn = True
            raise
        finally:
            if self._directory.has(rundir.EXIT):  # killed just after the rename: it is the truth all the same
                self._deed.ended = (status, reason)
        self.close()
