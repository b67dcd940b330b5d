"""What holds for every command: help, global options, errors on one line, exit codes, a quick and slim start."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance import __version__
from appliance.cli import root
from appliance.cli.base import Globals
from tests.cli.conftest import Run
from tests.client.conftest import Reply, Service, problem


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


RUN = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"
ALL = list(commands(root, ()))
LEAVES = [(path, command) for path, command in ALL if not isinstance(command, click.Group)]


def shown_help(path: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(root, [*path, "--help"], prog_name="orchestra", terminal_width=80)
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_help_fits_a_screen(path: tuple[str, ...]) -> None:
    lines = shown_help(path).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_each_command_shows_an_example_that_can_be_typed(path: tuple[str, ...]) -> None:
    """Only parsed: what the example would do is for other tests."""
    example = shown_help(path).partition("Example:")[2].strip().partition("\n")[0]
    typed = shlex.split(re.sub(r" [<>] \S+$", "", example.replace("3f6c1d1e-...", RUN)))
    assert typed[0] == "orchestra" and f" {' '.join(path)}" in example
    assert parsed(typed[1:])[: len(path)] == path


def parsed(typed: list[str]) -> tuple[str, ...]:
    """The command that a line means; its arguments are read and not obeyed. Raises UsageError."""
    command: click.Command = root
    context = root.make_context("orchestra", list(typed), obj=Globals())
    path: tuple[str, ...] = ()
    while isinstance(command, click.Group):
        name, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None and below is not None
        command, path = below, (*path, name)
        try:
            context = below.make_context(name, list(rest), parent=context)
        except click.BadParameter as error:
            if "does not exist" not in error.message:  # an example's files are on no machine
                raise
            return path
    return path


def test_all_commands_of_the_first_release_are_there() -> None:
    expected = """
        config check/db check/db migrate/demo/init/run abort/run cancel/run list/run log/run results/run show/run wait
        /serve/token create/token list/token revoke/trigger/user add/user disable/user enable/user list/user passwd
        /worker disable/worker enable/worker join/worker list/worker remove/worker run/worker show/worker token
    """
    assert {" ".join(path) for path, _ in LEAVES} >= {one.strip() for one in expected.split("/")}


@pytest.mark.parametrize(
    "arguments", [("--json", "token", "list"), ("token", "--json", "list"), ("token", "list", "--json")]
)
def test_global_options_are_taken_before_and_after_a_command(
    orchestra: Run, service: Service, arguments: tuple[str, ...]
) -> None:
    service.replies = [Reply(document={"items": [], "next": None})]
    ran = orchestra(*arguments, "--url", service.url, "--token", "orc_u_1")
    assert (ran.code, ran.out.split()) == (0, b'{ "items": [] }'.replace(b" ]", b"]").split())


def test_the_environment_names_service_and_token(
    orchestra: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.replies = [Reply(document={"items": [], "next": None})]
    monkeypatch.setenv("ORCHESTRA_URL", service.url)
    monkeypatch.setenv("ORCHESTRA_TOKEN", "orc_u_2")
    assert orchestra("token", "list").code == 0
    assert service.asked[0].headers["Authorization"] == "Bearer orc_u_2"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(400, "no"), 1),
        (problem(401, "no"), 4),
        (problem(403, "no"), 4),
        (problem(404, "no"), 3),
        (problem(409, "no"), 1),
        (problem(422, "no"), 1),
        (problem(429, "no"), 1),
        (problem(500, "no"), 1),
        (problem(503, "no"), 1),
        (Reply(502, body=b"bad gateway", content_type="text/plain"), 5),
        (Reply(200, body=b"<p>not", content_type="text/html"), 5),
    ],
)
def test_each_refusal_is_one_line_and_its_exit_code(ask: Run, service: Service, reply: Reply, code: int) -> None:
    service.replies = [reply]
    ran = ask("user", "list")
    assert ran.code == code
    assert ran.out == b""
    assert ran.err.startswith("orchestra: ") and "no" in ran.err and ran.err.count("\n") == 1


def test_a_server_that_is_not_there_is_exit_code_5(orchestra: Run) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ran = orchestra("--url", f"http://127.0.0.1:{closed.getsockname()[1]}", "worker", "list")
    assert (ran.code, ran.err.count("\n")) == (5, 1)


def test_wrong_settings_are_exit_code_78(orchestra: Run, tmp_path: Path) -> None:
    (tmp_path / "orchestra.toml").write_text("[server]\nlissen = 1\n")
    ran = orchestra("serve", "--config", tmp_path / "orchestra.toml")
    assert ran.code == 78
    assert "orchestra.toml:2" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("nonsense",),
        ("run", "nonsense"),
        ("run", "show"),
        ("run", "show", "a", "b"),
        ("run", "list", "--limit", "0"),
        ("run", "list", "--proj", "x"),
        ("trigger", "no-slash"),
        ("trigger", "p/j", "-p", "novalue"),
        ("trigger", "p/j", "-p", "a=1", "-p", "a=2"),
        ("init", "--password-stdin"),
        ("demo", "--port", "0"),
        ("int",),
        ("run", "list", "--status", "fail"),
        ("init", "--listen", "8080"),
        ("init", "--base-url", "ci.example.org"),
        ("token", "create", "--password-stdin"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help_and_exit_code_2(
    orchestra: Run, arguments: tuple[str, ...]
) -> None:
    ran = orchestra(*arguments)
    assert ran.code == 2
    assert ran.err.startswith("orchestra: ") and ran.err.endswith("--help\n") and ran.err.count("\n") == 1


def test_a_wrong_name_is_answered_with_the_one_that_was_meant(orchestra: Run) -> None:
    assert orchestra("int").err == "orchestra: No such command 'int'; did you mean 'init'? See orchestra --help\n"
    assert "did you mean 'list'? See orchestra run --help" in orchestra("run", "lst").err
    assert "did you mean '--follow'? See orchestra trigger --help" in orchestra("trigger", "p/j", "--folow").err


@pytest.mark.parametrize("path", [(), ("run",), ("worker",)])
def test_a_group_alone_shows_its_help(orchestra: Run, path: tuple[str, ...]) -> None:
    ran = orchestra(*path)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.startswith("Usage: orchestra") and "\nCommands:\n" in ran.err


def test_the_version_is_printed(orchestra: Run) -> None:
    assert orchestra("--version").out.decode() == f"orchestra {__version__}\n"


def test_req_S_16_an_error_cannot_bring_control_characters(ask: Run, service: Service) -> None:
    service.replies = [problem(404, "no \x1b]0;title\x07 \x9b31m \u202e here\nsecond line")]
    ran = ask("worker", "show", "x")
    assert ran.err == "orchestra: no \\x1b]0;title\\x07 \\x9b31m \\u202e here second line\n"


def test_a_bug_is_one_line_without_a_traceback(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={"items": [{"no": "name"}]})]
    ran = ask("user", "list")
    assert ran.code == 1
    assert "KeyError" in ran.err and "Traceback" not in ran.err and ran.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(service: Service, tmp_path: Path) -> None:
    service.replies = [Reply(document={"items": [{"name": f"user-{n}"} for n in range(100_000)]})]
    for item in service.replies[0].document["items"]:  # type: ignore[union-attr]  # it is a Reply
        item["is_enabled"] = True
    line = f"{sys.executable} -m appliance --url {service.url} --token t user list"
    ran = subprocess.run(["bash", "-c", f"set -o pipefail; {line} | head -n 1"], capture_output=True, check=False)
    assert ran.stdout.startswith(b"USER")
    assert ran.stderr == b""
    assert ran.returncode == 1


def modules_after(statement: str) -> set[str]:
    """The modules that a new Python has loaded after the statement."""
    program = f"import sys\n{statement}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


HEAVY = {"yaml", "bottle", "jinja2", "waitress", "apsw", "sqlite_utils", "sqlite3", "croniter"}


def test_help_imports_nothing_but_the_parser() -> None:
    loaded = modules_after("from appliance.cli import main; main(['--help'])")
    assert "click" in loaded
    assert loaded & (HEAVY | {"msgspec", "websockets", "http.client", "appliance.client", "appliance.config"}) == set()


def test_a_client_command_imports_no_server(tmp_path: Path) -> None:
    loaded = modules_after("from appliance.cli import main; main(['--url', 'http://127.0.0.1:1', 'run', 'list'])")
    assert "appliance.client" in loaded
    assert loaded & HEAVY == set()
    assert not {one for one in loaded if one.startswith(("appliance.db", "appliance.web", "appliance.app"))}


def test_a_worker_imports_no_database_web_or_yaml_library(tmp_path: Path) -> None:
    settings = tmp_path / "worker.toml"
    settings.write_text('[worker]\nurl = "http://127.0.0.1:1"\n')
    arguments = ["worker", "run", "--config", str(settings)]
    loaded = modules_after(f"from appliance.cli import main; main({arguments!r})")
    assert "appliance.worker.app" in loaded
    assert loaded & HEAVY == set()
    assert not {one for one in loaded if one.startswith(("appliance.db", "appliance.web", "appliance.app"))}
