"""Two test hosts: network namespaces with a cable between them, and nothing else that they could reach."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.journeys.site import LONG_ENOUGH

# Root keeps a worker's data in /var/lib. Each command has mounts of its own, so each host has its own, in its home.
OWN_STATE = 'mkdir -p "$1" && mount --bind "$1" /var/lib && exec bash -c "$2"'
ADDRESSES = ("10.201.7.1", "10.201.7.2")  # inside the two namespaces only


@dataclass
class Host:
    """A machine of its own, as far as its network goes. Its programs are ended with it."""

    name: str
    address: str
    home: Path
    environment: Mapping[str, str]
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, command: str, typed: str = "", code: int = 0) -> str:
        """Type a command and read what it prints."""
        program = self.start(command)
        try:
            told, _ = program.communicate(typed, timeout=LONG_ENOUGH)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            told, _ = program.communicate()
        assert program.returncode == code, f"{command}\n{told}"
        return told

    def start(self, command: str) -> subprocess.Popen[str]:
        """Type a command that stays; both its outputs are in ``stdout``."""
        program = subprocess.Popen(
            ["ip", "netns", "exec", self.name, "bash", "-c", OWN_STATE, "bash", str(self.home / "state"), command],
            cwd=self.home,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.programs.append(program)
        return program

    def wait_for(self, program: subprocess.Popen[str], text: str) -> str:
        """The line in which a program that stays says this; fails when it ends first."""
        said = []
        assert program.stdout is not None
        watchdog = threading.Timer(LONG_ENOUGH, os.killpg, (program.pid, signal.SIGKILL))
        watchdog.start()
        try:
            for line in program.stdout:
                said.append(line)
                if text in line:
                    return line
        finally:
            watchdog.cancel()
        raise AssertionError(f"never said {text!r}: {''.join(said)}")

    def close(self) -> None:
        """End what still runs here."""
        for program in self.programs:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
            program.communicate()


def missing() -> str | None:
    """Why there can be no test hosts here."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    probe = f"orchestra-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"network namespaces cannot be made here: {made.stderr.strip()}"
    _ip("netns", "delete", probe)
    return None


@contextmanager
def two_hosts(directory: Path, environment: Mapping[str, str]) -> Iterator[tuple[Host, Host]]:
    """Two of them, that see each other and nobody else."""
    names = [f"orchestra-{side}-{os.getpid()}" for side in ("a", "b")]
    hosts = []
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            home = directory / name
            home.mkdir()
            hosts.append(Host(name, address, home, {**environment, "HOME": str(home)}))
            _ip("-n", name, "address", "add", f"{address}/30", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            host.close()
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)
