"""The worker's view of its executors: launch, watch, abort. Runs on the worker's event loop; never holds a run up.

An executor needs nothing of this once it is launched: it goes on when the worker dies, and the next worker's
supervisor adopts it (F03). What is told here is read from the run directories; datagrams and pidfds only say when to
look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from appliance.wire import NOTES, OUTPUT, RESULTS_INLINE
from appliance.wire.local_runs import Record
from appliance.worker import processes, rundir
from appliance.worker.environment import inherited as of_commands
from appliance.worker.journal import Journal, Recovered
from appliance.worker.launching import Starter
from appliance.worker.live_run import LiveRun, Watcher
from appliance.worker.notes import NO_SPACE
from appliance.worker.poke import OVER, listen
from appliance.worker.rundir import Damaged

_log = logging.getLogger(__name__)

_SWEEP_EVERY = 1.0  # seconds; what a lost datagram costs at most
_LAUNCHES = 5  # executors tried for a run that never began, before it ends ``start_failed``
_SETTLES = 3  # tries, a second apart, to write the end of a run whose executor is gone
_LAUNCH_WITHIN = 10.0  # seconds in which a launched executor must show itself


class Supervisor:
    """Owns the starter process and watches every live run of a journal."""

    def __init__(
        self,
        journal: Journal,
        watcher: Watcher,
        *,
        environment: Mapping[str, str] | None = None,
        inherited: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> None:
        """``environment``: of the worker's settings; commands see it, and ``{environment[...]}`` names it.

        ``inherited``: what commands get from the worker's own environment (PATH, HOME ...); give the whole, only the
        names of ``environment.INHERITED`` are used. ``watcher``: a WorkerEnd fits, if it wakes the sender.
        ``group``: the control group in which each run gets one, as ``control_group.divide`` answers it.
        """
        self._journal = journal
        self._watcher = watcher
        self._environment = dict(environment or {})
        self._base = of_commands(inherited or {})
        self._group = group
        self._starter = Starter(ready=self._relaunch, forked=self._forked, failed=self._failed)
        self._live: dict[str, LiveRun] = {}
        self._socket: socket.socket | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()  # settling runs, emptying the trash

    async def start(self, recovered: Recovered) -> None:
        """Start the starter process, adopt ``running`` and launch ``waiting`` runs that lack no secrets."""
        self._socket = listen(str(self._journal.directory))
        asyncio.get_running_loop().add_reader(self._socket, self._poked)
        for run_id in recovered.running:
            live = self._add(run_id)
            with contextlib.suppress(Damaged, OSError):  # the sweep finds what can be found
                self._adopt(run_id, live)
        for run_id in recovered.waiting:
            self.launch(run_id)
        self._sweep = asyncio.create_task(self._sweep_for_ever(), name="sweep")
        await self._starter.start()

    async def stop(self) -> None:
        """Stop watching and end the starter process. No executor notices (F04)."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)
        await self._starter.stop()
        await asyncio.gather(*self._work, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for live in self._live.values():
            self._unwatch(live)
        self._live.clear()  # a late callback finds nothing
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def live(self) -> frozenset[str]:
        """Runs that are launched and have not exited: the slots in use."""
        return frozenset(self._live)

    @property
    def starter_pid(self) -> int | None:
        """Of the starter process, while one is up."""
        return self._starter.pid

    def launch(self, run_id: str) -> None:
        """Start an executor for an accepted run. Safe to repeat: a run is never executed twice (I2).

        A run that lost its secrets waits for ``Journal.give_secrets`` and another call.
        """
        run = self._journal.run(run_id)
        if run is not None and run.record is None and not run.needs_secrets and run_id not in self._live:
            self._ask_for_executor(run_id, self._add(run_id))

    def abort(self, run_id: str, grace: float) -> None:
        """Make the intent durable, then end the run (F27). Repeated, or after its end: no effect. Raises OSError."""
        if not self._journal.intend_abort(run_id, grace):
            return
        if run_id in self._live:
            self._signal(run_id)  # without an executor yet: it looks for the intent before it begins
        elif self._journal.end_unstarted(run_id, "aborted", "requested", "aborted before its first command began"):
            self._tell_end(run_id, self._add(run_id))

    def _signal(self, run_id: str) -> None:
        live = self._live[run_id]
        if live.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(live.pidfd, signal.SIGTERM)

    # ---- executors come

    def _add(self, run_id: str) -> LiveRun:
        live = self._live[run_id] = LiveRun(self._journal.run_directory(run_id))
        return live

    def _ask_for_executor(self, run_id: str, live: LiveRun) -> None:
        secrets = self._journal.secrets_file(run_id)
        launch: dict[str, Any] = {
            "run": run_id,
            "directory": live.directory.path,
            "secrets": None if secrets is None else str(secrets),
            "boot": self._journal.boot_id,
            "base": self._base,
            "environment": self._environment,
            "group": self._group,
        }
        if self._starter.request(launch):
            live.launches += 1
            live.is_asked = True
            live.launched_at = asyncio.get_running_loop().time()

    def _relaunch(self) -> None:
        """A new starter is up: what the old one was asked, and did not do, is asked again."""
        for run_id, live in list(self._live.items()):
            with contextlib.suppress(OSError):  # the sweep tries again
                if live.pidfd is None and not self._journal.has_begun(run_id) and not live.directory.is_locked():
                    self._ask_for_executor(run_id, live)

    def _forked(self, run_id: str, pid: int) -> None:
        live = self._live.get(run_id)
        if live is not None:
            live.is_asked = False
            if live.pidfd is None:
                self._watch(run_id, live, pid)

    def _failed(self, run_id: str, why: str) -> None:
        if run_id in self._live:
            _log.error("no executor could be forked for run %s: %s", run_id, why)
            self._live[run_id].is_asked = False  # the sweep tries again

    def _adopt(self, run_id: str, live: LiveRun) -> None:
        """Watch an executor that somebody else launched. Its pid is what it wrote into the lock it holds."""
        found = live.directory.executor()
        if found is not None and processes.start_time(found[0]) == found[1]:
            self._watch(run_id, live, found[0])
            if live.directory.has(rundir.ABORT):
                self._signal(run_id)  # the worker may have died between the intent and the signal

    def _watch(self, run_id: str, live: LiveRun, pid: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            live.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(self._gone, run_id)  # it is over already
            return
        live.is_gone = False
        loop.add_reader(live.pidfd, self._gone, run_id)

    def _unwatch(self, live: LiveRun) -> None:
        if live.pidfd is not None:
            asyncio.get_running_loop().remove_reader(live.pidfd)
            os.close(live.pidfd)
            live.pidfd = None

    # ---- what they do

    def _poked(self) -> None:
        assert self._socket is not None
        words: dict[str, bool] = {}  # run id -> whether its executor has said that the end is durable
        with contextlib.suppress(BlockingIOError):
            for _ in range(256):
                run_id, over, _ = self._socket.recv(64).decode("ascii", "replace").partition(OVER.decode())
                words[run_id] = bool(over) or words.get(run_id, False)
        for run_id in words.keys() & self._live.keys():
            live = self._live[run_id]
            live.is_recorded = words[run_id] and live.directory.has(rundir.EXIT)
            self._look(run_id)

    def _look(self, run_id: str) -> None:
        """Tell what is new of a run. Whatever is wrong with one run stays with it (J07)."""
        live = self._live.get(run_id)
        if live is None or live.is_settling:
            return
        try:
            if live.directory.has(rundir.EXIT):
                self._tell_end(run_id, live)
            else:
                self._tell_progress(run_id, live)
        except Damaged as error:
            if not live.directory.is_locked():
                self._repair(run_id, live, error)
            else:  # the executor lives, and writes the true record when it ends
                with contextlib.suppress(Damaged, OSError):
                    self._tell_progress(run_id, live)
        except Exception:
            _log.exception("run %s cannot be looked at", run_id)

    def _repair(self, run_id: str, live: LiveRun, error: Damaged) -> None:
        """The job, or a bad disk, has spoilt our files of a run that is over: it ends all the same (J07, I1)."""
        _log.error("run %s: %s; it is ended", run_id, error)
        for name in (rundir.EXIT, rundir.STARTED):
            try:
                live.directory.read_object(name)
            except Damaged:
                live.directory.set_aside(name)
            else:
                if name == rundir.EXIT and live.directory.has(name):
                    live.directory.set_aside(name)  # JSON, but no exit record
        self._unwatch(live)
        live.is_settling = True
        self._spawn(self._settle(run_id, live))

    def _tell_progress(self, run_id: str, live: LiveRun) -> None:
        if not live.is_started:
            started = live.directory.read_object(rundir.STARTED)
            if started is None:
                return
            live.is_started = True
            at = started.get("at")
            self._watcher.started(run_id, float(at) if isinstance(at, int | float) else time.time())
        sizes = {stream: size for stream, size in live.directory.sizes().items() if stream != 1}
        if sizes != live.sizes:
            live.sizes = sizes
            self._watcher.grew(run_id, dict(sizes))
        try:
            found = os.stat(live.directory.file(rundir.LIVE))
        except FileNotFoundError:
            return
        state = (found.st_ino, found.st_mtime_ns)
        if state != live.results_file and (results := live.directory.live_results()) is not None:
            live.results_file = state
            if len(results[1]) <= RESULTS_INLINE:
                self._watcher.results(run_id, *results)

    def _tell_end(self, run_id: str, live: LiveRun) -> None:
        if not live.is_recorded:
            # What is told stays so: its executor may have been killed before the name of the record was durable.
            live.directory.disk.sync_directory(live.directory.path)
        record = self._journal.record(run_id)
        sizes = self._journal.sizes(run_id)
        assert record is not None
        self._unwatch(live)
        del self._live[run_id]
        if record.started_at is not None and not live.is_started:
            self._watcher.started(run_id, record.started_at)
        self._watcher.exited(run_id, sizes, record)

    # ---- executors go

    def _gone(self, run_id: str) -> None:
        """The pidfd is readable: the executor has ended, well or not."""
        live = self._live.get(run_id)
        if live is None:
            return
        self._unwatch(live)
        live.is_gone = True
        self._look(run_id)
        try:
            if run_id in self._live:
                self._find_executor(run_id, live)
        except (Damaged, OSError) as error:
            self._refused(run_id, live, error)

    def _refused(self, run_id: str, live: LiveRun, error: Damaged | OSError) -> None:
        """The disk did not let us find out, or write, how a run ended. The sweep tries again, a few times."""
        live.failures += 1
        _log.error("run %s: %s", run_id, error)
        if live.failures >= _SETTLES and live.is_gone and live.is_started and isinstance(error, OSError):
            self._tell_unwritten(run_id, live, error)

    def _find_executor(self, run_id: str, live: LiveRun) -> None:
        """There is no end and nobody is watched: is there another executor, an end to be written, or one to launch?"""
        if live.is_settling or live.pidfd is not None:
            return
        with contextlib.suppress(FileNotFoundError):
            live.directory.open_up()
        if live.directory.is_locked():
            self._adopt(run_id, live)
        elif live.is_started or self._journal.has_begun(run_id):  # whatever its job left of it (I2)
            live.is_settling = True
            self._spawn(self._settle(run_id, live))
        elif live.launches >= _LAUNCHES:
            if self._journal.end_unstarted(
                run_id, "errored", "start_failed", "the worker could not start an executor; its log says why"
            ):
                self._look(run_id)
        elif asyncio.get_running_loop().time() - live.launched_at >= self._patience(live):
            self._ask_for_executor(run_id, live)

    def _patience(self, live: LiveRun) -> float:
        """Seconds after a launch before the next: at once when the first executor died, then longer and longer."""
        if live.is_asked:
            return _LAUNCH_WITHIN
        return 0.0 if live.launches <= 1 else 0.25 * 2**live.launches

    async def _settle(self, run_id: str, live: LiveRun) -> None:
        """In a thread, because it reads the whole log."""
        _log.warning("the executor of run %s is gone without an exit record", run_id)
        await self._starter.sweep(run_id)
        try:
            await asyncio.to_thread(self._journal.settle, run_id)
        except OSError as error:
            live.is_gone = live.is_started = True
            self._refused(run_id, live, error)
        finally:
            live.is_settling = False
        self._look(run_id)

    def _tell_unwritten(self, run_id: str, live: LiveRun, error: OSError) -> None:
        """The disk takes no exit record. The master hears of the end all the same, and keeps what it has (F17, F18)."""
        if self._live.get(run_id) is not live:
            return
        processes.kill_carrying(run_id)
        is_full = error.errno in NO_SPACE
        why = "the disk of the worker is full" if is_full else "storage error on the worker"
        empty = rundir.sha256(b"")
        record = Record(
            status="errored",
            at=round(time.time(), 3),
            digests={OUTPUT: empty, NOTES: empty},
            reason="disk_full" if is_full else "internal_error",
            sentence=f"{why}: the end of the run could not be written: {error.strerror}",
        )
        self._unwatch(live)
        del self._live[run_id]
        self._watcher.exited(run_id, {OUTPUT: 0, NOTES: 0}, record)

    async def _sweep_for_ever(self) -> None:
        """The safety net: what a lost datagram, signal or answer would leave undone."""
        while True:
            for run_id, live in list(self._live.items()):
                self._look(run_id)
                if run_id in self._live:
                    try:
                        self._find_executor(run_id, live)
                    except (Damaged, OSError) as error:
                        self._refused(run_id, live, error)
            if self._journal.has_trash and not self._work:
                self._spawn(asyncio.to_thread(self._journal.empty_trash))
            await asyncio.sleep(_SWEEP_EVERY)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s: %s", type(error).__name__, error)
