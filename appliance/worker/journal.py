"""The worker's memory on disk: who it is, which runs it holds, and what became of them (reliability.md 5.1, 5.4).

    <directory>/identity.json   cluster, journal id, last (epoch, incarnation)
    <directory>/lock            flock of the one worker process that uses the journal
    <directory>/poke            datagram socket on which executors say "look at my run"
    <directory>/runs/<run id>/  see rundir.py
    <directory>/begun/<run id>  a command of the run has begun, see gate.py
    <directory>/runtime/        secrets of runs that wait for their start, unless a tmpfs is given
    <directory>/trash/          what is being deleted

Everything here blocks on the disk for a millisecond or so (an fsync each); methods that say "durable" have fsynced file
and directory when they return. One thread at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from appliance.clock import Clock, SystemClock
from appliance.model.errors import ApplianceError, Conflict, Full, Invalid, Unavailable
from appliance.wire.local_runs import Identity, LocalRun, Record
from appliance.worker import afterlife, gate, held, processes, rundir
from appliance.worker.disk import Disk, StorageTrouble
from appliance.worker.identity_file import IdentityFile
from appliance.worker.live_run import Recovered
from appliance.worker.notes import NO_SPACE
from appliance.worker.request import read_request
from appliance.worker.retention import Kept, expired
from appliance.worker.run_secrets import RunSecrets
from appliance.worker.rundir import Damaged, RunDirectory
from appliance.worker.trash import Trash
from appliance.worker.watermark import Watermark

_log = logging.getLogger(__name__)
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

READ_AHEAD = 512 << 10  # bytes of a stream read at once: a flood is sent in pieces of an eighth of that


class Journal:
    """The worker's data directory. ``open`` first, ``close`` last."""

    def __init__(
        self,
        directory: Path,
        *,
        runtime: Path | None = None,
        boot_id: str | None = None,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``runtime``: directory for the secrets of runs, best on tmpfs (S-51); default ``<directory>/runtime``.

        ``boot_id``: of this boot of the machine; default what the kernel says. ``clock``: stamps, and what has expired.
        """
        self.directory = directory.absolute()
        self.boot_id = boot_id or processes.boot_id()
        self._clock = clock or SystemClock()
        self._secrets = RunSecrets(runtime or self.directory / "runtime")
        self._ahead: tuple[tuple[str, int], int, bytes] = (("", 0), 0, b"")  # a piece of the stream read last
        self._runs = self.directory / "runs"
        self._begun = self.directory / gate.BEGUN
        self._disk = disk or Disk()
        self._trash = Trash(self.directory / "trash", self._disk)
        home = RunDirectory(str(self.directory), self._disk)
        self._identity, self.watermark = IdentityFile(home), Watermark(home)
        self._lock: int | None = None

    # ---- opening

    @property
    def identity(self) -> Identity:
        """Journal id (made with the directory), cluster and the pair last synchronised with."""
        return self._identity.identity

    def open(self) -> None:
        """Make or open the directory and take its lock. Raises Conflict when another worker process has it.

        Raises Invalid when ``identity.json`` is damaged: then nothing is touched, a person decides.
        """
        for folder in (self.directory, self._runs, self._begun, self.directory / "trash", self._secrets.directory):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise Conflict(f"another worker process uses {self.directory}: stop it, or give this one its own") from None
        self._lock = lock
        try:
            self.watermark.open()
            self._identity.open(has_runs=any(self._runs.iterdir()))
        except ApplianceError:
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back. May be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep(self, identity: Identity) -> None:
        """Make the identity durable. Raises Conflict when the cluster or the journal id would change (4005)."""
        self._identity.keep(identity)

    def recover(self) -> Recovered:
        """Look at every run once, after ``open`` and before anything else.

        Writes the exit record of runs whose executor is gone: ``executor_killed``, ``start_interrupted``, or
        ``worker_host_restarted`` after another boot (log cut to its mark, F07); ends their left-over processes;
        deletes what is torn or in the trash. A run that cannot be read is left as it is, and logged.
        What the worker before had not made durable when it was killed is made so first: else a run could be launched
        whose request a power loss takes away, and the master would give it away once more (I2).
        """
        for folder in (self._runs, self._begun):
            self._disk.sync_directory(str(folder))
        found: dict[str, list[str]] = {"running": [], "waiting": [], "ended": []}
        for run_id in sorted({*self._run_ids(), *filter(_RUN_ID.fullmatch, os.listdir(self._begun))}):
            try:
                state = self._recover(run_id)
            except (Damaged, OSError) as error:
                _log.error("run %s cannot be recovered: %s", run_id, error)
                state = "running" if isinstance(error, OSError) else None
            if state:
                found[state].append(run_id)
        self.empty_trash()
        return Recovered(**{state: tuple(run_ids) for state, run_ids in found.items()})

    def _recover(self, run_id: str) -> str | None:
        directory = self.run_directory(run_id)
        if self.has_begun(run_id):
            gate.restore(directory, self.boot_id)
        if not directory.has(rundir.REQUEST):
            self.forget(run_id)  # torn: it was never accepted
            return None
        self._disk.sync_directory(directory.path)
        if directory.has(rundir.EXIT):
            return None if directory.has(rundir.ACKED) else "ended"
        if directory.is_locked():
            return "running"
        if not self.has_begun(run_id):
            if directory.has(rundir.ABORT) and self.end_unstarted(
                run_id, "aborted", "requested", "aborted before its first command began"
            ):
                return "ended"  # its secrets may be gone with the machine's memory: it would wait for them in vain
            return "waiting"
        return "ended" if self.settle(run_id) else "running"

    # ---- reading

    def run_directory(self, run_id: str) -> RunDirectory:
        """The directory of a run, which may not exist. Raises Invalid for what is no run id."""
        if not _RUN_ID.fullmatch(run_id):
            raise Invalid(f"not the id of a run: {run_id[:40]!r}")
        return RunDirectory(str(self._runs / run_id), self._disk)

    def has_begun(self, run_id: str) -> bool:
        """Whether a command of the run may have begun: then it is never launched again (I2)."""
        directory = self.run_directory(run_id)
        return gate.has_begun(directory, directory.path)

    def runs(self) -> list[LocalRun]:
        """Every run held, as the worker's end of the protocol wants it. Committed ones have ``committed`` set."""
        return [run for run_id in self._run_ids() if (run := self.run(run_id)) is not None]

    def run(self, run_id: str) -> LocalRun | None:
        """One run as it is on disk now, or None; also None, and logged, when it cannot be read."""
        try:
            return held.read_run(self.run_directory(run_id), run_id, has_secrets=self.secrets_file(run_id) is not None)
        except (Damaged, OSError) as error:
            _log.error("run %s cannot be read: %s", run_id, error)
            return None

    def sizes(self, run_id: str) -> dict[int, int]:
        """Bytes of each stream that may be told now: none before the start, the final ones after the end."""
        return held.read_sizes(self.run_directory(run_id))

    def read(self, run_id: str, stream: int, offset: int, limit: int) -> bytes:
        """Bytes of a stream: 0 output, 1 large results, 2 notes. Empty when there are none (or no run)."""
        (ahead_of, start, ahead), key = self._ahead, (run_id, stream)
        if ahead_of == key and start <= offset and offset + limit <= start + len(ahead):
            return ahead[offset - start : offset - start + limit]  # what was written once never changes
        name = rundir.STREAM_FILES.get(stream)
        if name is None:
            return b""
        try:
            descriptor = self.run_directory(run_id).open_regular(name)
        except (Damaged, FileNotFoundError):
            return b""
        try:
            ahead = os.pread(descriptor, max(limit, READ_AHEAD), offset)
        finally:
            os.close(descriptor)
        self._ahead = (key, offset, ahead)
        return ahead[:limit]

    def results(self, run_id: str) -> tuple[int, bytes] | None:
        """(seq, JSON object) last read from the run's results file, up to RESULTS_LIMIT bytes; None: none yet."""
        return self.run_directory(run_id).live_results()

    def record(self, run_id: str) -> Record | None:
        """The exit record; None while the run has none. Raises Damaged."""
        return held.read_record(self.run_directory(run_id))

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _run_ids(self) -> Iterator[str]:
        return (name for name in sorted(os.listdir(self._runs)) if _RUN_ID.fullmatch(name))

    # ---- taking and giving back

    def accept(self, run_id: str, cap: str, request: str, secrets: Mapping[str, str]) -> None:
        """Store an assignment durably; say ``accepted`` after it, then ``Supervisor.launch``. Idempotent.

        Raises Conflict when the run is here with another request, Malformed or Invalid when the request cannot be
        run (then answer ``declined``), Full when the disk is, Unavailable when it is broken (declined too).
        Raises StorageTrouble when it cannot even be undone: then it must not be declined, for it may be here.
        """
        directory = self.run_directory(run_id)
        digest = hashlib.sha256(request.encode()).hexdigest()
        known = directory.read_object(rundir.REQUEST)
        if known is not None:
            if known["digest"] != digest:  # of a public text: it leaks nothing
                raise Conflict("another request for the same run")
            return
        read_request(request, run_id)
        stored = {
            "format": rundir.FORMAT,
            "run": run_id,
            "attempt": 1,
            "cap": cap,
            "digest": digest,
            "request": request,
            "secrets": sorted(secrets),
        }
        try:
            if secrets:
                self.give_secrets(run_id, secrets)
            os.makedirs(directory.path, mode=0o700, exist_ok=True)
            directory.replace_object(rundir.REQUEST, stored)
            self._disk.sync_directory(str(self._runs))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._secrets.remove(run_id)
            shutil.rmtree(directory.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                self._disk.sync_directory(str(self._runs))  # what is declined must not come back with the power
            if directory.has(rundir.REQUEST):
                raise StorageTrouble(f"run {run_id} can neither be stored nor removed: {error}") from None
            if error.errno in NO_SPACE:
                raise Full("the disk of the worker is full") from None
            raise Unavailable(f"storage error on the worker: {error}") from None

    def give_secrets(self, run_id: str, secrets: Mapping[str, str]) -> None:
        """Store the secrets of a run that lost them in a reboot; then ``Supervisor.launch``. Not durable (S-51)."""
        self._secrets.put(run_id, secrets)

    def secrets_file(self, run_id: str) -> Path | None:
        """The file with the run's secrets, for its executor; None when it has none."""
        return self._secrets.file(run_id)

    def intend_abort(self, run_id: str, grace: float) -> bool:
        """Make the intent to abort durable. False: it is there already, or the run has ended or is not here."""
        directory = self.run_directory(run_id)
        if not directory.has(rundir.REQUEST) or directory.has(rundir.EXIT) or directory.has(rundir.ABORT):
            return False
        directory.replace_object(rundir.ABORT, {"grace": grace, "at": self._now()})
        with contextlib.suppress(OSError):
            directory.reserve(rundir.ACKED)
        return True

    def settle(self, run_id: str) -> bool:
        """End a run that was started and whose executor is gone; False when the executor lives after all.

        Its left-over processes are ended first. Reads the whole log: best called in a thread. Raises OSError.
        """

        gate.restore(self.run_directory(run_id), self.boot_id)

        def bury(directory: RunDirectory) -> None:
            afterlife.end_processes(directory, run_id, self.boot_id)
            afterlife.bury(directory, self.boot_id)

        return self._end(run_id, bury)

    def end_unstarted(self, run_id: str, status: str, reason: str, sentence: str) -> bool:
        """End a run that was accepted and never began; False when an executor has it. Raises OSError."""
        return self._end(run_id, lambda directory: afterlife.end_unstarted(directory, status, reason, sentence))

    def set_aside(self, run_id: str, reason: str, sentence: str) -> Record:
        """Put another end in the place of one that cannot be told; what it said stays as a note (F35).

        Durable. Raises Damaged or OSError.
        """
        afterlife.set_aside(self.run_directory(run_id), self.record(run_id), reason, sentence)
        record = self.record(run_id)
        assert record is not None
        return record

    def _end(self, run_id: str, write: Callable[[RunDirectory], None]) -> bool:
        """Write an exit record in the place of the executor, holding its lock so that none can begin meanwhile."""
        directory = self.run_directory(run_id)
        lock = directory.lock()
        if lock is None:
            return False
        try:
            if not directory.has(rundir.EXIT):
                write(directory)
            self._secrets.remove(run_id)
        finally:
            os.close(lock)
        return True

    # ---- deleting

    def commit(self, run_id: str, proof: str | None = None) -> None:
        """The master has the end durably (``committed``): note that. The run is kept for its retention.

        Not durable: what the power takes away is only that it was said. The end is told again, and answered again.

        Workspace and shared files are deleted now: they are no part of what the master may ask for again (X4, X9).
        """
        directory = self.run_directory(run_id)
        if not directory.has(rundir.EXIT) or directory.has(rundir.ACKED):
            return
        for name in (rundir.WORKSPACE, rundir.JOB):
            self._trash.take(directory.file(name))
        directory.hand_on(rundir.ABORT, rundir.ACKED)
        directory.replace_object(rundir.ACKED, {"at": self._now(), "proof": proof}, is_durable=False)

    def forget(self, run_id: str) -> bool:
        """Delete the run durably. True when it is gone (or was never here); False while its executor lives.

        After False: ``Supervisor.abort`` it, and forget it again when it has exited.
        """
        directory = self.run_directory(run_id)
        if not os.path.isdir(directory.path):
            return True
        lock = directory.lock()
        if lock is None:
            return False
        try:
            gate.forget_begun(directory.path, self._disk)
            self._trash.take(directory.path)
            self._disk.sync_directory(str(self._runs))
            self._trash.sync()
            self._secrets.remove(run_id)
        finally:
            os.close(lock)
        return True

    def trim(self, *, keep_seconds: float = 86_400.0, keep_bytes: int = 2 << 30) -> list[str]:
        """Delete committed runs that are older, or oldest first beyond the bytes (I5, X4); answers their ids.

        A run that the disk does not let go stays for the next time, and is logged.
        """
        kept = []
        for run_id in self._run_ids():
            directory = self.run_directory(run_id)
            with contextlib.suppress(Damaged, OSError):
                if directory.has(rundir.EXIT) and (at := held.acked_at(directory)) is not None:
                    kept.append(Kept(at, run_id, sum(directory.sizes().values())))
        deleted = []
        over = expired(kept, self._now(), keep_seconds=keep_seconds, keep_bytes=keep_bytes)
        if not self.watermark.may_go(max((run.at for run in kept if run.run_id in over), default=0.0)):
            return []
        for run_id in over:
            try:
                if self.forget(run_id):
                    deleted.append(run_id)
            except OSError as error:
                _log.error("run %s cannot be deleted: %s", run_id, error)
        return deleted

    def empty_trash(self) -> None:
        """Delete what was thrown away. May take long: best called in a thread. Safe beside everything else."""
        self._trash.empty()

    @property
    def has_trash(self) -> bool:
        """Whether ``empty_trash`` has something to do."""
        return len(self._trash) > 0

    def free_bytes(self) -> int:
        """Free space of the journal's file system, for the beat and for declining work (F17)."""
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize


__all__ = ["Journal", "Recovered"]
