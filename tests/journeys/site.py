"""A server and workers in processes of their own, which tests may kill, stop and start again."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from appliance.client import Client

PASSWORD = "correct horse battery staple"
COMMAND = [sys.executable, "-m", "appliance"]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRA_")} | {
    "PYTHONPATH": str(ROOT)
}
LONG_ENOUGH = 90.0  # seconds after which what is waited for will not come any more

DEPLOYMENT = '''"""Clocks that a test moves: ``ahead`` is time that passes, ``jump`` what a wall shows."""

from datetime import timedelta
from pathlib import Path

from appliance.app import Appliance
from appliance.clock import SystemClock


def moved(name):
    file = Path(__file__).with_name(name)
    return float(file.read_text()) if file.exists() else 0.0


class Shifted(SystemClock):
    def now(self):
        return super().now() + timedelta(seconds=moved("ahead") + moved("jump"))

    def monotonic(self):
        return super().monotonic() + moved("ahead")


class Deployment(Appliance):
    def __init__(self, settings):
        super().__init__(settings, Shifted())
'''


class Program:
    """A child process that can be ended in several ways and started again; its stderr is kept in a file."""

    def __init__(self, arguments: list[str], log: Path, *, first_line: bytes | None = None) -> None:
        """``first_line``: how the line begins that it prints when it is ready."""
        self._arguments, self._first_line = arguments, first_line
        self.command = list(COMMAND)  # to be changed before a start
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Nothing happens if it runs."""
        if self.is_running:
            return
        with self.log.open("ab") as log:
            stdout = subprocess.PIPE if self._first_line is not None else subprocess.DEVNULL
            words = [*self.command, *self._arguments]
            self._child = subprocess.Popen(words, env=ENVIRONMENT, stdout=stdout, stderr=log)
        if self._first_line is not None:
            assert self._child.stdout is not None
            line = self._child.stdout.readline()
            assert line.startswith(self._first_line), self.log.read_text()

    def kill(self) -> None:
        """With SIGKILL."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """With SIGTERM; answers the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Until it ends by itself; answers the exit code."""
        assert self._child is not None
        try:
            return self._child.wait(LONG_ENOUGH)
        finally:
            if self._child.stdout is not None:
                self._child.stdout.close()

    def hang_up(self) -> None:
        """SIGHUP: a server reads its project files again, at a time of its own."""
        assert self._child is not None
        self._child.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """SIGSTOP: it lives, and does nothing until ``go_on``."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``pause``."""
        assert self._child is not None
        self._child.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> int:
        if self._child is None:
            return 0
        self._child.send_signal(number)
        try:
            code = self._child.wait(LONG_ENOUGH)
        finally:
            self._child.kill()
            self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()
        return code


