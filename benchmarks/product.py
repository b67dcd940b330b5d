"""The product under measurement: made, started and spoken to as a user would, on a temporary directory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from appliance.client import TERMINAL, Client
from benchmarks.contestant import Moments, free_port, moments
from benchmarks.jobs import COMMANDS, LOG_SIZE
from benchmarks.processes import below, end_all, start, stop, wait_until

ORCHESTRA = (sys.executable, "-m", "appliance")
PROJECT = "bench"
_USER, _PASSWORD = "bench", "violet-harbour-41-measures"
# What would stop a measurement: many triggers within a second are exactly what is measured.
_LIMITS = {"triggers_per_minute": 1_000_000, "trigger_burst": 1_000_000, "password_iterations": 100_000}
_CLEAN = dict.fromkeys(("ORCHESTRA_DATA", "ORCHESTRA_URL", "ORCHESTRA_TOKEN"), "")


class Product:
    """A server with the jobs of ``jobs.COMMANDS`` in project ``bench``, and one worker with so many slots."""

    name = "product"

    def __init__(self, slots: int, *, has_worker: bool = True) -> None:
        with ExitStack() as self._stack:
            self._begin(slots, has_worker)
            self._stack = self._stack.pop_all()  # all is well: end it only when told

    def _begin(self, slots: int, has_worker: bool) -> None:
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self._stack.callback(self._end_what_is_left)
        self.data = self._home / "server"
        self.output = self._home / "output"
        self._environment = {**os.environ, **_CLEAN, "HOME": str(self._home)}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._make()
        self.server = self.start_server()
        with Client(self.url) as newcomer:
            newcomer.login(_USER, _PASSWORD)
            self.token = str(newcomer.create_token("measurements")["token"])
        self._client = self._stack.enter_context(Client(self.url, self.token))
        self.worker = self.start_worker(slots) if has_worker else self.server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # Making and starting.

    def orchestra(self, *arguments: str, text: str = "") -> str:
        """Run a command of the product; answers what it prints. Raises RuntimeError with what it said."""
        done = subprocess.run(
            [*ORCHESTRA, *arguments], input=text, capture_output=True, text=True, env=self._environment, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"orchestra {' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start_server(self) -> subprocess.Popen[bytes]:
        """Start ``orchestra serve`` and wait until it is ready."""
        server = start(
            [*ORCHESTRA, "serve", "--config", str(self.data / "orchestra.toml")], self.output, self._environment
        )
        self._stack.callback(stop, server)
        wait_until("the server is ready", lambda: server.poll() is not None or self.is_ready())
        if server.poll() is not None:
            raise RuntimeError(f"the server ended:\n{self.output.read_text(errors='replace')[-4000:]}")
        return server

    def start_worker(self, slots: int, name: str = "bench") -> subprocess.Popen[bytes]:
        """Join a worker and run it; ready when the server says that it is active."""
        token = self._client.create_worker(name)["token"]
        data = self.worker_mark(name)
        self.orchestra(
            *("worker", "join", self.url, "-", "--name", name, "--slots", str(slots), "--data", str(data)), text=token
        )
        worker = start(
            [*ORCHESTRA, "worker", "run", "--config", str(data / "worker.toml")],
            self.output,
            self._environment | {"BENCH_WORKER": str(self.worker_mark(name))},
        )
        self._stack.callback(stop, worker)
        wait_until("the worker is active", lambda: self._client.worker(name)["is_active"])
        return worker

    def is_ready(self) -> bool:
        """Whether ``/ready`` says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def worker_mark(self, name: str = "bench") -> Path:
        """The worker's data directory, by which ``processes.below`` finds all of its processes."""
        return self._home / f"worker-{name}"

    def _make(self) -> None:
        self.orchestra("init", str(self.data), "--admin", _USER, "--password-stdin", text=_PASSWORD + "\n")
        limits = "".join(f"{key} = {value}\n" for key, value in _LIMITS.items())
        settings = f'[server]\nlisten = "127.0.0.1:{self.port}"\n[projects]\npaths = ["bench"]\n[limits]\n{limits}'
        (self.data / "orchestra.toml").write_text(settings)
        projects = self.data / "bench"
        projects.mkdir(mode=0o700)
        jobs = [{"identifier": name, "definition": {"commands": [command]}} for name, command in COMMANDS.items()]
        (projects / "bench.yaml").write_text(json.dumps({"projects": [{"identifier": PROJECT, "jobs": jobs}]}))

    def _end_what_is_left(self) -> None:
        """Runs outlive their worker by design: executors and commands are ended here."""
        end_all(below(self._home))

    # Running.

    def trigger(self, job: str) -> str:
        """A new run; answers its id."""
        return str(self._client.trigger(PROJECT, job)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A run's document."""
        return self._client.run(run_id)

    def count(self, job: str, statuses: Sequence[str]) -> int:
        """How many runs of a job have one of these statuses."""
        return sum(1 for _ in self._client.runs(project=PROJECT, job=job, status=tuple(statuses)))

    def wait_for_all(self, job: str, limit: float = 300.0) -> None:
        """Wait until no run of a job is live. Raises RuntimeError if one did not succeed."""
        live = ("pending", "assigned", "running", "lost")
        wait_until(
            f"all runs of {job} ended",
            lambda: not list(self._client.runs(project=PROJECT, job=job, status=live, limit=1)),
            limit,
            gap=0.02,
        )
        bad = list(self._client.runs(project=PROJECT, job=job, status=("failed", "errored", "aborted"), limit=1))
        if bad:
            raise RuntimeError(f"a measured run did not succeed: {bad[0]['sentence']}")

    def run_many(self, job: str, count: int) -> float:
        """See Contestant."""
        begun = time.perf_counter()
        for _ in range(count):
            self.trigger(job)
        self.wait_for_all(job)
        return time.perf_counter() - begun

    def run_watched(self) -> Moments:
        """See Contestant. The client holds an open events socket, as a page or ``--follow`` does."""
        with self._events() as events:
            begun = time.time()
            run_id = self.trigger("stamp")
            returned = time.time()
            events.send(json.dumps({"subscribe": "log", "run": run_id, "offset": 0}))
            output, first, finished = b"", 0.0, 0.0
            while not (finished and output.endswith(b"\n")):
                message = events.recv(timeout=60)
                if isinstance(message, bytes):
                    if uuid.UUID(bytes=message[:16]) == uuid.UUID(run_id) and len(message) > 24:
                        first = first or time.time()
                        output += message[24:]
                    continue
                said = json.loads(message)
                if said.get("type") == "run" and said["run"]["id"] == run_id and said["run"]["status"] in TERMINAL:
                    finished = finished or time.time()
        return moments(begun, returned, output, first, finished)

    def run_log(self) -> float:
        """See Contestant."""
        begun = time.perf_counter()
        run_id = self.trigger("big-log")
        run = self._client.wait(run_id)
        seconds = time.perf_counter() - begun
        if run["status"] != "succeeded" or run["log"]["size"] != LOG_SIZE or not run["log"]["verified"]:
            raise RuntimeError(f"the log job ended {run['status']} with log {run['log']}: {run['sentence']}")
        return seconds

    def abort_watched(self) -> tuple[float, float]:
        """Abort a running sleep: seconds from the request until its process was gone, and until a client was told.

        The client holds an open events socket, as a page does.
        """
        with self._events() as events:
            run_id = self.trigger("sleep")
            started = self.worker_mark() / "runs" / run_id / "started.json"
            wait_until("the command is running", lambda: self.run(run_id)["started_at"])
            process = os.pidfd_open(json.loads(started.read_text())["child"])
            with ThreadPoolExecutor(1) as thread:
                begun = time.monotonic()
                ends = thread.submit(_ended_at, process)
                self._client.abort(run_id)
                said: dict[str, Any] = {}
                while not (said.get("type") == "run" and said["run"]["id"] == run_id and said["run"]["finished_at"]):
                    said = json.loads(events.recv(timeout=60))
                told = time.monotonic()
                gone = ends.result()
            os.close(process)
        if said["run"]["status"] != "aborted":
            raise RuntimeError(f"an aborted run ended as {said['run']['status']}")
        return gone - begun, told - begun

    def abort(self, run_ids: Sequence[str]) -> None:
        """Ask all these runs to end, and wait until they have."""
        for run_id in run_ids:
            self._client.abort(run_id)
        for run_id in run_ids:
            self._client.wait(run_id)

    def _events(self) -> ClientConnection:
        socket = connect(
            f"ws://127.0.0.1:{self.port}/api/v1/events",
            additional_headers={"Authorization": f"Bearer {self.token}"},
            compression=None,
        )
        socket.send(json.dumps({"subscribe": "runs", "project": PROJECT}))
        return socket


def _ended_at(process: int) -> float:
    """Wait until the process of this pidfd has ended: the monotonic time then."""
    select.select([process], [], [], 60)
    return time.monotonic()
