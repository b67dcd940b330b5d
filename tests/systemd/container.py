"""A machine of its own with a real systemd: a container over this machine's /usr, forgotten when it ends.

No image is made or fetched: everything but /usr is in memory and empty, as ``systemd-nspawn --volatile=yes`` boots it.
It has no network but its own loopback, and a control group (version 2) that it may divide.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

ENVIRONMENT = {
    "PATH": "/opt/orchestra/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
_GROUP = f"orchestra-tests-{os.getpid()}"
_HIERARCHIES = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")]


def missing() -> str | None:
    """Why no container can be started here; None: it can."""
    if os.geteuid() != 0:
        return "a container needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed: it is in the package {package}"
    if not Path("/usr/lib/systemd/systemd").exists() and not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    if not any((one / "cgroup.controllers").exists() for one in _HIERARCHIES):
        return "there are no control groups of version 2"
    found = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"], capture_output=True
    )
    return "/usr/bin/python3 is older than 3.11, or lacks venv (package python3-venv)" if found.returncode else None


class Container:
    """A booted machine. ``run`` types a command in it, as root."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def run(self, command: str, typed: str = "", *, code: int | None = 0, within: float = 60.0) -> str:
        """Type a line of shell, and read what it prints on both outputs. ``code``: what it must end with; None: any."""
        ran = subprocess.run(
            [
                "nsenter", "-t", str(self.leader), "-a", "--",
                "env", "-i", *_assignments(ENVIRONMENT), "bash", "-c", command,
            ],
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
            check=False,
        )  # fmt: skip
        assert code is None or ran.returncode == code, f"{command}\nended with {ran.returncode}\n{ran.stdout}"
        return ran.stdout

    def out(self, command: str) -> str:
        """What a line of shell prints on standard output, without the last line feed."""
        return self.run(f"{{ {command}; }} 2>/dev/null").rstrip("\n")

    def until(self, condition: str, within: int = 40) -> None:
        """Wait until a line of shell succeeds; asked again ten times a second, inside."""
        self.run(
            f"timeout {within} bash -c 'until eval \"$1\"; do sleep 0.1; done' - {_quoted(condition)} >/dev/null",
            within=within + 10.0,
        )


@contextlib.contextmanager
def booted(directory: Path, shown: Mapping[Path, str]) -> Iterator[Container]:
    """Boot one, and halt it at the end. ``shown``: directories of this machine, and where they are read-only in there.

    ``directory`` gets the console's text. Raises AssertionError with it if the machine does not come up.
    """
    groups = _make_groups()
    console = directory / "console"
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        heard.bind(str(directory / "notify"))
        heard.settimeout(60.0)
        enter = "".join(f"echo $$ >{group}/cgroup.procs && " for group in groups)
        with console.open("wb") as file:
            program = subprocess.Popen(
                [
                    "bash", "-c", f'{enter} exec "$@"', "-",
                    "systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--boot", "--register=no",
                    "--keep-unit", "--private-network", "--link-journal=no", "--notify-ready=yes",
                    "--machine=orchestra",
                    *(f"--bind-ro={source}:{place}" for source, place in shown.items()),
                    "systemd.firstboot=off",  # which would ask somebody at the console for a time zone
                    "systemd.mask=systemd-networkd-wait-online.service",  # there is no network to wait for
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "NOTIFY_SOCKET": str(directory / "notify")},
                start_new_session=True,
            )  # fmt: skip
        try:
            yield Container(_leader(heard, console))
        finally:
            with contextlib.suppress(ProcessLookupError):
                program.send_signal(signal.SIGTERM)  # an orderly halt
            try:
                program.wait(30.0)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
            _remove_groups(groups)


def _leader(heard: socket.socket, console: Path) -> int:
    leader = None
    try:
        while True:
            words = dict(line.partition("=")[::2] for line in heard.recv(4096).decode().splitlines())
            leader = words.get("X_NSPAWN_LEADER_PID", leader)
            if "READY" in words and leader is not None:
                return int(leader)
    except TimeoutError:
        raise AssertionError(f"no machine after 60 s; its console:\n{console.read_text(errors='replace')}") from None


def _make_groups() -> list[Path]:
    made = []
    for hierarchy in _HIERARCHIES:
        is_unified = (hierarchy / "cgroup.controllers").exists()
        if is_unified or (hierarchy.name == "systemd" and (hierarchy / "cgroup.procs").exists()):
            group = hierarchy / _GROUP
            group.mkdir(exist_ok=True)
            made.append(group)
    return made


def _remove_groups(groups: list[Path]) -> None:
    """With all that is left in there: a machine whose container was killed lives on."""
    for group in groups:
        if (group / "cgroup.kill").exists():
            (group / "cgroup.kill").write_text("1")
            _wait_until_empty(group)
    for group in groups:
        for below, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(below)


def _wait_until_empty(group: Path) -> None:
    """The kernel says so in ``cgroup.events``, with POLLPRI."""
    with (group / "cgroup.events").open() as file:
        changes = select.poll()
        changes.register(file, select.POLLPRI)
        while "populated 1" in file.read():
            if not changes.poll(10_000):
                return
            file.seek(0)


def _assignments(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
