"""The worker's side of the starter process: started, spoken to, and started again when it dies."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import appliance
from appliance.worker.starter import PROGRAM

_log = logging.getLogger(__name__)
_AGAIN_FIRST, _AGAIN_MOST = 0.1, 5.0  # seconds before a dead starter is replaced
_SWEEP_WITHIN = 5.0  # seconds
_ROOT = str(Path(appliance.__file__).resolve().parent.parent)


class Starter:
    """A process that forks executors on request. Its death harms no run: executors outlive it."""

    def __init__(
        self, *, ready: Callable[[], None], forked: Callable[[str, int], None], failed: Callable[[str, str], None]
    ) -> None:
        """``ready``: a new process is up, what was asked before may be lost, ask again.

        ``forked`` gets a run and its executor's pid, ``failed`` a run and why.
        """
        self._ready, self._forked, self._failed = ready, forked, failed
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_up = asyncio.Event()
        self._sweeps: dict[str, asyncio.Future[int]] = {}

    async def start(self) -> None:
        """Start it; returns when it is ready, or has failed once (then it is tried again in the background)."""
        self._task = asyncio.create_task(self._keep_up(), name="starter")
        up = asyncio.create_task(self._is_up.wait())
        await asyncio.wait([up], timeout=10.0)
        up.cancel()

    async def stop(self) -> None:
        """End it and wait for it. Executors go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def pid(self) -> int | None:
        """Of the process that is up now."""
        return self._process.pid if self._process is not None and self._is_up.is_set() else None

    def request(self, launch: dict[str, Any]) -> bool:
        """Ask for an executor (see ``executor.execute``). False: no starter is up; ``ready`` will follow."""
        if self._process is None or not self._is_up.is_set():
            return False
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(launch).encode() + b"\n")
        return True

    async def sweep(self, run_id: str) -> int:
        """End what executors that are gone have left behind; answers how many processes, 0 when no starter is up.

        ``run_id`` names the question only: a stray process does not say whose it was.
        """
        if self._process is None or not self._is_up.is_set():
            return 0
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._sweeps[run_id] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"sweep": run_id}).encode() + b"\n")
        try:
            async with asyncio.timeout(_SWEEP_WITHIN):
                return await answer
        except TimeoutError:
            return 0
        finally:
            self._sweeps.pop(run_id, None)

    async def _keep_up(self) -> None:
        again = _AGAIN_FIRST
        while True:
            try:
                if await self._serve():
                    again = _AGAIN_FIRST
            except OSError as error:
                _log.error("the starter process cannot be started: %s", error)
            await asyncio.sleep(again)
            again = min(again * 2, _AGAIN_MOST)

    async def _serve(self) -> bool:
        """One life of the process; answers whether it ever was ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-X", "utf8", "-c", PROGRAM, _ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the worker's terminal is not for it, nor for the executors
        )  # fmt: skip
        self._process = process
        was_ready = False
        assert process.stdout is not None and process.stdin is not None
        try:
            async for line in process.stdout:
                word, _, rest = line.decode().rstrip("\n").partition(" ")
                run_id, _, rest = rest.partition(" ")
                if word == "ready":
                    was_ready = True
                    self._is_up.set()
                    self._ready()
                elif word == "forked":
                    self._forked(run_id, int(rest))
                elif word == "swept":
                    if (answer := self._sweeps.get(run_id)) is not None and not answer.done():
                        answer.set_result(int(rest))
                elif word == "failed":
                    self._failed(run_id, rest)
            _log.warning("the starter process ended; another one follows")
        finally:
            self._is_up.clear()
            for answer in self._sweeps.values():
                if not answer.done():
                    answer.set_result(0)
            process.stdin.close()  # which ends it
            await process.wait()
        return was_ready