class Site:
    """A data directory with a server and one worker called ``here``; more workers on demand."""

    def __init__(self, directory: Path, projects: dict[str, Any] | None = None, *, has_own_clock: bool = False) -> None:
        """``projects``: more of them, beside the examples."""
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        home = directory / "server"
        init = [*COMMAND, "init", str(home), "--listen", f"127.0.0.1:{self.port}", "--admin", "root"]
        subprocess.run(
            [*init, "--password-stdin"], env=ENVIRONMENT, input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL
        )
        if projects is not None:
            (home / "projects" / "journeys.yaml").write_text(json.dumps(projects))
        if has_own_clock:
            (home / "deployment.py").write_text(DEPLOYMENT)
            settings = (home / "orchestra.toml").read_text()
            factory = '[appliance]\nfactory = "deployment:Deployment"'
            (home / "orchestra.toml").write_text(settings.replace("[appliance]", factory, 1))
        self.server = Program(
            ["serve", "--data", str(home)], directory / "server.log", first_line=b"listening on http://"
        )
        self.workers: dict[str, Program] = {}
        self.server.start()
        with Client(self.url) as client:
            self.token = client.login("root", PASSWORD)["token"]
        self.client = Client(self.url, self.token)

    @property
    def worker(self) -> Program:
        """The first worker."""
        return self.workers["here"]

    def add_worker(self, name: str = "here", slots: int = 4, **properties: str) -> Program:
        """Make a worker with a process, and start it."""
        home = self.directory / name
        join = self.client.create_worker(name, properties)["join"].split()[1:]
        self.out(*join, "--slots", str(slots), "--data", str(home))
        config = str(home / "worker.toml")
        self.workers[name] = Program(["worker", "run", "--config", config], self.directory / f"{name}.log")
        self.workers[name].start()
        return self.workers[name]

    @property
    def environment(self) -> dict[str, str]:
        """Of the administrator's shell."""
        return {**ENVIRONMENT, "ORCHESTRA_URL": self.url, "ORCHESTRA_TOKEN": self.token}

    def run(self, *arguments: str, stdout: Any = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
        """A command line of the administrator."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=LONG_ENOUGH,
            check=False,
        )

    def out(self, *arguments: str, stdout: Any = subprocess.PIPE) -> bytes:
        """What a command that must succeed prints, unless it goes elsewhere."""
        ran = self.run(*arguments, stdout=stdout)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout or b""

    def heal(self) -> None:
        """Start what a test left dead."""
        self.server.start()
        for worker in self.workers.values():
            worker.start()

    def set_clock_ahead(self, seconds: float) -> None:
        """Let the server believe that so much more time has passed."""
        self._move("ahead", seconds)

    def set_clock_wrong(self, seconds: float) -> None:
        """Set the server's wall clock so far ahead of what it was; negative: behind."""
        self._move("jump", seconds)

    def _move(self, name: str, seconds: float) -> None:
        part = self.directory / "server" / f"{name}.part"
        part.write_text(str(seconds))
        part.rename(part.with_name(name))

    def trigger(self, job: str, **parameters: Any) -> str:
        """A new run of a job of the project ``journeys``; its id."""
        run_id: str = self.client.trigger("journeys", job, parameters)["id"]
        return run_id

    def wait(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""
        return self.client.wait(run_id)

    def log(self, run_id: str) -> bytes:
        """The whole log, by ranges."""
        whole = b""
        while (part := self.client.log(run_id, len(whole))).content:
            whole += part.content
        return whole

    def reach(self, run_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Follow the changes of a run until one of its states is as wanted; answers that."""
        with self.listen() as events:
            events.send(json.dumps({"subscribe": "log", "run": run_id, "offset": 1 << 40}))
            while True:
                frame = events.recv(LONG_ENOUGH)
                told = json.loads(frame) if isinstance(frame, str) else {}
                if told.get("type") == "run" and reached(told["run"]):
                    run: dict[str, Any] = told["run"]
                    return run

    def listen(self) -> ClientConnection:
        """A connection for events."""
        return connect(
            f"ws://127.0.0.1:{self.port}/api/v1/events",
            additional_headers={"Authorization": f"Bearer {self.token}"},
            proxy=None,
        )

    def assert_healthy(self) -> None:
        """The server answers, and nothing was unforeseen in it or in a worker."""
        assert self.client.health()["status"] == "ok"
        for program in (self.server, *self.workers.values()):
            assert "Traceback" not in program.log.read_text(), program.log.read_text()[-5000:]

    def close(self) -> None:
        """End everything; fails if a process of a run is left, or if something was unforeseen."""
        self.client.close()
        codes = [program.terminate() for program in (*self.workers.values(), self.server)]
        left = {pid: _words(pid) for pid in self._processes()}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert (codes, left) == ([0] * len(codes), {})
        for program in (self.server, *self.workers.values()):
            assert "Traceback" not in program.log.read_text(), program.log.read_text()[-5000:]

    def _processes(self) -> Iterator[int]:
        """Processes that work in this site's directory."""
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(place / "cwd").startswith(str(self.directory)):
                    yield int(place.name)
            except OSError:
                continue  # gone, or not ours


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "gone"


@contextmanager
def opened(directory: Path, projects: dict[str, Any] | None = None, *, has_own_clock: bool = False) -> Iterator[Site]:
    """A site for as long as it is needed."""
    site = Site(directory, projects, has_own_clock=has_own_clock)
    try:
        yield site
    finally:
        site.close()


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for_end(pid: int) -> None:
    """Return in the moment in which a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], LONG_ENOUGH)
        assert ready, f"process {pid} does not end"
    finally:
        os.close(descriptor)
