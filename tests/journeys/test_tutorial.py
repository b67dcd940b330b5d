"""The tutorial does what it says: its commands are run in its order, on one machine, by one shell.

What differs from what a reader types: the port is a free one instead of 8080; the address of the setup page, the token
of the worker and the name of the user are put where the text has ``NAME`` or ``…``; the password is piped in, as there
is no terminal; pages are used by their forms; and the long run is shorter.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.site import ENVIRONMENT, LONG_ENOUGH, PASSWORD, ROOT
from tests.journeys.visitor import Visitor

TUTORIAL = ROOT / "docs" / "tutorial" / "first-run.md"
USER = "nina"


def steps() -> dict[int, list[str]]:
    """The indented commands of each numbered section, in order; one with a here-document is one command."""
    found: dict[int, list[str]] = {}
    for section in re.split(r"^## ", TUTORIAL.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
        lines = re.sub(r"^    ", "", "".join(blocks), flags=re.MULTILINE)
        commands = re.findall(r"^.*<<'END'\n(?:.*\n)*?END$|^.+$", lines, re.MULTILINE)
        found[int(section.partition(".")[0])] = commands
    return found


class Reader:
    """Who follows the tutorial: a shell, a browser without scripts, and the programs that are left running."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.programs: dict[str, subprocess.Popen[str]] = {}
        bin_ = directory / "bin"
        for made in (self.home, bin_):
            made.mkdir()
        (bin_ / "orchestra").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m appliance "$@"\n')
        (bin_ / "orchestra").chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**ENVIRONMENT, "HOME": str(self.home), "PATH": path, "ORCHESTRA_URL": self.url}
        self.environment.pop("XDG_CONFIG_HOME", None)
        self.log = (directory / "programs.log").open("w+")
        self.open = Visitor().open

    def start(self, command: str, *, stdout: int | None = None, stderr: int | None = None) -> subprocess.Popen[str]:
        """Type a command; the terminal is free for Ctrl-C."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            env=self.environment,
            cwd=self.home,
            stdout=stdout,
            stderr=self.log.fileno() if stderr is None else stderr,
            text=True,
            start_new_session=True,
        )

    def serve(self, command: str) -> None:
        """Leave the server running, once it says that it is ready."""
        program = self.programs["server"] = self.start(command, stdout=subprocess.PIPE)
        assert program.stdout is not None
        assert program.stdout.readline() == f"listening on {self.url}\n", self.told()

    def work(self, command: str) -> None:
        """Leave the worker running, once it says that it is connected."""
        program = self.programs["worker"] = self.start(command, stderr=subprocess.PIPE)
        assert program.stderr is not None
        assert "connected to" in program.stderr.readline()
        threading.Thread(target=lambda: self.log.writelines(program.stderr or ()), daemon=True).start()

    def press_ctrl_c(self, name: str) -> None:
        """In the terminal of a program: all of its foreground gets SIGINT."""
        program = self.programs.pop(name)
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait(LONG_ENOUGH) == 0
        for stream in (program.stdout, program.stderr):
            if stream is not None:
                stream.close()

    def run(self, command: str, typed: str = "", code: int = 0) -> str:
        """Type a command and read what it prints."""
        ran = subprocess.run(
            ["bash", "-c", command],
            env=self.environment,
            cwd=self.home,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONG_ENOUGH,
            check=False,
        )
        assert ran.returncode == code, f"{command}\n{ran.stdout}"
        return ran.stdout

    def told(self) -> str:
        """What the programs wrote on stderr."""
        self.log.seek(0)
        return self.log.read()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    for program in made.programs.values():
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    print(made.told())  # pytest shows it with a failure
    made.log.close()


@pytest.mark.long
def test_the_tutorial_is_true_from_its_first_command_to_its_last(reader: Reader) -> None:
    todo = steps()
    assert list(todo) == [1, 2, 3, 4, 5, 6, 7]
    assert todo[1] == ["python3 -m venv .venv && .venv/bin/pip install .", "export PATH=$PWD/.venv/bin:$PATH"]

    init, serve = todo[2]
    told = reader.run(f"{init} --listen {reader.url.removeprefix('http://')}")
    reader.serve(serve)

    link = re.search(rf"{reader.url}/setup\?token=\S+", told)
    assert link is not None and todo[3] == []
    reader.open(link[0], {"name": USER, "password": PASSWORD, "repeat": PASSWORD}, "/setup")

    _, join, work = todo[4]
    shown = reader.open(f"{reader.url}/workers", {"name": "here"}, "/workers")
    line = re.search(r"orchestra worker join \S+ orc_w_[0-9a-f]+", shown)
    assert line is not None
    typed, mark, behind = join.partition("orc_w_…")
    assert typed == "orchestra worker join http://127.0.0.1:8080 " and mark
    assert reader.run(line[0] + behind).splitlines()[-1].startswith("next: orchestra worker run")
    reader.work(work)
    assert "connected" in reader.open(f"{reader.url}/workers")

    job = f"{reader.url}/p/example/hello"
    assert "hello" in reader.open(job, {}, "/p/example/hello")
    _, login, hello, failure, slow, results, read_results, list_runs = todo[5]
    said = reader.run(login.replace("NAME", USER) + " --password-stdin", typed=PASSWORD)
    assert str(reader.home / ".config" / "orchestra" / "token") in said
    assert "Hello from example/hello." in reader.run(hello)
    assert "failed" in reader.run(failure, code=1)
    assert "line 3 of 3" in reader.run(slow)
    reader.run(results)
    assert '"answer": 42' in reader.run(read_results)
    assert len(reader.run(list_runs).splitlines()) == 1 + 5

    plug, start, abort = todo[6]
    assert "lines=30" in plug
    expected = [f"line {n} of 6\n" for n in range(1, 7)]
    for name in ("worker", "server"):
        follow = reader.start(plug.replace("lines=30", "lines=6"), stdout=subprocess.PIPE)
        with follow:
            watchdog = threading.Timer(LONG_ENOUGH, follow.kill)
            watchdog.start()
            assert follow.stdout is not None
            first = follow.stdout.readline()
            reader.press_ctrl_c(name)
            reader.work(work) if name == "worker" else reader.serve(serve)
            assert [first, *follow.stdout] == expected
            watchdog.cancel()
        assert follow.returncode == 0, reader.told()
    reader.run(start)
    assert "told to end" in reader.run(abort)
    reader.run("orchestra run wait example/slow-output#latest", code=1)

    write, check, apply, mine = todo[7][:4]
    reader.run(write)
    assert "nothing is wrong" in reader.run(check)
    assert "+ project mine" in reader.run(apply)
    assert "mine/today#1 succeeded" in reader.run(mine)

    reader.press_ctrl_c("worker")
    reader.press_ctrl_c("server")
    (clean,) = todo[7][4:]
    reader.run(clean)
    assert [one for one in reader.home.rglob("*") if one.is_file()] == []
    assert not re.search(r"ERROR|CRITICAL|Traceback|projects: configuration:", reader.told())
