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


class Trial:
    """A commit that meets a fault at one of its operations. ``is_acknowledged``: it has not heard of it."""

    def __init__(self, bench: Bench, breaker: Breaker, *, has_reserve: bool) -> None:
        self.path, self.breaker = bench.copy(), breaker
        self._bench = bench
        self.told: list[Exception] = []  # storage errors after which nothing is written any more
        self.refusal: Unavailable | None = None
        self.disk = Disk(f"faulty-{next(_names)}", breaker)
        room = Room(self.path.parent, SystemClock()) if has_reserve else None
        assert room is None or room.look()
        self.repository = SqliteRepository(self.path, vfs=self.disk.name, on_fatal=self.told.append, room=room)
        self.repository.open()

    def run(self) -> None:
        self.breaker.is_armed = True
        try:
            self._bench.transaction.commit(self.repository)
        except Unavailable as error:
            self.refusal = error
            assert self.breaker.has_struck
        settle(self.repository)
        self.breaker.is_armed = False

    @property
    def is_acknowledged(self) -> bool:
        return self.refusal is None


def at_each_operation(
    bench: Bench, error: type[apsw.Error], is_lasting: bool, what: str, *, has_reserve: bool = False
) -> Iterator[Trial]:
    """One trial for each operation of the commit, and a last one that meets no fault."""
    for at in itertools.count(1):
        trial = Trial(bench, Breaker(at, error, is_lasting), has_reserve=has_reserve)
        trial.run()
        yield trial
        if not trial.breaker.has_struck:
            break
        _faults[what] += 1
    assert at > 4


@duration
@every
def test_goal_R14_fault_F16_no_space_at_any_operation(bench: Bench, is_lasting: bool) -> None:
    for trial in at_each_operation(bench, apsw.FullError, is_lasting, "no space"):
        assert trial.is_acknowledged or isinstance(trial.refusal, Full)
        assert dump(trial.repository) == (bench.after if trial.is_acknowledged else bench.before)
        if not trial.is_acknowledged:
            bench.transaction.commit(trial.repository)  # the next write works
            assert dump(trial.repository) == bench.after
        trial.repository.close()
        assert trial.told == []
        assert bench.seen(trial.path) == bench.after


@duration
@every
def test_goal_R14_fault_F18_an_io_error_at_any_operation(bench: Bench, is_lasting: bool) -> None:
    for trial in at_each_operation(bench, apsw.IOError, is_lasting, "input/output errors"):
        assert not isinstance(trial.refusal, Full)
        if trial.breaker.has_struck:
            assert len(trial.told) == 1
            with pytest.raises(Unavailable, match="must be restarted"):
                bench.transaction.commit(trial.repository)  # nothing is written any more, whatever the disk says now
        else:
            assert trial.told == []
        trial.repository.close()
        # What was not acknowledged may have reached the disk all the same, but then as a whole.
        possible = [bench.after] if trial.is_acknowledged else [bench.before, bench.after]
        assert bench.seen(trial.path) in possible


@every
def test_goal_R14_fault_F16_with_a_reserve_no_write_hears_of_a_disk_that_fills_up(bench: Bench) -> None:
    """Each write that finds the disk full is done again when the reserve was given up for it."""
    for trial in at_each_operation(bench, apsw.FullError, False, "no space but the reserve", has_reserve=True):
        assert trial.is_acknowledged and trial.told == []
        assert dump(trial.repository) == bench.after
        trial.repository.close()
        assert bench.seen(trial.path) == bench.after
