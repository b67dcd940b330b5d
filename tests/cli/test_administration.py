"""Workers, users, tokens and project files."""

from __future__ import annotations

import io
import json
import socket
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from appliance.config import load_worker, read_worker_token
from appliance.model import tokens
from tests.cli.conftest import Run
from tests.cli.wrong_lines import TOKEN
from tests.client.conftest import Reply, Service

ID = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_a_worker_token_is_printed_once_with_its_join_line(ask: Run, service: Service) -> None:
    made = {"token": TOKEN, "join": f"orchestra worker join https://ci {TOKEN}"}
    service.replies = [Reply(201, made)]
    ran = ask("worker", "token", "build-1", "--property", "pool=linux", "--property", "cores=8")
    assert (ran.code, ran.out.decode()) == (0, made["join"] + "\n")
    assert service.asked[0].document == {"name": "build-1", "properties": {"pool": "linux", "cores": 8}}
    assert json.loads(ask("worker", "token", "build-1", "--json").out) == made


def test_workers_are_listed_shown_enabled_and_removed(ask: Run, service: Service) -> None:
    one = {"name": "w", "state": "draining", "sentence": "Finishes.", "used": 1, "slots": 4, "last_contact_at": None}
    one |= {"is_enabled": True, "is_drained": False, "left": 1, "version": "0.2", "version_before": "0.1"}
    one |= {"load": 0.5, "disk_free": 1 << 30, "version_since": "2026-01-01T00:00:00.000Z", "refused": 3, "late": 0}
    service.replies = [Reply(document={"items": [one], "next": None})]
    assert ask("worker", "list").out.splitlines()[1].split() == b"w draining 1 of 4 0.50 1.0 GiB 0.2 -".split()
    away = {**one, "state": "silent", "load": None, "disk_free": None, "version": ""}
    service.replies = [Reply(document={"items": [away], "next": None})]
    assert ask("worker", "list").out.splitlines()[1].split() == b"w silent 1 of 4 - - - -".split()
    service.replies = [Reply(document=one)]
    assert json.loads(ask("worker", "show", "w", "--json").out) == one
    shown = ask("worker", "show", "w").out.decode()
    for words in ("that means        Finishes.", "0.1, until 2026-01-01", "messages refused  3", "runs left         1"):
        assert words in shown
    assert "messages late" not in shown
    for verb in ("enable", "disable", "drain", "disconnect", "remove"):
        assert ask("worker", verb, "w").code == 0
    assert [(asked.method, asked.path, asked.body) for asked in service.asked[-5:]] == [
        ("PATCH", "/api/v1/workers/w", b'{"is_enabled": true}'),
        ("PATCH", "/api/v1/workers/w", b'{"is_enabled": false}'),
        ("POST", "/api/v1/workers/w/drain", b"{}"),
        ("POST", "/api/v1/workers/w/disconnect", b"{}"),
        ("DELETE", "/api/v1/workers/w", b""),
    ]


def test_req_W6_draining_says_what_is_left_and_waits_when_asked(ask: Run, service: Service) -> None:
    one = {"name": "w", "is_draining": True, "is_drained": False, "left": 2, "is_active": True}
    service.replies = [Reply(document=one)]
    assert "w gets nothing new; it has 2 runs left" in ask("worker", "drain", "w").err
    service.replies = [Reply(document=one), Reply(document={**one, "is_drained": True, "left": 0})]
    ran = ask("worker", "drain", "w", "--wait")
    assert ran.code == 0 and "w is drained" in ran.err
    service.replies = [Reply(document=one)]
    ran = ask("worker", "drain", "w", "--wait", "--timeout", "0s")
    assert ran.code == 1 and "w still has 2 runs left after" in ran.err
    assert ask("worker", "drain", "w", "--timeout", "1h").code == 2


