"""What is refused at the start, and that a refusal leaves the file as it was."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.connection import connect, file_system
from appliance.model.errors import Conflict, Unavailable
from tests.db.values import add

MOUNTS = """\
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:30 / /mnt rw shared:1 - tmpfs tmpfs rw
31 30 0:31 / /mnt/my\\040share rw - nfs4 server:/x rw
32 21 0:32 / /data rw - tmpfs tmpfs rw
33 21 0:33 / /data rw - fuse.sshfs host: rw
"""


def made(path: Path) -> None:
    """Make a database with one run in it."""
    repository = SqliteRepository(path)
    repository.open()
    add(repository)
    repository.close()


def test_the_settings_are_those_of_the_rules(repository: SqliteRepository, path: Path) -> None:
    connection = connect(path)
    expected = {
        "synchronous": 2,
        "journal_mode": "wal",
        "foreign_keys": 1,
        "trusted_schema": 0,
        "busy_timeout": 5000,
        "journal_size_limit": 64 << 20,
        "wal_autocheckpoint": 1000,
    }
    assert {name: connection.pragma(name) for name in expected} == expected
    assert connection.pragma("user_version") >= 1
    assert connection.pragma("application_id") == 0x4F524341
    connection.close()


def test_req_S_55_the_files_are_the_owners_alone(repository: SqliteRepository, path: Path) -> None:
    add(repository)
    files = list(path.parent.glob("orchestra.db*"))
    assert {one.name for one in files} >= {"orchestra.db", "orchestra.db-wal", "orchestra.db-shm", "orchestra.db.lock"}
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}


def test_req_S_55_a_file_that_others_can_read_stops_the_start(path: Path) -> None:
    made(path)
    path.chmod(0o640)
    with pytest.raises(Conflict, match="chmod 600"):
        SqliteRepository(path).open()


def test_two_masters_never_share_a_database(repository: SqliteRepository, path: Path) -> None:
    with pytest.raises(Conflict, match="another server"):
        SqliteRepository(path).open()
    assert add(repository).number == 1


def test_a_database_is_opened_again_after_it_was_closed(path: Path) -> None:
    made(path)
    repository = SqliteRepository(path)
    repository.open()
    assert add(repository).number == 2
    repository.close()
    repository.close()


def test_people_at_a_shell_can_read_the_runs(repository: SqliteRepository, path: Path) -> None:
    run = add(repository)
    shell = connect(path, is_reader=True)
    columns = "id, project, job, number, status, created_at, started_at"
    found = list(shell.execute(f"SELECT {columns} FROM run_in_words"))
    shell.close()
    assert found == [(run.id.replace("-", ""), "website", "test", 1, "pending", "2026-01-31 09:15:00", None)]


def test_the_same_repository_is_opened_again_after_it_was_closed(path: Path) -> None:
    repository = SqliteRepository(path)
    for number in (1, 2, 3):
        repository.open()
        assert add(repository).number == number
        repository.close()


@pytest.mark.parametrize("step", ["readers.open", "writer.start"])
def test_an_open_that_fails_leaves_the_files_to_everybody(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("as told")

    repository = SqliteRepository(path)
    part, name = step.split(".")
    with monkeypatch.context() as patch:
        patch.setattr(getattr(repository, f"_{part}"), name, fail)
        with pytest.raises(RuntimeError, match="as told"):
            repository.open()
    with pytest.raises(Unavailable):
        add(repository)
    for one in path.parent.iterdir():
        one.unlink()  # the guard would refuse
    repository.open()
    assert add(repository).number == 1
    repository.close()


def test_a_refused_open_leaves_the_files_to_everybody(path: Path) -> None:
    path.write_text("not a database at all " * 1000)
    path.chmod(0o600)
    repository = SqliteRepository(path)
    with pytest.raises(Conflict, match="damaged"):
        repository.open()
    path.unlink()
    repository.open()
    assert add(repository).number == 1
    repository.close()


def test_what_is_closed_or_not_yet_open_says_so(path: Path) -> None:
    repository = SqliteRepository(path)
    with pytest.raises(Unavailable):
        repository.runs.counts()
    repository.open()
    repository.runs.counts()
    repository.close()
    with pytest.raises(Unavailable):
        repository.runs.counts()
    with pytest.raises(Unavailable):
        add(repository)


def test_fault_F20_a_newer_schema_is_refused_with_its_version(path: Path) -> None:
    made(path)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 999)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Conflict, match="999"):
        SqliteRepository(path).open()
    assert path.read_bytes() == before


def test_fault_F20_a_foreign_database_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    path.chmod(0o600)
    with pytest.raises(Conflict, match="no database of the appliance"):
        SqliteRepository(path).open()


@pytest.mark.parametrize("seed", range(40))
def test_fault_F20_a_damaged_file_is_refused_or_whole(path: Path, seed: int) -> None:
    made(path)
    content = bytearray(path.read_bytes())
    chance = random.Random(seed)
    place = 4096 * (seed % (len(content) // 4096)) + chance.randrange(100)
    content[place : place + 200] = chance.randbytes(200)
    path.write_bytes(content)
    repository = SqliteRepository(path)
    try:
        repository.open()
    except Conflict:
        assert path.read_bytes() == content
    else:
        # The damage lay in bytes that hold nothing.
        assert repository.check() == []
        repository.close()


def test_a_text_file_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("not a database at all " * 1000)
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(Conflict, match="damaged"):
        SqliteRepository(path).open()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/var", "ext4"),
        ("/mnt/x", "tmpfs"),
        ("/mnt/my share/x", "nfs4"),
        ("/data/x", "fuse.sshfs"),
        ("/database", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(place: str, kind: str) -> None:
    assert file_system(Path(place), MOUNTS) == kind
