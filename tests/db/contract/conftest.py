"""The adapters under test. A new one joins the whole suite by one line in FACTORIES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.db.memory import MemoryRepository
from appliance.db.repository import Repository
from appliance.db.sqlite import SqliteRepository

FACTORIES: dict[str, Callable[[Path], Repository]] = {
    "memory": lambda _: MemoryRepository(),
    "sqlite": lambda directory: SqliteRepository(directory / "orchestra.db"),
}


@pytest.fixture(params=FACTORIES)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    """An open, empty repository; afterwards it must be well inside (I10)."""
    made = FACTORIES[request.param](tmp_path)
    made.open()
    yield made
    assert made.check() == []
    made.close()