def join(orchestra: Run, directory: Path, *more: str) -> tuple[int, str]:
    """Join a server that is not there: everything is written, then the connection fails."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ran = orchestra("worker", "join", url, *more, "--data", directory)
    return ran.code, ran.err


def test_req_S_85_joining_writes_settings_and_a_token_that_only_its_owner_reads(orchestra: Run, tmp_path: Path) -> None:
    directory = tmp_path / "worker"
    code, told = join(
        orchestra,
        directory,
        TOKEN,
        "--name",
        "build-1",
        "--slots",
        "4",
        "--property",
        "k=true",
        "--environment",
        "k=true",
    )
    assert code == 5
    assert "nothing listens at" in told and "everything is stored" in told.splitlines()[-1]
    settings = load_worker(directory / "worker.toml")
    assert (settings.worker.slots, settings.worker.name) == (4, "build-1")
    assert settings.worker.properties == {"k": True}
    assert settings.worker.environment == {"k": "true", "python3_executable": sys.executable}
    assert read_worker_token(settings) == TOKEN
    assert stat.S_IMODE((directory / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


OTHER = tokens.render("worker", bytes(range(32)))


def test_joining_again_changes_only_what_is_given_and_says_so(orchestra: Run, tmp_path: Path) -> None:
    file = tmp_path / "worker" / "worker.toml"
    _, first = join(orchestra, file.parent, TOKEN, "--slots", "4", "--property", "pool=red", "--property", "gpu=true")
    file.write_text(file.read_text().replace(sys.executable, "/opt/python") + 'min_free = "5GiB"  # asked for by Ann\n')
    before = load_worker(file).worker
    _, again = join(orchestra, file.parent, OTHER, "--property", "pool=blue")
    assert f"wrote {file}" in first and f"changed {file}: what was not given stays as it was" in again
    after = load_worker(file)
    assert after.worker == msgspec.structs.replace(
        before, url=after.worker.url, properties={"pool": "blue", "gpu": True}
    )
    assert (after.worker.slots, after.worker.min_free) == (4, 5 << 30)
    assert after.worker.url != before.url and read_worker_token(after) == OTHER
    assert "  # asked for by Ann\n" in file.read_text() and "  # how many runs at once\n" in file.read_text()


def test_a_dash_takes_the_token_from_stdin(orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, f"{TOKEN}\n".encode())
    join(orchestra, tmp_path / "worker", "-")
    assert read_worker_token(load_worker(tmp_path / "worker" / "worker.toml")) == TOKEN


@pytest.mark.parametrize("url", ["http://ci.example.org", "HTTP://10.0.0.1:8080", "http://[2001:db8::1]:8080"])
def test_req_S_85_a_token_is_not_sent_in_the_clear_to_another_machine(orchestra: Run, tmp_path: Path, url: str) -> None:
    ran = orchestra("worker", "join", url, TOKEN, "--data", tmp_path / "worker")
    assert ran.code == 1
    assert "https://" in ran.err
    assert not (tmp_path / "worker").exists()


def test_req_S_08_a_password_comes_from_stdin_and_stands_on_no_command_line(
    ask: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "pa ss wörd\n".encode())
    service.replies = [Reply(201, {"name": "ana"})]
    ran = ask("user", "add", "ana", "--administrator", "--role", "website=viewer", "--password-stdin")
    assert (ran.code, ran.out) == (0, b"added ana\n")
    assert service.asked[0].document == {
        "name": "ana",
        "password": "pa ss wörd",
        "site_roles": ["administrator"],
        "project_roles": {"website": "viewer"},
    }


def test_req_S_08_without_a_terminal_or_stdin_there_is_no_password(
    ask: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b"")
    ran = ask("user", "add", "ana")
    assert (ran.code, service.asked) == (2, [])
    assert "--password-stdin" in ran.err


def test_users_are_listed_and_switched(ask: Run, service: Service) -> None:
    one = {"name": "ana", "is_enabled": True, "site_roles": [], "project_roles": {"b": "viewer", "a": "editor"}}
    service.replies = [Reply(document={"items": [one], "next": None})]
    assert ask("user", "list").out.splitlines()[1].split() == b"ana yes - a: editor, b: viewer".split()
    service.replies = [Reply(document=one)]
    assert ask("user", "disable", "ana").code == 0
    assert ask("user", "enable", "ana").code == 0
    assert [asked.document for asked in service.asked[-2:]] == [{"is_enabled": False}, {"is_enabled": True}]


def test_a_token_is_printed_alone_on_stdout(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, {"token": "orc_u_9", "id": "t", "label": "laptop", "expires_at": None})]
    ran = ask("token", "create", "laptop")
    assert ran.out == b"orc_u_9\n"
    assert "not shown again" in ran.err
    assert service.asked[0].document.keys() == {"label", "expires_at"}
    assert ask("token", "create", "laptop", "--expires", "never").code == 0
    assert service.asked[1].document == {"label": "laptop"}


def test_an_administrator_makes_lists_and_revokes_the_tokens_of_a_program(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, {"token": "orc_u_9", "id": ID, "label": "nightly", "expires_at": None})]
    ran = ask("token", "create", "nightly", "--for", "bot", "--expires", "never")
    assert ran.out == b"orc_u_9\n" and "give it to bot" in ran.err
    assert (service.asked[0].path, service.asked[0].document) == ("/api/v1/users/bot/tokens", {"label": "nightly"})
    service.replies = [Reply(document={"items": [], "next": None})]
    assert ask("token", "list", "--for", "bot").code == 0
    service.replies = [Reply(204, body=b"")]
    assert ask("token", "revoke", ID, "--for", "bot").code == 0
    assert [asked.path.partition("?")[0] for asked in service.asked[1:]] == [
        "/api/v1/users/bot/tokens",
        f"/api/v1/users/bot/tokens/{ID}",
    ]


def test_a_role_that_has_no_effect_yet_is_told(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, {"name": "ana", "warnings": ["no project 'x' is in force"]})]
    ran = ask("user", "add", "ana", "--no-password", "--role", "x=viewer")
    assert (ran.code, ran.out, ran.err) == (0, b"added ana\n", "no project 'x' is in force\n")


@pytest.mark.parametrize("url", ["http://ci.example.org", "http://10.0.0.1:8080"])
def test_req_S_85_a_password_is_not_sent_in_the_clear_to_another_machine(orchestra: Run, url: str) -> None:
    ran = orchestra("--url", url, "token", "create", "--user", "ana", "--password-stdin")
    assert (ran.code, "the password could be overheard" in ran.err) == (1, True)


def test_tokens_are_listed_and_revoked(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={"items": [{"id": ID, "label": "laptop"}], "next": None})]
    assert ask("token", "list").out.splitlines()[1].split() == f"{ID} laptop - - -".encode().split()
    service.replies = [Reply(204, body=b"")]
    assert ask("token", "revoke", ID).code == 0
    assert (service.asked[-1].method, service.asked[-1].path) == ("DELETE", f"/api/v1/me/tokens/{ID}")


GOOD = """
projects:
  - identifier: p
    jobs: [{identifier: j, definition: {commands: [[echo, hello]]}}]
"""


def test_good_project_files_are_exit_code_0(orchestra: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    ran = orchestra("config", "check", tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, b"", "nothing is wrong with 1 job\n")


def test_what_is_wrong_with_project_files_is_named_with_its_line_and_exit_code_1(
    orchestra: Run, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace("hello", '"{undefined}"'))
    ran = orchestra("config", "check", tmp_path / "p.yaml")
    assert ran.code == 1
    assert ran.out.startswith(f"{tmp_path}/p.yaml:4: ".encode()) and b"undefined" in ran.out
    found = json.loads(orchestra("config", "check", tmp_path / "p.yaml", "--json").out)["findings"]
    assert [(one["line"], one["subject"]) for one in found] == [(4, "p/j")]
