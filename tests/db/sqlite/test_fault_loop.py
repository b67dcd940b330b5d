"""ENOSPC and EIO at every operation of twelve transactions, once and for ever (R14, F16, F18)."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from appliance.clock import SystemClock
from appliance.db.room import Room
from appliance.db.sqlite import SqliteRepository, writer
from appliance.model.errors import Full, Unavailable
from tests.db.sqlite.faults import Breaker, Disk
from tests.db.sqlite.transactions import TRANSACTIONS, Transaction, dump

_names = itertools.count()
_faults: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Print how many faults were met."""
    yield
    print(f"faults at operations of {len(TRANSACTIONS)} transactions, all survived: {dict(_faults)}")


class Bench:
    """One transaction and the database that it begins with, to be tried again and again."""

    def __init__(self, directory: Path, transaction: Transaction) -> None:
        self.directory, self.transaction = directory, transaction
        self.base = directory / "base.db"
        repository = SqliteRepository(self.base)
        repository.open()
        transaction.prepare(repository)
        self.before = dump(repository)
        repository.close()
        shutil.copy(self.base, directory / "after.db")
        repository = SqliteRepository(directory / "after.db")
        repository.open()
        transaction.commit(repository)
        self.after = dump(repository)
        repository.close()
        assert self.before != self.after

    def copy(self) -> Path:
        """The database that it begins with, in a file of its own."""
        path = self.directory / f"{next(_names)}.db"
        shutil.copy(self.base, path)
        return path

    def seen(self, path: Path) -> dict[str, list[Any]]:
        """What is in a file, by a server that starts; nothing may be damaged."""
        repository = SqliteRepository(path)
        repository.open()
        try:
            assert repository.check() == []
            return dump(repository)
        finally:
            repository.close()


@pytest.fixture
def bench(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # After every commit, so that the faults meet the writing back, too.
    monkeypatch.setattr(writer, "CHECKPOINT", 1)
    return Bench(tmp_path, TRANSACTIONS[name])


def settle(repository: SqliteRepository) -> None:
    """Return when the writer has nothing left to do; the error that it may have met is told elsewhere."""
    with contextlib.suppress(Unavailable):
        repository._writer.do(lambda _connection: None)


every = pytest.mark.parametrize("name", TRANSACTIONS)
duration = pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "for ever"])


@duration
@every
def test_goal_R14_fault_F16_no_space_at_any_operation(bench: Bench, is_lasting: bool) -> None:
    for at in itertools.count(1):
        path, breaker = bench.copy(), Breaker(at, apsw.FullError, is_lasting)
        disk = Disk(f"full-{next(_names)}", breaker)
        broken: list[Exception] = []
        repository = SqliteRepository(path, vfs=disk.name, on_fatal=broken.append)
        repository.open()
        breaker.is_armed = True
        try:
            bench.transaction.commit(repository)
            is_acknowledged = True
        except Full:
            is_acknowledged = False
            assert breaker.has_struck
        settle(repository)
        breaker.is_armed = False
        assert dump(repository) == (bench.after if is_acknowledged else bench.before)
        if not is_acknowledged:
            bench.transaction.commit(repository)  # the next write works
            assert dump(repository) == bench.after
        repository.close()
        assert broken == []
        assert bench.seen(path) == bench.after
        if not breaker.has_struck:
            break
        _faults["no space"] += 1
    assert at > 4


@duration
@every
def test_goal_R14_fault_F18_an_io_error_at_any_operation(bench: Bench, is_lasting: bool) -> None:
    for at in itertools.count(1):
        path, breaker = bench.copy(), Breaker(at, apsw.IOError, is_lasting)
        disk = Disk(f"broken-{next(_names)}", breaker)
        told: list[Exception] = []
        repository = SqliteRepository(path, vfs=disk.name, on_fatal=told.append)
        repository.open()
        breaker.is_armed = True
        try:
            bench.transaction.commit(repository)
            is_acknowledged = True
        except Unavailable as error:
            is_acknowledged = False
            assert not isinstance(error, Full)
            assert breaker.has_struck
        settle(repository)
        breaker.is_armed = False
        if breaker.has_struck:
            assert len(told) == 1
            with pytest.raises(Unavailable, match="must be restarted"):
                bench.transaction.commit(repository)  # nothing is written any more, whatever the disk says now
        repository.close()
        # What was not acknowledged may have reached the disk all the same, but then as a whole.
        assert bench.seen(path) in ([bench.after] if is_acknowledged else [bench.before, bench.after])
        if not breaker.has_struck:
            assert told == []
            break
        _faults["input/output errors"] += 1
    assert at > 4


@every
def test_goal_R14_fault_F16_with_a_reserve_no_write_hears_of_a_disk_that_fills_up(bench: Bench) -> None:
    """Each write that finds the disk full is done again when the reserve was given up for it."""
    for at in itertools.count(1):
        path = bench.copy()
        room = Room(path.parent, SystemClock())
        assert room.look()
        breaker = Breaker(at, apsw.FullError, is_lasting=False)
        disk = Disk(f"reserved-{next(_names)}", breaker)
        repository = SqliteRepository(path, vfs=disk.name, room=room)
        repository.open()
        breaker.is_armed = True
        bench.transaction.commit(repository)
        settle(repository)
        breaker.is_armed = False
        assert dump(repository) == bench.after
        repository.close()
        assert bench.seen(path) == bench.after
        if not breaker.has_struck:
            break
    assert at > 4
