"""Only apsw reaches the live files (reliability.md 3.1)."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.guard import SecondOpener
from tests.db.values import add

WAYS: dict[str, Callable[[Path], object]] = {
    "sqlite3.connect": lambda path: sqlite3.connect(path),
    "sqlite3.connect by uri": lambda path: sqlite3.connect(f"file:{path}?mode=ro", uri=True),
    "open": lambda path: path.open("rb"),
    "open by a name in bytes": lambda path: io.FileIO(os.fsencode(path)),
    "os.open": lambda path: os.open(path, os.O_RDONLY),
    "read_bytes of the -wal": lambda path: Path(f"{path}-wal").read_bytes(),
    "open of the -shm": lambda path: Path(f"{path}-shm").read_bytes(),
    "making a -journal": lambda path: Path(f"{path}-journal").write_bytes(b""),
    "shutil.copy from": lambda path: shutil.copy(path, path.with_name("copy")),
    "shutil.copy over": lambda path: shutil.copy(os.devnull, path),
    "another spelling": lambda path: (path.parent / ".." / path.parent.name / path.name).open("rb"),
    "a symbolic link": lambda path: path.with_name("link").open("rb"),
    "a hard link": lambda path: path.with_name("same").open("rb"),
    "remove": lambda path: path.unlink(),
    "rename": lambda path: path.rename(path.with_name("away")),
    "rename over": lambda path: path.with_name("other").rename(path),
    "truncate": lambda path: os.truncate(path, 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_fault_F21_every_second_way_to_the_live_database_is_refused(
    repository: SqliteRepository, path: Path, way: str
) -> None:
    path.with_name("link").symlink_to(path)
    path.with_name("other").write_bytes(b"x")
    # A hard link made from outside of this process: from inside it is refused already.
    os.spawnv(os.P_WAIT, "/bin/ln", ["ln", str(path), str(path.with_name("same"))])
    with pytest.raises(SecondOpener):
        WAYS[way](path)
    assert add(repository).number == 1


def test_fault_F21_other_files_beside_it_are_free(repository: SqliteRepository, path: Path) -> None:
    beside = path.with_name("orchestra.db-notes")
    beside.write_text("free")
    assert beside.read_text() == "free"
    sqlite3.connect(":memory:").close()


def test_a_closed_database_is_a_file_like_any_other(path: Path) -> None:
    made = SqliteRepository(path)
    made.open()
    made.close()
    assert path.read_bytes().startswith(b"SQLite format 3")
