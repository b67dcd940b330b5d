"""``--json`` everywhere: one JSON document on stdout, or one a line where a command follows something; and exit codes.

All with a real server and a real worker, in the order of the command line's own tree.
"""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import output
from tests.cli.conftest import Ran, Run
from tests.cli.test_command_line import LEAVES
from tests.cli.wrong_lines import TOKEN
from tests.client.conftest import Reply, Service
from tests.journeys.site import COMMAND, ENVIRONMENT, PASSWORD, Site, opened

ODD = "printf 'a\\303\\251\\377\\000\\033[31m \\342\\202'; sleep 0; printf '\\254 end'"
PROJECT: dict[str, Any] = {
    "projects": [
        {
            "identifier": "journeys",
            "jobs": [
                {"identifier": "odd", "definition": {"commands": [ODD]}},
                {"identifier": "bad", "definition": {"commands": ["exit 3"]}},
                {"identifier": "long", "definition": {"commands": ["sleep 600"]}},
                {"identifier": "waits", "definition": {"commands": ["true"]}, "requires": {"never": "there"}},
            ],
        }
    ]
}
FOLLOWING = {"demo", "crash-test", "worker run", "serve", "systemd install"}
"""What stays, and has tests of its own: here, beside it, or in tests/crash_test. ``worker run`` prints nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECT) as site:
        site.add_worker()
        yield site


@pytest.fixture
def real(orchestra: Run, site: Site) -> Run:
    """A command line of the administrator, in this process."""

    def run(*arguments: object) -> Ran:
        return orchestra("--url", site.url, "--token", site.token, *arguments)

    return run


def ended(site: Site, job: str = "odd") -> str:
    """The name of a run that has ended."""
    run = site.wait(site.trigger(job))
    return f"journeys/{job}#{run['number']}"


def waiting(site: Site) -> str:
    """The id of a run that no worker takes."""
    return site.trigger("waits")


def running(site: Site) -> str:
    """The id of a run that goes on."""
    run_id = site.trigger("long")
    site.reach(run_id, lambda run: bool(run["status"] == "running"))
    return run_id


def worker(site: Site, name: str) -> str:
    """A worker's account."""
    site.client.create_worker(name)
    return name


def user(site: Site, name: str) -> str:
    """A user."""
    site.client.add_user(name, None)
    return name


