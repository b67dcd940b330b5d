"""The real thing: a server and a worker in processes of their own, driven by the command line as a user does."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from appliance.client import Client

PASSWORD = "correct horse battery staple"
COMMAND = [sys.executable, "-m", "appliance"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRA_")}


class Site(NamedTuple):
    """A server with one worker, and how to speak with it."""

    directory: Path
    url: str
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command line of a user."""
        return subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, check=False, timeout=60
        )

    def out(self, *arguments: str) -> bytes:
        """What a command that must succeed prints."""
        ran = self.run(*arguments)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout


@contextmanager
def running(arguments: list[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that stays, told to stop at the end."""
    process = subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def serving(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready."""
    with (directory / "stderr").open("ab") as log, running(["serve", "--data", str(directory)], log) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(b"listening on http://"), (directory / "stderr").read_text()
        yield process


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    init = [*COMMAND, "init", str(directory / "server"), "--listen", url.removeprefix("http://")]
    subprocess.run([*init, "--admin", "root", "--password-stdin"], env=ENVIRONMENT, input=PASSWORD.encode(), check=True)
    with ExitStack() as parts:
        parts.enter_context(serving(directory / "server"))
        with Client(url) as client:
            token = client.login("root", PASSWORD)["token"]
        made = Site(directory, url, {**ENVIRONMENT, "ORCHESTRA_URL": url, "ORCHESTRA_TOKEN": token})
        join = made.out("worker", "token", "here").decode().split()
        assert join[0] == "orchestra"
        joined = made.out(*join[1:], "--slots", "4", "--data", str(directory / "worker"))
        assert b"orchestra worker run --config" in joined
        log = parts.enter_context((directory / "worker.log").open("wb"))
        config = str(directory / "worker" / "worker.toml")
        parts.enter_context(running(["worker", "run", "--config", config], log))
        yield made


@pytest.mark.parametrize(
    ("job", "status", "by_hand"),
    [
        ("hello", "succeeded", "echo 'Hello from example/hello.'; echo 'Hello from standard error.'"),
        ("failure", "failed", "echo setup; echo first command; echo second command fails; echo teardown"),
        ("large-log", "succeeded", "seq -f '%.0f Testing for large log files' 1 1000000"),
        (
            "html",
            "succeeded",
            r"""cat <<'END'
<p>hello</p>
<script>document.title = 'this must not happen'</script> <img src=x onerror=alert(1)>
&lt;already escaped&gt; " ' &amp; {not a field}
END""",
        ),
        (
            "special-characters",
            "succeeded",
            r"""printf '%s\n' 'text: … é ² √ 👍 日本語 עברית'
printf 'colour: \033[32mgreen\033[0m and \033[1;31mbold red\033[0m\n'
printf 'progress: 10%%\rprogress: 50%%\rprogress: 100%%\n'
printf 'tab:\tthere; bell:\007; backspace: x\b; windows line\r\n'
printf 'not UTF-8: \377\376 \303\050; NUL: \000; end\n'
printf 'no newline at the end'""",
        ),
    ],
)
def test_the_log_of_an_example_is_what_its_commands_print_by_hand(
    site: Site, tmp_path: Path, job: str, status: str, by_hand: str
) -> None:
    with (tmp_path / "by-hand").open("wb") as file:
        subprocess.run(["sh", "-c", by_hand], stdout=file, stderr=subprocess.STDOUT, check=True)
    ran = site.run("trigger", f"example/{job}", "--follow")
    name, outcome = ran.stderr.decode().splitlines()
    assert ran.returncode == (0 if status == "succeeded" else 1)
    assert outcome.startswith(f"{name} {status}")
    assert ran.stdout == (tmp_path / "by-hand").read_bytes()
    assert site.out("run", "log", name) == ran.stdout


@pytest.mark.parametrize(
    ("job", "status"),
    [("success", "succeeded"), ("failure", "failed"), ("exception", "errored"), ("sleep", "succeeded")],
)
def test_the_jobs_of_job_orchestra_end_as_they_did_there(site: Site, job: str, status: str) -> None:
    ran = site.run("trigger", f"job-orchestra/{job}", "--wait", "--json")
    run = json.loads(ran.stdout)
    assert (run["status"], ran.returncode) == (status, 0 if status == "succeeded" else 1)
    assert job != "exception" or "undefined" in run["sentence"]


def test_parameters_and_results_go_to_the_run_and_back(site: Site) -> None:
    printed = site.out(
        "trigger", "example/parameters", "-p", "name=Ana", "-p", "times=1", "-p", "loud=true", "--follow"
    )
    assert printed == b"Hello, Ana! (1 times, loud: True)\nHELLO, ANA!\n"
    assert site.out("trigger", "example/results", "--follow").startswith(b"The answer is 42, built on 2026-01-31")
    assert json.loads(site.out("run", "results", "example/results#latest"))["built_on"] == "2026-01-31"


def test_req_T5_the_same_key_starts_one_run(site: Site) -> None:
    first = site.out("trigger", "example/hello", "--key", "once")
    assert site.out("trigger", "example/hello", "--key", "once") == first
    assert re.fullmatch(rb"example/hello#[0-9]+\n", first)


def test_a_run_that_prints_is_followed_as_it_prints_and_aborted(site: Site) -> None:
    follow = [*COMMAND, "trigger", "example/slow-output", "-p", "lines=600", "--follow"]
    with subprocess.Popen(follow, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        name = process.stderr.readline().decode().strip()
        assert process.stdout.readline() == b"line 1 of 600\n"
        assert site.run("run", "cancel", name).returncode == 1
        site.out("run", "abort", name)
        process.stdout.read()
        assert process.stderr.read().decode().startswith(f"{name} aborted")
    assert process.returncode == 1
    assert site.run("run", "abort", name).returncode == 1


def test_a_run_that_no_worker_takes_is_cancelled(site: Site) -> None:
    site.out("worker", "disable", "here")
    try:
        name = site.out("trigger", "example/hello").decode().strip()
        site.out("run", "cancel", name)
        assert site.run("run", "wait", name).stdout.decode().startswith(f"{name} cancelled")
    finally:
        site.out("worker", "enable", "here")


def test_ctrl_c_stops_following_and_leaves_the_run_alone(site: Site) -> None:
    follow = [*COMMAND, "trigger", "example/slow-output", "-p", "lines=600", "--follow"]
    with subprocess.Popen(follow, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        name = process.stderr.readline().decode().strip()
        assert process.stdout.readline() == b"line 1 of 600\n"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read().decode().strip() == f"no longer following; {name} goes on"
    assert process.returncode == 130
    assert json.loads(site.out("run", "show", name, "--json"))["status"] == "running"
    site.out("run", "abort", name)


def test_fault_F02_a_log_is_followed_across_a_killed_server(site: Site, tmp_path: Path) -> None:
    """Its own server, on the same worker's machine; the follower reconnects and misses and doubles nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    init = [*COMMAND, "init", str(tmp_path / "server"), "--listen", url.removeprefix("http://")]
    subprocess.run([*init, "--admin", "root", "--password-stdin"], env=ENVIRONMENT, input=PASSWORD.encode(), check=True)
    with ExitStack() as parts:
        server = parts.enter_context(serving(tmp_path / "server"))
        with Client(url) as client:
            token = client.login("root", PASSWORD)["token"]
        here = Site(tmp_path, url, {**ENVIRONMENT, "ORCHESTRA_URL": url, "ORCHESTRA_TOKEN": token})
        join = here.out("worker", "token", "here").decode().split()
        here.out(*join[1:], "--data", str(tmp_path / "worker"))
        log = parts.enter_context((tmp_path / "worker.log").open("wb"))
        parts.enter_context(running(["worker", "run", "--config", str(tmp_path / "worker" / "worker.toml")], log))
        follow = [*COMMAND, "trigger", "example/slow-output", "-p", "lines=8", "--follow"]
        with subprocess.Popen(follow, env=here.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            first = process.stdout.readline() + process.stdout.readline()
            server.kill()
            server.wait()
            parts.enter_context(serving(tmp_path / "server"))
            watchdog = threading.Timer(90, process.kill)
            watchdog.start()
            rest = process.stdout.read()
            told = process.stderr.read().decode()
            watchdog.cancel()
        assert first + rest == b"".join(b"line %d of 8\n" % n for n in range(1, 9))
        assert told.splitlines()[-1].endswith("succeeded")
        assert process.returncode == 0


def test_a_server_ends_at_sigterm_with_code_0(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "init", str(tmp_path / "s"), "--listen", "127.0.0.1:0"], env=ENVIRONMENT, check=True)
    with serving(tmp_path / "s") as server:
        server.terminate()
        assert server.wait(5) == 0


def left_over(directory: str) -> list[str]:
    """The command lines of processes that still have to do with a directory."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if directory in words:
            found.append(words)
    return found


def test_the_demo_runs_the_real_job_tells_where_to_log_in_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [*COMMAND, "demo"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        shown = b""
        for line in process.stdout:
            shown += line
            if b"Ctrl-C ends the demo" in line:
                break
        assert b"tests: 4 passed, 0 failed, 0 skipped" in shown
        link = re.search(rb"(http://127\.0\.0\.1:[0-9]+)(/setup\?token=orc_s_[0-9a-f]+)", shown)
        assert link is not None
        with Client(link[1].decode()) as client:
            assert client.health()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read().decode()
    assert process.returncode == 0
    assert "example/real#1 succeeded" in told
    assert "did not end in time" not in told
    assert list(tmp_path.iterdir()) == []
    assert left_over(str(tmp_path)) == []


def test_the_demo_once_ends_1_when_it_is_told_to_stop_early(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [*COMMAND, "demo", "--once"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.terminate()
        process.stdout.read()
        assert b"did not end in time" not in process.stderr.read()
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert left_over(str(tmp_path)) == []
