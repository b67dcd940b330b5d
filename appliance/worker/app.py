"""The worker's composition root: builds its few parts and runs them until it is told to stop."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import platform
import signal
from typing import Any

from appliance.clock import SystemClock
from appliance.config import WorkerSettings, environment, notify_socket, read_worker_token, runtime_directory
from appliance.logging_setup import set_up_logging
from appliance.model.caps import request_digest
from appliance.notifier import Notifier
from appliance.wire.local_runs import Record
from appliance.wire.worker_end import WorkerEnd
from appliance.worker.control_group import divide
from appliance.worker.journal import Journal
from appliance.worker.link import Link, system_random
from appliance.worker.room import kept_bytes
from appliance.worker.supervisor import Supervisor

_log = logging.getLogger(__name__)

TRIM_EVERY = 60.0  # seconds
NOTIFY_EVERY = 2.0  # seconds; our units wait a minute


def run_worker(settings: WorkerSettings, *, once: bool = False, idle_exit: float | None = None) -> int:
    """Be a worker until SIGTERM or SIGINT. Answers the exit code.

    ``once``: stop when one run is finished and stored by the master. ``idle_exit``: stop after so many seconds without
    a run (W8). Raises ConfigurationError, and Conflict when another process uses the data directory.
    """
    set_up_logging(settings.log.level)
    return asyncio.run(WorkerProcess(settings, once=once, idle_exit=idle_exit).run())


def own_properties(settings: WorkerSettings) -> dict[str, Any]:
    """What a worker says of itself: the machine, then the settings over it (W1)."""
    found: dict[str, Any] = {
        "os": platform.system().lower(),
        "architecture": platform.machine(),
        "hostname": platform.node(),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    return {**found, **settings.worker.properties}


class WorkerProcess:
    """One life of a worker: journal, supervisor, link. Also what the supervisor tells, passed on to the link."""

    def __init__(self, settings: WorkerSettings, *, once: bool, idle_exit: float | None) -> None:
        self._settings = settings
        self._once = once
        self._idle_exit = idle_exit
        self._notifier = Notifier(*notify_socket())
        self._journal = Journal(settings.worker.data, runtime=runtime_directory())
        self._stopping = asyncio.Event()
        self._idle_since = 0.0

    async def run(self) -> int:
        """Run until it is told to stop; executors go on (F04)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        token = read_worker_token(self._settings)
        journal = self._journal
        journal.open()
        try:
            recovered = journal.recover()
            worker = self._settings.worker
            self._end = WorkerEnd(journal.identity, journal.runs(), request_digest)
            self._supervisor = Supervisor(
                journal,
                self,
                environment={"ORCHESTRA_URL": worker.url, **worker.environment},
                inherited=environment(),
                group=divide(),
            )
            self._link = Link(
                url=worker.url,
                token=token,
                slots=worker.slots,
                properties=own_properties(self._settings),
                end=self._end,
                journal=journal,
                supervisor=self._supervisor,
                clock=SystemClock(),
                on_commit=self._committed,
                random=system_random,
                min_free=worker.min_free,
            )
            loop.add_signal_handler(signal.SIGHUP, self._link.hurry)
            await self._supervisor.start(recovered)
            self._notifier.ready(self._state())
            await self._until_stopped()
            self._notifier.stopping(f"stopping; jobs that go on without this worker: {len(self._supervisor.live)}")
            if going_on := len(self._supervisor.live):
                runs = "1 run goes" if going_on == 1 else f"{going_on} runs go"
                _log.info("stopping; %s on without this worker, which takes up its runs again when it starts", runs)
            await self._supervisor.stop()
        finally:
            journal.close()
        return 0

    async def _until_stopped(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle_since = loop.time()
        tasks = [
            loop.create_task(self._link.run(), name="link"),
            loop.create_task(self._trim(), name="trim"),
            loop.create_task(self._notify(), name="notify"),
            loop.create_task(self._stopping.wait(), name="stopping"),
        ]
        if self._idle_exit is not None:
            tasks.append(loop.create_task(self._watch_idle(self._idle_exit), name="idle"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _notify(self) -> None:
        """Tell systemd that this loop, on which everything hangs, is not stuck; and how the worker is."""
        if self._notifier.watchdog is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then shows in the journal what it was stuck in
        told = ""
        while True:
            self._notifier.alive()
            if (state := self._state()) != told:
                self._notifier.status(state)
                told = state
            await asyncio.sleep(min(NOTIFY_EVERY, (self._notifier.watchdog or NOTIFY_EVERY) / 3))

    def _state(self) -> str:
        """In a line: where the server is, and what runs here."""
        url = self._settings.worker.url
        link = f"connected to {url}" if self._end.is_welcome else self._link.last_trouble or f"connecting to {url}"
        return f"{link}; jobs: {len(self._supervisor.live)}"

    async def _trim(self) -> None:
        """Delete what has waited for its retention, and only that (I5)."""
        worker = self._settings.worker
        while True:
            keep_bytes = kept_bytes(worker.data, worker.retention_size)
            for run_id in self._journal.trim(keep_seconds=worker.retention, keep_bytes=keep_bytes):
                self._end.removed(run_id)
            for _ in range(round(TRIM_EVERY)):
                await asyncio.sleep(1.0)
                if self._link.room.is_short:
                    break

    async def _watch_idle(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._idle_since + seconds - loop.time()) > 0 or self._end.runs:
            await asyncio.sleep(max(left, 0.2))
            if self._end.runs:
                self._idle_since = loop.time()

    def _committed(self, run_id: str) -> None:
        self._idle_since = asyncio.get_running_loop().time()
        if self._once:
            _log.info("run %s is finished and stored; this worker was started for one run", run_id)
            self._stopping.set()

    # ---- what the supervisor tells

    def started(self, run_id: str, at: float) -> None:
        """See ``Watcher.started``."""
        self._end.started(run_id, at)
        self._link.wake()

    def grew(self, run_id: str, sizes: dict[int, int]) -> None:
        """See ``Watcher.grew``."""
        self._end.grew(run_id, sizes)
        self._link.wake()

    def results(self, run_id: str, seq: int, value: bytes) -> None:
        """See ``Watcher.results``."""
        self._end.results(run_id, seq, value)
        self._link.wake()

    def exited(self, run_id: str, sizes: dict[int, int], record: Record) -> None:
        """See ``Watcher.exited``."""
        self._end.exited(run_id, sizes, record)
        self._link.exited(run_id)
        self._link.wake()
