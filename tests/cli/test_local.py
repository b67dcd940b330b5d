"""Commands that work on the data directory themselves: init, db, user passwd, user setup-link."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from appliance.app import Appliance
from appliance.cli import server
from appliance.cli.base import Globals
from appliance.cli.local import opened
from appliance.config import load_server, read_master_key
from appliance.model.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.test_administration import type_in

PASSWORD = b"correct horse battery staple"


@pytest.fixture
def directory(orchestra: Run, tmp_path: Path) -> Path:
    made = tmp_path / "site"
    assert orchestra("init", made).code == 0
    return made


def test_init_makes_all_that_a_server_needs(orchestra: Run, tmp_path: Path) -> None:
    made = tmp_path / "a" / "site"
    ran = orchestra("init", made, "--listen", "127.0.0.1:9999", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["directory"] == str(made)
    assert document["master_key"] == read_master_key(made).hex()
    assert document["setup_link"].startswith("http://127.0.0.1:9999/setup?token=orc_s_")
    assert load_server(made / "orchestra.toml").server.listen == "127.0.0.1:9999"
    assert (made / "projects" / "example.yaml").is_file()
    assert orchestra("--data", made, "db", "check").code == 0


def test_req_S_55_nobody_else_can_read_what_init_made(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_init_prints_key_link_and_what_to_do_next(orchestra: Run, tmp_path: Path) -> None:
    told = orchestra("init", tmp_path / "site").out.decode()
    assert "master key" in told and "/setup?token=orc_s_" in told
    assert f"orchestra serve --config {tmp_path}/site/orchestra.toml" in told


def test_req_S_85_init_says_when_passwords_could_be_overheard(orchestra: Run, tmp_path: Path) -> None:
    far = orchestra("init", tmp_path / "far", "--listen", "0.0.0.0:8080", "--base-url", "http://server.lan:8080")
    assert "insecure_http = true" in far.err and far.code == 0
    everywhere = orchestra("init", tmp_path / "everywhere", "--listen", "0.0.0.0:8080")
    assert "insecure_http = true" in everywhere.err and b"http://127.0.0.1:8080/setup" in everywhere.out
    assert orchestra("init", tmp_path / "tls", "--base-url", "https://ci.example.org").err == ""
    assert orchestra("init", tmp_path / "near").err == ""


@pytest.mark.parametrize("name", ["orchestra.toml", "master.key", "orchestra.db"])
def test_init_refuses_a_directory_that_holds_a_part_of_a_server(orchestra: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    ran = orchestra("init", tmp_path)
    assert (ran.code, name in ran.err) == (1, True)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_init_that_fails_takes_away_what_it_made_and_nothing_else(
    orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Appliance):
        @property
        def accounts(self) -> None:  # type: ignore[override]  # breaks on purpose, after the database was made
            raise Unavailable("not today")

    monkeypatch.setattr(server, "build", Broken)
    (tmp_path / "site").mkdir(mode=0o700)
    (tmp_path / "site" / "notes.txt").write_text("mine")
    assert orchestra("init", tmp_path / "site").err == "orchestra: not today\n"
    assert [one.name for one in (tmp_path / "site").iterdir()] == ["notes.txt"]
    assert orchestra("init", tmp_path / "new").code == 1
    assert not (tmp_path / "new").exists()


def test_projects_that_are_there_already_are_kept(orchestra: Run, tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    assert orchestra("init", tmp_path).code == 0
    assert list((tmp_path / "projects").iterdir()) == []


def test_req_S_08_the_first_administrator_can_be_made_by_a_script(
    orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, PASSWORD + b"\n")
    ran = orchestra("init", tmp_path / "site", "--admin", "root", "--password-stdin", "--json")
    assert (ran.code, "setup_link" in json.loads(ran.out)) == (0, False)
    with opened(Globals(data=tmp_path / "site")) as appliance:
        assert appliance.accounts.login_for_token("root", PASSWORD.decode(), "127.0.0.1")
    assert orchestra("--data", tmp_path / "site", "user", "setup-link").code == 1


def test_req_S_08_a_weak_password_makes_no_server(
    orchestra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b"password\n")
    ran = orchestra("init", tmp_path / "site", "--admin", "root", "--password-stdin")
    assert ran.code == 1
    assert not (tmp_path / "site").exists()


def test_a_password_is_set_in_the_data_directory(
    orchestra: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(Globals(data=directory)) as appliance:
        appliance.accounts.add_user("ana", None)
    type_in(monkeypatch, PASSWORD)
    assert orchestra("--data", directory, "user", "passwd", "ana", "--password-stdin").code == 0
    with opened(Globals(data=directory)) as appliance:
        assert appliance.accounts.login_for_token("ana", PASSWORD.decode(), "127.0.0.1")
    type_in(monkeypatch, PASSWORD)
    assert orchestra("--data", directory, "user", "passwd", "bob", "--password-stdin").code == 3


def test_a_new_setup_link_is_printed(orchestra: Run, directory: Path) -> None:
    ran = orchestra("--data", directory, "user", "setup-link")
    assert (ran.code, ran.out.startswith(b"http://127.0.0.1:8080/setup?token=orc_s_")) == (0, True)


def test_a_schema_that_is_up_to_date_needs_no_migration(orchestra: Run, directory: Path) -> None:
    assert orchestra("--data", directory, "db", "migrate").err == "the schema is up to date\n"
    assert json.loads(orchestra("--data", directory, "db", "migrate", "--dry-run", "--json").out) == {
        "steps": [],
        "applied": False,
    }


def test_a_database_that_a_server_has_open_is_left_alone(orchestra: Run, directory: Path) -> None:
    with opened(Globals(data=directory)):
        ran = orchestra("--data", directory, "db", "check")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "open" in ran.err


def test_a_directory_that_is_not_initialised_is_exit_code_78(orchestra: Run, tmp_path: Path) -> None:
    for command in (["serve"], ["db", "check"], ["db", "migrate"], ["user", "setup-link"]):
        ran = orchestra("--data", tmp_path, *command)
        assert (ran.code, "orchestra init" in ran.err) == (78, True)


def use_factory(directory: Path, factory: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a class in a module beside the settings; what Python remembers of it ends with the test."""
    name = factory.partition(":")[0]
    (directory / f"{name}.py").write_text(module)
    (directory / f"{name}.py").chmod(0o600)
    settings = directory / "orchestra.toml"
    settings.write_text(settings.read_text().replace("[appliance]", f'[appliance]\nfactory = "{factory}"'))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("factory", ["broken_module:Thing", "no_class:Missing", "other_class:Path"])
def test_a_factory_that_cannot_be_used_is_exit_code_78(
    orchestra: Run, directory: Path, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "import nothing_of_that_name" if factory.startswith("broken") else "from pathlib import Path"
    use_factory(directory, factory, module, monkeypatch)
    ran = orchestra("--data", directory, "db", "check")
    assert ran.code == 78
    assert "appliance.factory" in ran.err


def test_a_factory_beside_the_settings_changes_a_part(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "from appliance.app import Appliance\nclass Ours(Appliance):\n    where = 'here'\n"
    use_factory(directory, "deployment_of_a_test:Ours", module, monkeypatch)
    with opened(Globals(data=directory)) as appliance:
        assert vars(type(appliance))["where"] == "here"


def test_req_S_89_a_factory_that_others_may_change_is_not_loaded(
    orchestra: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_factory(directory, "open_to_all:Ours", "raise SystemExit('this ran')", monkeypatch)
    (directory / "open_to_all.py").chmod(0o666)
    ran = orchestra("--data", directory, "db", "check")
    assert (ran.code, "chmod" in ran.err) == (78, True)
