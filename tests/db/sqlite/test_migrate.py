"""Changes of the schema: whole or not at all, with a copy before (F40)."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository, dry_run, migrate
from appliance.db.sqlite.connection import connect
from appliance.model.errors import Conflict
from tests.db.values import add

GOOD = """
def apply(db):
    db["worker"].add_column("colour", str)
    db.execute("CREATE TABLE extra (x INTEGER) STRICT")
"""
REBUILDS = """
def apply(db):
    db["extra"].create({"id": int, "old": str, "gone": str}, pk="id", strict=True)
    db["extra"].insert_all([{"id": n, "old": "2024-01-01", "gone": "x"} for n in range(3)])
    db["extra"].transform(rename={"old": "new"}, drop=["gone"])
    assert list(db["extra"].rows_where("id > ?", [1])) == [{"id": 2, "new": "2024-01-01"}]
    assert db["extra"].strict
"""
FAILS_AT = """
def apply(db):
    for number in range({steps}):
        db.execute(f"CREATE TABLE half_{{number}} (x)")
    db.execute("UPDATE counter SET last = 77")
    raise RuntimeError("boom")
"""
ORPHANS = """
def apply(db):
    db.execute("INSERT INTO request VALUES (1, 'of no run')")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations, to which a test adds."""
    return shutil.copytree(migrate.folder(), tmp_path / "migrations")


@pytest.fixture
def old(path: Path) -> Path:
    """A database of today's schema with a run in it."""
    repository = SqliteRepository(path)
    repository.open()
    add(repository)
    repository.close()
    return path


def next_file(folder: Path) -> Path:
    number = len(migrate.load(folder)) + 1
    return folder / f"m{number:04d}_next.py"


def content(path: Path) -> list[tuple[object, ...]]:
    """Everything in a database, and its schema."""
    connection = apsw.Connection(str(path))
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    found = list(connection.execute("SELECT sql FROM sqlite_schema ORDER BY name"))
    found += [(table, *row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    found.append((connection.pragma("user_version"),))
    connection.close()
    return found


def test_the_migrations_of_the_source_tree_are_found() -> None:
    assert [one.number for one in migrate.load()] == list(range(1, len(migrate.load()) + 1))


def test_a_migration_is_applied_once_after_a_backup(old: Path, folder: Path) -> None:
    before = content(old)
    next_file(folder).write_text(GOOD)
    for _ in range(2):
        repository = SqliteRepository(old, migrations=folder)
        repository.open()
        assert add(repository).number > 1
        assert repository.check() == []
        repository.close()
    (backup,) = old.parent.glob("*.bak")
    assert content(backup) == before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "before-m" in backup.name


def test_the_first_start_makes_no_backup(old: Path) -> None:
    assert list(old.parent.glob("*.bak")) == []


def test_a_table_can_be_rebuilt_by_sqlite_utils_over_apsw(old: Path, folder: Path) -> None:
    next_file(folder).write_text(REBUILDS)
    repository = SqliteRepository(old, migrations=folder)
    repository.open()
    assert repository.check() == []
    assert add(repository).number == 2
    repository.close()


@pytest.mark.parametrize("steps", range(4))
def test_fault_F40_a_failed_migration_changes_nothing_and_leaves_a_backup(old: Path, folder: Path, steps: int) -> None:
    before = content(old)
    broken = next_file(folder)
    broken.write_text(FAILS_AT.format(steps=steps))
    with pytest.raises(RuntimeError, match="boom"):
        SqliteRepository(old, migrations=folder).open()
    assert content(old) == before
    (backup,) = old.parent.glob("*.bak")
    assert content(backup) == before
    broken.unlink()
    repository = SqliteRepository(old, migrations=folder)
    repository.open()
    assert add(repository).number == 2
    repository.close()


def test_fault_F40_a_migration_that_breaks_a_foreign_key_is_undone(old: Path, folder: Path) -> None:
    before = content(old)
    next_file(folder).write_text(ORPHANS)
    with pytest.raises(Conflict, match="request"):
        SqliteRepository(old, migrations=folder).open()
    assert content(old) == before


def test_a_dry_run_tells_the_sql_and_changes_nothing(old: Path, folder: Path) -> None:
    before = content(old)
    next_file(folder).write_text(GOOD)
    (step,) = dry_run(old, folder)
    assert step.name == next_file(folder).with_name(step.name).name
    assert any("CREATE TABLE extra" in statement for statement in step.statements)
    assert any("colour" in statement for statement in step.statements)
    assert content(old) == before
    assert list(old.parent.glob("*.bak")) == []


def test_a_dry_run_without_a_database_tells_everything(path: Path) -> None:
    steps = dry_run(path)
    assert [step.name for step in steps] == [one.name for one in migrate.load()]
    assert any("CREATE TABLE run" in statement for statement in steps[0].statements)
    assert not path.exists()


def test_a_gap_in_the_numbers_is_refused(folder: Path) -> None:
    (folder / "m0009_far.py").write_text(GOOD)
    with pytest.raises(Conflict, match="m0009_far"):
        migrate.load(folder)


def test_an_incomplete_installation_says_so(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="incomplete"):
        migrate.load(tmp_path)


def test_nothing_to_do_is_seen_by_the_version_alone(old: Path) -> None:
    connection = connect(old)
    assert migrate.bring_up_to_date(connection, old, migrate.load()) == []
    connection.close()
