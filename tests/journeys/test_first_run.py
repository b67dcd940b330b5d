"""From a bare virtual environment to the first run on another machine: two test hosts with a real network between them.

What a person types on the worker's machine and clicks in the browser is counted, the machine's time is measured. Not
counted: the server's own installation, which is there before, and the click on *Trigger*, which is not about the
worker. The packages come from a directory, because the hosts reach nothing but each other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository_tree import ROOT
from tests.journeys.site import ENVIRONMENT, PASSWORD
from tests.journeys.two_hosts import Host, missing, two_hosts
from tests.required import demand

PARTS = ("appliance", "migrations", "systemd", "setup.py", "pyproject.toml", "README.md", "LICENSE")
INSTALL = "python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check {wheel}"
ACTIVATED = ".venv/bin/"  # where the tutorial's PATH leads


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of this checkout and all that it depends on."""
    demand("netns", missing())
    place = tmp_path_factory.mktemp("packages")
    checkout = place / "checkout"  # a build leaves its traces beside setup.py
    checkout.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, checkout / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "-w", str(place / "wheels")]
    built = subprocess.run([*command, str(checkout)], capture_output=True, text=True, timeout=170, check=False)
    demand("netns", None if built.returncode == 0 else f"the packages cannot be had: {built.stderr[-500:]}")
    return place / "wheels"


@pytest.fixture
def hosts(tmp_path: Path, packages: Path) -> Iterator[tuple[Host, Host]]:
    python = Path(os.path.realpath(sys.executable)).parent  # the one that the packages are for
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(packages),
        "PYTHONUNBUFFERED": "1",
    }
    with two_hosts(tmp_path, environment) as made:
        yield made


class Person:
    """Who sits at the worker's machine, with a shell and a browser there."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.typed: list[str] = []
        self.clicks: list[str] = []
        self._browser = host.start(f"exec {sys.executable} {ROOT / 'tests' / 'journeys' / 'visitor.py'}")

    def type(self, command: str) -> str:
        """A command that ends."""
        self.typed.append(command)
        return self.host.run(command.replace("orchestra ", f"{ACTIVATED}orchestra ", 1))

    def leave_running(self, command: str, until: str) -> None:
        """A command that stays, until it says this."""
        self.typed.append(command)
        self.host.wait_for(self.host.start(f"exec {ACTIVATED}{command}"), until)

    def click(self, button: str, address: str, fields: dict[str, str], form: str) -> str:
        """The button of a form that is filled in."""
        self.clicks.append(button)
        return self.open(address, fields, form)

    def open(self, address: str, fields: dict[str, str] | None = None, form: str = "") -> str:
        """A page."""
        assert self._browser.stdin is not None and self._browser.stdout is not None
        self._browser.stdin.write(json.dumps([address, fields, form]) + "\n")
        self._browser.stdin.flush()
        said = self._browser.stdout.readline()
        assert said.startswith('"'), said + self._browser.communicate()[0]
        page: str = json.loads(said)
        return page


@pytest.mark.long
def test_three_commands_and_a_click_lead_from_a_bare_environment_to_the_first_run_elsewhere(
    hosts: tuple[Host, Host], packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, machine = hosts
    url = f"http://{server.address}:8080"
    (wheel,) = packages.glob("orchestra_appliance-*.whl")
    install = INSTALL.format(wheel=wheel)

    began = time.monotonic()
    server.run(install)
    told = server.run(f".venv/bin/orchestra init data --listen {server.address}:8080 --base-url {url}")
    settings = server.home / "data" / "orchestra.toml"
    written = settings.read_text()
    changed = re.sub(r"^#? *insecure_http = false.*$", "insecure_http = true", written, count=1, flags=re.MULTILINE)
    assert changed != written, "the settings file names it"
    settings.write_text(changed)
    server.wait_for(server.start("exec .venv/bin/orchestra serve --config data/orchestra.toml"), f"listening on {url}")
    person = Person(machine)
    link = re.search(rf"{url}/setup\?token=\S+", told)
    assert link is not None, told
    assert "Next step" in person.open(link[0], {"name": "nina", "password": PASSWORD, "repeat": PASSWORD}, "/setup")
    is_up = time.monotonic()

    shown = person.click("Add worker", f"{url}/workers", {"name": "far"}, "/workers")
    line = re.search(r"orchestra worker join \S+ orc_w_[0-9a-f]+", shown)
    assert line is not None and "--insecure-http" in shown
    person.type(install)
    assert "next: orchestra worker run" in person.type(f"{line[0]} --insecure-http")
    person.leave_running("orchestra worker run", f"connected to {url}")
    assert "connected" in person.open(f"{url}/workers")
    has_joined = time.monotonic()

    page = person.open(f"{url}/p/example/hello", {}, "/p/example/hello")
    while "chip succeeded" not in page:
        assert not re.search(r"chip (failed|errored|lost|aborted|cancelled)", page), page
        assert time.monotonic() < has_joined + 60, page
        page = person.open(f"{url}/p/example/hello/latest")
    is_done = time.monotonic()
    assert "Hello from example/hello." in page and "<dd>far</dd>" in page

    with capsys.disabled():
        print(
            f"\nfirst run on another host: {len(person.typed)} commands typed there, {len(person.clicks)} click;"
            f" machine time {is_done - is_up:.1f} s from 'add a worker' to the end of the run"
            f" ({has_joined - is_up:.1f} s to join with its installation, {is_done - has_joined:.1f} s for the run);"
            f" {is_up - began:.1f} s before that for the server"
        )
    assert len(person.typed) <= 3 and len(person.clicks) <= 1
