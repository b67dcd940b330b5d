"""An open SQLite repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.db.sqlite import SqliteRepository


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is, or will be."""
    return tmp_path / "orchestra.db"


@pytest.fixture
def repository(path: Path) -> Iterator[SqliteRepository]:
    """Open and empty; well inside afterwards."""
    made = SqliteRepository(path)
    made.open()
    yield made
    assert made.check() == []
    made.close()
