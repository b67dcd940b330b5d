"""The server is killed in the middle of a migration, at every place there is (F40)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository, migrate
from tests.db.values import add
from tests.house.repository_tree import ROOT

SECOND = """
def apply(db):
    db["worker"].add_column("colour", str)
    db.execute("CREATE TABLE extra (x INTEGER) STRICT")
    db.execute("INSERT INTO extra SELECT 1 FROM run")
"""
THIRD = """
def apply(db):
    db.execute("UPDATE worker SET colour = 'red'")
    db["extra"].transform(rename={"x": "y"})
"""

Kill = Callable[[int], str]


@contextmanager
def killing(path: Path, migrations: Path, kind: str) -> Iterator[Kill]:
    """Answers what became of a process that opened the database and was to die at that statement or change."""
    command = [sys.executable, "-m", "tests.db.sqlite.dying", str(path), str(migrations)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        orders, answers = program.stdin, program.stdout
        assert orders is not None and answers is not None and program.stderr is not None

        def kill(number: int) -> str:
            orders.write(f"{kind} {number}\n")
            orders.flush()
            return answers.readline().strip()

        yield kill
        orders.close()
        assert program.stderr.read() == ""


def settled(path: Path) -> tuple[int, int]:
    """The version of the schema and the number of runs, after SQLite has recovered what a kill left."""
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        version = int(connection.pragma("user_version"))
        return version, int(connection.execute("SELECT count(*) FROM run").get) if version else 0
    finally:
        connection.close()


def remove(path: Path) -> None:
    """The database and all that lies beside it."""
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations more than there are."""
    made = shutil.copytree(migrate.folder(), tmp_path / "migrations")
    number = len(migrate.load(made))
    (made / f"m{number + 1:04d}_second.py").write_text(SECOND)
    (made / f"m{number + 2:04d}_third.py").write_text(THIRD)
    return made


@pytest.mark.parametrize("kind", ["statement", "change"])
def test_fault_F40_a_kill_at_any_place_of_an_upgrade_leaves_whole_migrations(
    path: Path, folder: Path, kind: str
) -> None:
    today = len(migrate.load())
    repository = SqliteRepository(path)
    repository.open()
    add(repository)
    repository.close()
    whole = path.read_bytes()
    versions: list[int] = []
    with killing(path, folder, kind) as kill:
        while True:
            remove(path)
            path.write_bytes(whole)
            path.chmod(0o600)
            outcome = kill(len(versions) + 1)
            if outcome != "killed":
                break
            version, runs = settled(path)
            versions.append(version)
            assert runs == 1
            copies = list(path.parent.glob("*.bak"))
            if version > today:  # the copy is there before anything is changed
                assert [settled(copy) for copy in copies] == [(today, 1)]
            repository = SqliteRepository(path, migrations=folder)
            repository.open()
            assert add(repository).number == 2
            assert repository.check() == []
            repository.close()
            assert settled(path) == (today + 2, 2)
            assert list(path.parent.glob("*.tmp")) == []  # no half copy stays
    assert outcome == "opened"
    assert versions == sorted(versions)
    assert set(versions) == {today, today + 1, today + 2}  # each migration is a transaction of its own
    assert len(versions) > 20


@pytest.mark.parametrize("kind", ["statement", "change"])
def test_fault_F40_after_a_kill_at_any_place_the_first_start_is_done_again(path: Path, kind: str) -> None:
    kills = 0
    with killing(path, migrate.folder(), kind) as kill:
        while (outcome := kill(kills + 1)) == "killed":
            kills += 1
            repository = SqliteRepository(path)
            repository.open()
            assert add(repository).number == 1
            assert repository.check() == []
            repository.close()
            remove(path)
    assert outcome == "opened"
    assert kills > 20
