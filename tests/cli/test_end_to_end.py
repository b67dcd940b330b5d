"""The real thing: a server and a worker in processes of their own, driven by the command line as a user does."""

from __future__ import annotations

import json
import re
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance
from appliance.client import Client
from tests.cli.wrong_lines import TOKEN
from tests.journeys.site import COMMAND, ENVIRONMENT, PASSWORD, Site, opened

JOB_ORCHESTRA = Path(appliance.__file__).with_name("examples") / "job-orchestra.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site")) as site:
        shutil.copy(JOB_ORCHESTRA, site.directory / "server" / "projects")
        site.server.terminate()
        site.server.start()
        site.add_worker()
        yield site


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


def test_req_S_85_a_token_that_the_server_refuses_or_knows_by_another_name_is_not_stored(
    site: Site, tmp_path: Path
) -> None:
    made = json.loads(site.out("worker", "token", "build-1", "--json"))
    join = ["worker", "join", site.url]
    wrong = site.run(*join, TOKEN, "--data", str(tmp_path / "w"))
    assert (wrong.returncode, b"does not know this token" in wrong.stderr) == (4, True)
    other = site.run(*join, made["token"], "--name", "build-2", "--data", str(tmp_path / "w"))
    assert (other.returncode, b"belongs to the worker 'build-1'" in other.stderr) == (1, True)
    assert not (tmp_path / "w").exists()


def test_req_S_08_a_password_gives_the_command_line_its_first_token(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "config" / "token"
    environment = {**ENVIRONMENT, "ORCHESTRA_URL": site.url, "ORCHESTRA_TOKEN_FILE": str(file)}

    def orchestra(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], env=environment, input=password, capture_output=True, check=False, text=True
        )

    nothing = orchestra("run", "list")
    assert (nothing.returncode, "orchestra token create --user NAME" in nothing.stderr) == (4, True)
    create = ("token", "create", "laptop", "--user", "root", "--password-stdin")
    wrong = orchestra(*create, password="incorrect horse battery staple")
    assert (wrong.returncode, file.exists(), wrong.stderr.count("\n")) == (4, False, 1)
    made = orchestra(*create, password=PASSWORD)
    assert (made.returncode, made.stdout) == (0, "")
    assert str(file) in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    mine = json.loads(orchestra("token", "list", "--json").stdout)["items"]
    assert mine[0]["label"] == "laptop" and mine[0]["expires_at"] is not None
    assert [one["label"] for one in mine].count("login") == 1, "what the login itself gave is given back"
    assert "in place of the one" in orchestra(*create, password=PASSWORD).stderr
    printed = json.loads(orchestra(*create, "--expires", "never", "--json", password=PASSWORD).stdout)
    assert (printed["expires_at"], printed["token"] in file.read_text()) == (None, False)


def test_a_port_that_is_taken_is_named_with_what_to_do_and_exit_code_78(site: Site, tmp_path: Path) -> None:
    address = site.url.removeprefix("http://")
    subprocess.run([*COMMAND, "init", str(tmp_path / "s"), "--listen", address], env=ENVIRONMENT, check=True)
    ran = subprocess.run([*COMMAND, "serve", "--data", str(tmp_path / "s")], env=ENVIRONMENT, capture_output=True)
    assert ran.returncode == 78
    (told,) = ran.stderr.decode().splitlines()
    assert told.startswith(f"orchestra: {tmp_path}/s/orchestra.toml: server.listen: cannot listen on {address}: ")
    assert "choose another port here" in told
    demo = subprocess.run(
        [*COMMAND, "demo", "--port", address.rpartition(":")[2]], env=ENVIRONMENT, capture_output=True
    )
    assert (demo.returncode, b"choose another" in demo.stderr) == (1, True)


def test_fault_F01_a_log_is_followed_across_a_killed_server(site: Site) -> None:
    """The follower reconnects, and misses and doubles nothing."""
    follow = [*COMMAND, "trigger", "example/slow-output", "-p", "lines=8", "--follow"]
    with subprocess.Popen(follow, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline() + process.stdout.readline()
        site.server.kill()
        site.server.start()
        watchdog = threading.Timer(90, process.kill)
        watchdog.start()
        rest = process.stdout.read()
        told = process.stderr.read().decode()
        watchdog.cancel()
    assert first + rest == b"".join(b"line %d of 8\n" % n for n in range(1, 9))
    assert told.splitlines()[-1].endswith("succeeded")
    assert process.returncode == 0


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
        assert b"\\n" not in shown
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
        [*COMMAND, "demo", "--once", "--json"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline()).keys() == {"offset", "text"}
        process.terminate()
        process.stdout.read()
        assert b"did not end in time" not in process.stderr.read()
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert left_over(str(tmp_path)) == []
