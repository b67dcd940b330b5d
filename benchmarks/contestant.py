"""What is measured alike: the product and the floor, each as something that takes a job and runs it.

``Floor`` is here; the product is in ``product.py``.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.jobs import COMMANDS
from benchmarks.processes import start, stop, wait_until


@dataclass(frozen=True)
class Moments:
    """One run as its client saw it: milliseconds since just before the trigger was sent."""

    returned: float  # the trigger was answered
    began: float  # the command itself ran, by its own clock
    first_byte: float  # the first byte of the log was here
    finished: float  # the final status was here


class Contestant(Protocol):
    """A pipeline with a server process and one worker process."""

    name: str
    server: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def run_many(self, job: str, count: int) -> float:
        """Trigger ``count`` runs one after the other on one connection, wait for all; seconds from first to last."""
        ...

    def run_watched(self) -> Moments:
        """Run the stamp job once with a client waiting for it."""
        ...

    def run_log(self) -> float:
        """Run the log job once; seconds until its whole log is stored and its end is known."""
        ...


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Floor:
    """The floor pipeline (see floor.py) in two processes."""

    name = "floor"

    def __init__(self, slots: int) -> None:
        with ExitStack() as self._stack:
            self._begin(slots)
            self._stack = self._stack.pop_all()  # all is well: end it only when told

    def _begin(self, slots: int) -> None:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="floor-")))
        http_port, socket_port = free_port(), free_port()
        program = [sys.executable, "-m", "benchmarks.floor"]
        output = self._directory / "output"
        self.server = start([*program, "server", str(self._directory), str(http_port), str(socket_port)], output)
        self._stack.callback(stop, self.server)
        self._http = http.client.HTTPConnection("127.0.0.1", http_port, timeout=120)
        wait_until("the floor's server answers", self._is_up)
        self.worker = start([*program, "worker", str(socket_port), str(slots)], output)
        self._stack.callback(stop, self.worker)
        wait_until("the floor's worker is there", lambda: self._get("/")["has_worker"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._stack.close()

    def run_many(self, job: str, count: int) -> float:
        """See Contestant."""
        ended = self._get("/")["ended"]
        begun = time.perf_counter()
        for _ in range(count):
            self._trigger(job)
        wait_until("all runs ended", lambda: self._get("/")["ended"] - ended == count, 300)
        return time.perf_counter() - begun

    def run_watched(self) -> Moments:
        """See Contestant. The floor has nothing to wait on, so its client asks again and again."""
        begun = time.time()
        number = self._trigger("stamp")
        returned = time.time()
        output = b""
        while not output.endswith(b"\n"):
            output = self._raw("GET", f"/log/{number}")
        first = time.time()
        while self._get(f"/run/{number}")["state"] != "ended":
            pass
        return moments(begun, returned, output, first, time.time())

    def run_log(self) -> float:
        """See Contestant."""
        begun = time.perf_counter()
        number = self._trigger("big-log")
        wait_until("the log job ended", lambda: self._get(f"/run/{number}")["state"] == "ended", 300)
        return time.perf_counter() - begun

    def _trigger(self, job: str) -> str:
        return str(self._json(self._raw("POST", "/trigger", json.dumps({"command": COMMANDS[job]}).encode()))["id"])

    def _get(self, path: str) -> Any:
        return self._json(self._raw("GET", path))

    def _is_up(self) -> bool:
        try:
            return bool(self._get("/"))
        except OSError:
            self._http.close()
            return False

    def _raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._http.request(method, path, body)
        return self._http.getresponse().read()

    @staticmethod
    def _json(answer: bytes) -> Any:
        return json.loads(answer)


def moments(begun: float, returned: float, output: bytes, first: float, finished: float) -> Moments:
    """From wall-clock seconds, and the output of the stamp job, to milliseconds since ``begun``."""
    began = int(output.split()[0]) / 1e9
    return Moments(*(1000 * (at - begun) for at in (returned, began, first, finished)))
