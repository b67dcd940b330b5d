"""A machine with the product installed from a wheel: a server and two workers, started by systemd."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.repository_tree import ROOT
from tests.required import demand
from tests.systemd import container
from tests.systemd.container import Container

PASSWORD = "correct-horse-battery-7"
PIP = "/opt/orchestra/bin/pip --isolated install -q --no-index --find-links /srv/wheels"
NEXT_VERSION = "0.1.1"
# Counts until its worker's home has the file, so that a test can end it; says so in its log, which must be whole.
COUNTING = 'i=0; until [ -e "$HOME/go" ]; do i=$((i+1)); echo "line $i"; sleep 0.05; done; echo "over $i"'
# Its child has no environment, a session of its own and another directory: only its control group says whose it is.
HIDING = "cd /; env -i setsid sh -c 'cd /; sleep 4242; :' & cat /proc/self/cgroup; echo line 3; sleep 4242"
PROJECTS: dict[str, Any] = {
    "projects": [
        {
            "identifier": "trial",
            "jobs": [
                {"identifier": name, "requires": {"kind": kind}, "definition": {"commands": [command]}}
                for kind in ("plain", "strict")
                for name, command in {
                    f"count-{kind}": COUNTING,
                    f"look-{kind}": "cat /proc/self/status; env",
                    f"hide-{kind}": HIDING,
                }.items()
            ],
        }
    ]
}


class Machine:
    """What a person at its console sees and does."""

    def __init__(self, inside: Container) -> None:
        self.inside = inside
        self.run, self.out, self.until = inside.run, inside.out, inside.until

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, as ``systemctl show`` tells it."""
        return self.out(f"systemctl show {unit} --property {name} --value")

    def trigger(self, job: str) -> str:
        """Start a run; its name."""
        return self.out(f"orchestra trigger {job}").splitlines()[0]

    def look(self, run: str) -> dict[str, Any]:
        """The run, as the service tells it."""
        found: dict[str, Any] = json.loads(self.out(f"orchestra run show '{run}' --json"))
        return found

    def wait(self, run: str) -> str:
        """The status it ended with."""
        self.run(f"orchestra run wait '{run}'", code=None)
        return str(self.look(run)["status"])

    def log(self, run: str) -> str:
        """Its whole output."""
        return self.out(f"orchestra run log '{run}'") + "\n"

    def until_it_counts(self, run: str, most: int = 3) -> None:
        """Wait until its log has some lines."""
        self.until(f"orchestra run log '{run}' | grep -q 'line {most}$'")

    def let_go(self, worker: str) -> None:
        """Let the counting job of this worker end."""
        self.run(f"touch /var/lib/orchestra-worker/{worker}/home/go")

    def assert_whole(self, run: str) -> None:
        """It succeeded, and its log has each line once."""
        assert self.wait(run) == "succeeded", self.look(run)
        *lines, last = self.log(run).splitlines()
        assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
        assert last == f"over {len(lines)}"

    def write_projects(self, projects: dict[str, Any]) -> None:
        """Change the one project file of the server."""
        self.run("cat >/var/lib/orchestra/projects/example.yaml", json.dumps(projects))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that an installation needs, and in ``next`` the product once more, as a later version."""
    demand("systemd", container.missing())
    directory = tmp_path_factory.mktemp("wheels")
    copy = directory / "checkout"
    copy.mkdir()
    for name in ("appliance", "migrations", "systemd"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    _type("/usr/bin/python3", "-m", "venv", directory / "venv")
    pip = (directory / "venv/bin/python", "-m", "pip", "wheel", "-q")
    _type(*pip, "-w", directory / "wheels", copy)
    for file in (copy / "setup.py", copy / "appliance/__init__.py"):
        text = file.read_text("utf-8")
        assert "0.1.0" in text
        file.write_text(text.replace("0.1.0.dev0", NEXT_VERSION).replace("0.1.0", NEXT_VERSION), "utf-8")
    _type(*pip, "--no-deps", "-w", directory / "wheels/next", copy)
    return directory / "wheels"


def _type(*words: str | Path) -> None:
    ran = subprocess.run(words, capture_output=True, text=True, timeout=170, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def machine(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """As a person would set it up: a server, a worker as it is by default, and a strict one."""
    with container.booted(tmp_path_factory.mktemp("machine"), {wheels: "/srv/wheels"}) as inside:
        machine = Machine(inside)
        machine.run(f"python3 -m venv /opt/orchestra && {PIP} orchestra-appliance")
        machine.run("orchestra init --admin root --password-stdin", f"{PASSWORD}\n")
        machine.write_projects(PROJECTS)
        machine.run("orchestra systemd install --now")
        machine.run("orchestra token create --user root --password-stdin", f"{PASSWORD}\n")
        for kind in ("plain", "strict"):
            token = json.loads(machine.out(f"orchestra worker token {kind} --json"))["token"]
            url = "http://127.0.0.1:8080"
            machine.run(f"orchestra worker join {url} - --systemd --property kind={kind}", f"{token}\n")
        machine.run("orchestra systemd install --worker strict --strict --now")
        yield machine
        print(machine.run("journalctl --no-pager --lines 200 --unit 'orchestra*'", code=None))  # shown with a failure
