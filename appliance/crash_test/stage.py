"""The place of a crash test: a temporary directory with a server, workers behind proxies, and the job's marks.

Nothing outside of it is read or written: neither the user's data directories nor the settings in the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.client import Client
from appliance.config import environment, write_worker_file
from appliance.crash_test import job, victims
from appliance.crash_test.programs import Program, run
from appliance.crash_test.proxy import Proxy
from appliance.model.errors import Full, Unavailable

PROJECT, JOB = "crash", "crash"
SLOTS = 4
READY = 60.0  # seconds until a server must be up
RETENTION = "2m"  # of runs on a worker: long enough to compare their logs, short enough for any number of runs
_USER = "crash-test"
_NEEDED = (1 << 30, 1 << 20)  # bytes of disk: to begin with, and for each kill
_PORTS = range(20_000, 32_000)  # below those that the kernel gives to clients: nobody takes it while the server is dead
_OWN = ("ORCHESTRA_", "XDG_", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY")  # variables that would lead elsewhere


class Stage:
    """The server and ``worker-1`` to ``worker-N``, made and started by ``open``. ``close`` ends whatever is left."""

    def __init__(self, directory: Path, workers: int, rng: random.Random) -> None:
        self.directory = directory.resolve()
        self.marks = self.directory / "marks"
        self.port = _free_port(rng)
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {name: value for name, value in environment().items() if not name.startswith(_OWN)}
        self._environment["HOME"] = str(self.directory / "home")
        self.home = self.directory / "server"
        self.server = self._program("server", ["serve", "--data", str(self.home)], has_word=True)
        self.homes = {f"worker-{number}": self.directory / f"worker-{number}" for number in range(1, workers + 1)}
        self.workers = {
            name: self._program(name, ["worker", "run", "--config", str(home / "worker.toml")], has_word=False)
            for name, home in self.homes.items()
        }
        self.proxies: dict[str, Proxy] = {}
        self.token = ""

    def _program(self, name: str, arguments: list[str], *, has_word: bool) -> Program:
        return Program(name, arguments, self._environment, self.directory / f"{name}.log", has_word=has_word)

    @property
    def programs(self) -> list[Program]:
        """All of them, the server first."""
        return [self.server, *self.workers.values()]

    def open(self) -> None:
        """Make everything and start it. Raises Unavailable when that fails: then nothing can be said."""
        for folder in (self.marks, self.directory / "home"):
            folder.mkdir()
        password = secrets.token_urlsafe(18)
        init = ["init", str(self.home), "--listen", f"127.0.0.1:{self.port}", "--admin", _USER, "--password-stdin"]
        made = run(init, self._environment, password + "\n")
        if made.returncode != 0:
            raise Unavailable(f"no server could be made: {made.stderr.strip()}")
        self._write_project()
        self._lift_limits()
        self.server.start()
        if not self.server.wait_until_ready(READY):
            raise Unavailable(f"the server does not start: {self.server.last_words()}")
        with Client(self.url) as client:
            self.token = client.login(_USER, password)["token"]
            for name, home in self.homes.items():
                self.proxies[name] = Proxy(self.port)
                self._join(client, name, home)
        for worker in self.workers.values():
            worker.start()

    def _write_project(self) -> None:
        fields = ["{run_identifier}", "{result_file_path}", "{parameters[task]}"]
        command = [sys.executable, "-I", "-S", str(Path(job.__file__)), str(self.marks), *fields]
        definition = {"commands": [command]}
        jobs = [{"identifier": JOB, "parameters": [{"key": "task"}], "definition": definition}]
        project = {"identifier": PROJECT, "display_name": "Crash test", "jobs": jobs}
        (self.home / "projects" / "crash.yaml").write_text(json.dumps({"projects": [project]}))  # JSON is YAML too

    def _lift_limits(self) -> None:
        """The load comes from one user, faster than people trigger."""
        file = self.home / "orchestra.toml"
        text = file.read_text().replace(
            "[limits]\n", "[limits]\ntriggers_per_minute = 1000000\ntrigger_burst = 1000000\n", 1
        )
        file.write_text(text)

    def _join(self, client: Client, name: str, home: Path) -> None:
        url = f"http://127.0.0.1:{self.proxies[name].port}"
        token = client.create_worker(name)["token"]
        file = write_worker_file(home, url=url, token=token, name=name, slots=SLOTS)
        with file.open("a") as settings:
            settings.write(f'retention = "{RETENTION}"\n')

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the administrator, past the proxies. Its requests give up after 10 s."""
        with Client(self.url, self.token, timeout=10.0) as client:
            yield client

    def heal(self) -> list[str]:
        """Start whatever is dead; answers who had ended by itself."""
        return [ended for program in self.programs if (ended := program.start()) is not None]

    def stop(self) -> list[str]:
        """End workers and server by SIGTERM; answers what was wrong with that."""
        return [wrong for program in reversed(self.programs) if (wrong := program.terminate()) is not None]

    def check_database(self) -> list[str]:
        """Damage that ``orchestra db check`` finds, in a process of its own; the server must be stopped (I10)."""
        checked = run(["--data", str(self.home), "--json", "db", "check"], self._environment)
        try:
            return [str(finding) for finding in json.loads(checked.stdout)["findings"]]
        except (ValueError, KeyError):
            return [f"orchestra db check ended with {checked.returncode}: {checked.stderr.strip()}"]

    def left(self) -> dict[int, str]:
        """Processes of runs that are there, by pid."""
        return victims.working_in(self.directory)

    def close(self) -> None:
        """Kill everything that was started here, and whatever those have started."""
        for proxy in self.proxies.values():
            proxy.close()
        for program in self.programs:
            program.kill()
        for _ in range(50):  # a fork may be under way
            left = self.left()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                return


def check_space(directory: Path, kills: int) -> None:
    """Raises Full when the file system has not the space that so many kills may take."""
    needed = _NEEDED[0] + kills * _NEEDED[1]
    usage = shutil.disk_usage(directory)
    least = min(1 << 30, usage.total // 20)  # below it workers decline runs
    if usage.free < needed + least:
        raise Full(
            f"{directory} has {usage.free >> 20} MiB free and {kills} kills may take {needed + least >> 20}: "
            "free some space, ask for fewer kills, or set TMPDIR to another place"
        )


def _free_port(rng: random.Random) -> int:
    for _ in range(1000):
        port = rng.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable("there is no free port on 127.0.0.1")
