"""What systemd is told by the two programs, through the socket that it would give them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.config import write_worker_file
from tests.cli.wrong_lines import TOKEN
from tests.journeys.site import COMMAND, ENVIRONMENT, LONG_ENOUGH

WATCHED = 3.0  # seconds that this systemd waits for a sign of life


class Unit:
    """The part of systemd that a program speaks with."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def hears(self, key: str) -> dict[str, str]:
        """The next notice with this key."""
        while True:
            notice = dict(line.partition("=")[::2] for line in self._listening.recv(4096).decode().split("\n"))
            if key in notice:
                return notice

    @contextmanager
    def running(self, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """A program of ours, with what a unit puts into its environment."""
        told = {"NOTIFY_SOCKET": self._listening.getsockname(), "WATCHDOG_USEC": str(round(WATCHED * 1e6))}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([*COMMAND, *map(str, arguments)], env={**ENVIRONMENT, **told}, **quiet) as program:
            try:
                yield program
            finally:
                program.kill()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(LONG_ENOUGH)
        yield Unit(listening)


def test_fault_F44_the_server_tells_of_start_life_reload_and_end(unit: Unit, tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = [*COMMAND, "init", str(home), "--listen", "127.0.0.1:0"]
    subprocess.run(made, env=ENVIRONMENT, check=True, capture_output=True)
    with unit.running("serve", "--config", home / "orchestra.toml") as server:
        assert unit.hears("READY")["STATUS"].startswith("listening on http://127.0.0.1:")
        assert unit.hears("WATCHDOG") == {"WATCHDOG": "1"}
        server.send_signal(signal.SIGHUP)
        assert unit.hears("RELOADING")["MONOTONIC_USEC"].isdigit()
        assert unit.hears("READY")["STATUS"].endswith(
            "the configuration was reloaded; 0 changes, 0 findings, 0 runs cancelled"
        )
        (home / "projects" / "example.yaml").write_text("projects: [")
        server.send_signal(signal.SIGHUP)
        unit.hears("RELOADING")
        assert "was not reloaded" in unit.hears("READY")["STATUS"]
        server.send_signal(signal.SIGTERM)
        unit.hears("STOPPING")
        assert server.wait(LONG_ENOUGH) == 0


def test_a_server_that_cannot_start_is_never_ready(unit: Unit, tmp_path: Path) -> None:
    with unit.running("serve", "--config", tmp_path / "missing.toml") as server:
        assert server.wait(LONG_ENOUGH) == 78
    unit._listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        unit.hears("READY")


def test_a_worker_is_ready_without_its_server_and_says_what_is_wrong(unit: Unit, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        file = write_worker_file(tmp_path / "worker", url=url, token=TOKEN)
        with unit.running("worker", "run", "--config", file) as worker:
            assert url in unit.hears("READY")["STATUS"]
            assert unit.hears("WATCHDOG") == {"WATCHDOG": "1"}
            while "nothing listens" not in (status := unit.hears("STATUS")["STATUS"]):
                assert url in status
            assert status.endswith("; jobs: 0")
            worker.send_signal(signal.SIGTERM)
            assert unit.hears("STOPPING")["STATUS"].startswith("stopping")
            assert worker.wait(LONG_ENOUGH) == 0
    assert os.listdir(tmp_path / "worker" / "runs") == []