def new_directory(directory: Path) -> Path:
    """A data directory that no server uses."""
    made = directory / "stopped"
    subprocess.run([*COMMAND, "init", str(made)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return made


def with_backup(directory: Path) -> list[object]:
    """``restore`` of a backup."""
    made = new_directory(directory)
    subprocess.run([*COMMAND, "--data", str(made), "backup", str(directory / "b.tar")], env=ENVIRONMENT, check=True)
    return ["--data", made, "restore", directory / "b.tar"]


CASES: dict[str, Callable[[Site, Path], list[object]]] = {
    "init": lambda _, here: ["init", here / "new"],
    "db migrate": lambda _, here: ["--data", new_directory(here), "db", "migrate"],
    "db check": lambda _, here: ["--data", new_directory(here), "db", "check"],
    "backup": lambda _, here: ["--data", new_directory(here), "backup", here / "b.tar"],
    "restore": lambda _, here: with_backup(here),
    "recovery show": lambda *_: ["recovery", "show"],
    "config schema": lambda *_: ["config", "schema"],
    "config check": lambda site, _: ["config", "check", site.directory / "server" / "projects"],
    "config diff": lambda *_: ["config", "diff"],
    "config apply": lambda *_: ["config", "apply"],
    "worker token": lambda *_: ["worker", "token", "made-here"],
    "worker list": lambda *_: ["worker", "list"],
    "worker show": lambda *_: ["worker", "show", "here"],
    "worker enable": lambda site, _: ["worker", "enable", worker(site, "enabled")],
    "worker disable": lambda site, _: ["worker", "disable", worker(site, "disabled")],
    "worker drain": lambda site, _: ["worker", "drain", worker(site, "drained"), "--wait"],
    "worker disconnect": lambda site, _: ["worker", "disconnect", worker(site, "disconnected")],
    "worker revoke": lambda site, _: ["worker", "revoke", worker(site, "revoked")],
    "worker remove": lambda site, _: ["worker", "remove", worker(site, "removed")],
    "worker join": lambda site, here: [
        *site.client.create_worker("joined")["join"].split()[1:],
        "--data",
        here / "joined",
    ],
    "trigger": lambda *_: ["trigger", "journeys/odd", "--wait"],
    "run list": lambda *_: ["run", "list"],
    "run show": lambda site, _: ["run", "show", ended(site)],
    "run why": lambda site, _: ["run", "why", ended(site)],
    "run log": lambda site, _: ["run", "log", ended(site)],
    "run results": lambda site, _: ["run", "results", ended(site)],
    "run wait": lambda site, _: ["run", "wait", ended(site)],
    "run cancel": lambda site, _: ["run", "cancel", waiting(site)],
    "run abort": lambda site, _: ["run", "abort", running(site)],
    "user add": lambda *_: ["user", "add", "made-here", "--no-password"],
    "user list": lambda *_: ["user", "list"],
    "user enable": lambda site, _: ["user", "enable", user(site, "enabled")],
    "user disable": lambda site, _: ["user", "disable", user(site, "disabled")],
    "user setup-link": lambda _, here: ["--data", new_directory(here), "user", "setup-link"],
    "token create": lambda *_: ["token", "create", "here"],
    "token list": lambda *_: ["token", "list"],
    "token revoke": lambda site, _: ["token", "revoke", site.client.create_token("x")["id"]],
}
CANNED = {
    "recovery release": (["recovery", "release"], {"sentence": "all have reported"}),
    "run declare-lost": (["run", "declare-lost", "p/j#7"], {"id": "x", "project": "p", "job": "j", "number": 7}),
}
"""What needs a server in a state that is long in coming: a server of the test says what it would."""


def test_every_command_has_its_test_with_json() -> None:
    assert {" ".join(path) for path, _ in LEAVES} == {*CASES, *CANNED, *FOLLOWING, "user passwd"}


@pytest.mark.parametrize("command", CASES)
def test_with_json_a_command_prints_one_document(real: Run, site: Site, tmp_path: Path, command: str) -> None:
    ran = real(*CASES[command](site, tmp_path), "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert isinstance(document, dict) and (document or command == "run results")
    assert ran.out.isascii() and not {*ran.out} & {*range(10), *range(11, 32), 127}


@pytest.mark.parametrize("command", CANNED)
def test_with_json_the_answer_of_the_service_is_printed(ask: Run, service: Service, command: str) -> None:
    typed, document = CANNED[command]
    service.replies = [Reply(document=document)]
    ran = ask(*typed, "--json")
    assert (ran.code, json.loads(ran.out)) == (0, document)


def test_with_json_a_password_that_is_set_is_told(
    orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = io.TextIOWrapper(io.BytesIO(PASSWORD.encode()))
    monkeypatch.setattr(sys, "stdin", words)
    made = tmp_path / "site"
    assert orchestra("init", made, "--admin", "root", "--password-stdin").code == 0
    words.buffer.seek(0)
    ran = orchestra("--data", made, "user", "passwd", "root", "--password-stdin", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"name": "root"})


def test_with_json_the_server_says_where_it_listens_on_a_line(site: Site, tmp_path: Path) -> None:
    made = new_directory(tmp_path)
    settings = made / "orchestra.toml"
    settings.write_text(settings.read_text().replace('listen = "127.0.0.1:8080"', 'listen = "127.0.0.1:0"', 1))
    line = [*COMMAND, "serve", "--data", str(made), "--json"]
    with subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        server.send_signal(signal.SIGTERM)
        assert server.stdout.read() == b""
    assert server.returncode == 0
    assert told["listening"].startswith("http://127.0.0.1:")


SAID = "aé\ufffd\0\x1b[31m € end"


def test_with_json_a_log_that_is_followed_comes_in_lines(real: Run) -> None:
    ran = real("trigger", "journeys/odd", "--follow", "--json")
    first, *pieces, last = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert first["run"]["id"] == last["run"]["id"] and last["run"]["status"] == "succeeded"
    assert "".join(piece["text"] for piece in pieces) == SAID
    again = real("run", "log", f"journeys/odd#{first['run']['number']}", "--follow", "--json")
    *pieces, last = [json.loads(line) for line in again.out.splitlines()]
    assert ("".join(piece["text"] for piece in pieces), last["run"]["status"]) == (SAID, "succeeded")


def test_with_json_a_log_stands_in_one_document_with_its_run(real: Run, site: Site) -> None:
    shown = json.loads(real("run", "log", ended(site), "--json").out)
    assert (shown["text"], shown["run"]["log"]["complete"]) == (SAID, True)


def test_a_text_that_comes_in_pieces_has_the_byte_at_which_each_begins() -> None:
    content = "aé€\U0001f44d".encode() + b"\xff" + "ü".encode() + b"\xe2"
    for size in (1, 2, 3, 5, 100):
        pieces = [*output.text_pieces(content[at : at + size] for at in range(0, len(content), size))]
        assert "".join(text for _, text in pieces) == content.decode("utf-8", "replace")
        for (begin, text), (after, _) in zip(pieces, [*pieces[1:], (len(content), "")], strict=True):
            assert content[begin:after].decode("utf-8", "replace") == text


# exit codes (contract.md section 2), of real commands


def test_exit_code_0_what_was_asked_for_is_done(real: Run) -> None:
    assert real("trigger", "journeys/odd", "--wait").code == 0


def test_exit_code_1_a_run_that_is_followed_or_waited_for_did_not_succeed(real: Run, site: Site) -> None:
    assert real("trigger", "journeys/bad", "--wait").code == 1
    assert real("trigger", "journeys/bad", "--follow").code == 1
    name = ended(site, "bad")
    assert real("run", "wait", name).code == 1
    assert real("run", "log", name, "--follow").code == 1
    assert real("run", "log", name).code == 0


def test_exit_code_1_what_was_asked_for_cannot_be_done(real: Run, site: Site) -> None:
    refused = [
        real("run", "cancel", ended(site)),
        real("trigger", "journeys/odd", "-p", "unknown=1"),
        real("user", "add", "root", "--no-password"),
    ]
    for ran in refused:
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, b"", 1), ran


def test_exit_code_3_what_is_named_is_not_there(real: Run, site: Site) -> None:
    ended(site)
    missing = [
        real("run", "show", "journeys/odd#999999"),
        real("run", "show", "journeys/waits#last-success"),
        real("run", "log", "00000000-0000-4000-8000-000000000000"),
        real("trigger", "journeys/gone"),
        real("trigger", "gone/odd"),
        real("worker", "show", "gone"),
        real("worker", "remove", "gone"),
        real("user", "disable", "gone"),
        real("token", "revoke", "00000000-0000-4000-8000-000000000000"),
    ]
    for ran in missing:
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, b"", 1), ran


def test_exit_code_4_without_the_right_or_with_a_wrong_token(
    orchestra: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.client.add_user("viewer", PASSWORD, (), {"journeys": "viewer"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PASSWORD.encode())))
    made = orchestra("--url", site.url, "token", "create", "--user", "viewer", "--password-stdin", "--json")
    token = json.loads(made.out)["token"]
    refused = [
        orchestra("--url", site.url, "worker", "list"),
        orchestra("--url", site.url, "--token", "orc_u_1", "run", "list"),
        orchestra("--url", site.url, "--token", token, "trigger", "journeys/odd"),
        orchestra("--url", site.url, "--token", token, "user", "add", "x", "--no-password"),
        orchestra("--url", site.url, "--token", token, "config", "apply"),
        orchestra("worker", "join", site.url, TOKEN, "--data", tmp_path / "worker"),
    ]
    for ran in refused:
        assert (ran.code, ran.out, ran.err.count("\n")) == (4, b"", 1), ran
    assert "orchestra token create --user" in refused[0].err


def test_exit_code_5_no_server_answers(orchestra: Run, service: Service, tmp_path: Path) -> None:
    service.replies = [Reply(200, body=b"<html>", content_type="text/html")]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        unreached = [
            orchestra("--url", nobody, "--token", "t", "trigger", "p/j"),
            orchestra("--url", nobody, "run", "list"),
            orchestra("--url", "https://no-such-host.invalid", "run", "list"),
            orchestra("--url", service.url, "worker", "list"),
            orchestra("worker", "join", service.url, TOKEN, "--data", tmp_path / "worker"),
        ]
    for ran in unreached:
        assert (ran.code, ran.out, ran.err.count("\n")) == (5, b"", 1), ran


def test_exit_code_78_settings_that_cannot_be_used(
    orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "orchestra.toml"
    settings.write_text("[server]\nlissen = 1\n")
    (tmp_path / "worker.toml").write_text("[worker]\nslots = 1\n")
    wrong = [
        orchestra("serve", "--config", settings),
        orchestra("--data", tmp_path, "db", "check"),
        orchestra("--data", tmp_path, "config", "check"),
        orchestra("--data", tmp_path / "nothing", "serve"),
        orchestra("worker", "run", "--data", tmp_path),
    ]
    monkeypatch.setenv("ORCHESTRA_URL", "nonsense")
    wrong.append(orchestra("run", "list"))
    for ran in wrong:
        assert (ran.code, ran.out, ran.err.count("\n")) == (78, b"", 1), ran
    assert "orchestra.toml:2: server.lissen: unknown key 'lissen'; did you mean 'listen'?" in wrong[0].err
