"""The one writing thread: verbs fail alone, storage errors fail loudly, and nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite import writer as writing
from appliance.db.sqlite.connection import connect
from appliance.db.sqlite.writer import Writer
from appliance.model.errors import Conflict, Full, Unavailable
from tests.db.sqlite.faults import Breaker, Disk
from tests.db.values import add, stored

_names = itertools.count()


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    made = connect(path)
    made.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    yield made
    made.close()


@pytest.fixture
def writer(connection: apsw.Connection, path: Path) -> Iterator[Writer]:
    made = Writer(path)
    made.start(connection)
    yield made
    made.stop()


def insert(number: int, and_then: Exception | None = None) -> Callable[[apsw.Connection], int]:
    """A verb that stores a number and then, if asked, fails."""

    def verb(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        if and_then:
            raise and_then
        return number

    return verb


def numbers(path: Path) -> list[int]:
    reader = connect(path, is_reader=True)
    found = [row[0] for row in reader.execute("SELECT x FROM t ORDER BY x")]
    reader.close()
    return found


def test_a_verb_that_fails_undoes_its_own_changes_only(writer: Writer, path: Path) -> None:
    held, release = threading.Event(), threading.Event()

    def hold(_: apsw.Connection) -> None:
        held.set()
        release.wait()

    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(writer.do, hold)
        held.wait()
        # These wait together and so share a transaction.
        verbs = [pool.submit(writer.do, insert(n, ValueError("no") if n % 3 == 0 else None)) for n in range(10)]
        release.set()
        first.result()
        for number, verb in enumerate(verbs):
            if number % 3 == 0:
                with pytest.raises(ValueError, match="no"):
                    verb.result()
            else:
                assert verb.result() == number
    assert numbers(path) == [1, 2, 4, 5, 7, 8]


def test_an_error_of_ours_comes_out_as_it_is_and_one_of_sqlite_as_ours(writer: Writer) -> None:
    with pytest.raises(Conflict, match="mine"):
        writer.do(insert(1, Conflict("mine")))
    writer.do(insert(1))
    with pytest.raises(Conflict, match="UNIQUE"):
        writer.do(insert(1))


def test_what_was_accepted_is_finished_before_the_stop(connection: apsw.Connection, path: Path) -> None:
    writer = Writer(path)
    writer.start(connection)
    held, release = threading.Event(), threading.Event()

    def hold(_: apsw.Connection) -> None:
        held.set()
        release.wait()

    with ThreadPoolExecutor(4) as pool:
        pool.submit(writer.do, hold)
        held.wait()
        accepted = pool.submit(writer.do, insert(1))
        while not writer.backlog:
            pass
        stopping = pool.submit(writer.stop)
        release.set()
        stopping.result()
        assert accepted.result() == 1
    with pytest.raises(Unavailable):
        writer.do(insert(2))
    assert numbers(path) == [1]


def test_fault_F19_a_foreign_lock_is_unavailable_and_passes(
    writer: Writer, connection: apsw.Connection, path: Path
) -> None:
    connection.set_busy_timeout(1)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy"):
        writer.do(insert(1))
    other.execute("ROLLBACK")
    other.close()
    assert writer.do(insert(1)) == 1


def test_fault_F19_the_wal_is_written_back_as_it_grows(repository: SqliteRepository, path: Path) -> None:
    for _ in range(60):
        add(repository, parameters={"text": "x" * 100_000})
    assert Path(f"{path}-wal").stat().st_size < 12 << 20


def test_fault_F19_a_snapshot_kept_for_long_makes_a_huge_wal_which_is_used_again_afterwards(
    repository: SqliteRepository, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "WAL_LIMIT", 8 << 20)
    wal = Path(f"{path}-wal")
    snapshot = connect(path, is_reader=True)
    snapshot.execute("BEGIN")
    assert snapshot.execute("SELECT count(*) FROM run").get == 0
    while wal.stat().st_size < 12 << 20:
        add(repository, parameters={"text": "x" * 100_000})
    assert snapshot.execute("SELECT count(*) FROM run").get == 0
    snapshot.execute("COMMIT")
    snapshot.close()
    add(repository)  # after which it is written back as a whole, for nobody is in the way
    size = wal.stat().st_size
    for _ in range(100):
        add(repository, parameters={"text": "x" * 100_000})
    assert wal.stat().st_size == size
    told = [one for one in caplog.messages if "some reader keeps an old snapshot" in one]
    assert len(told) == 1


def test_fault_F19_callers_hear_sooner_of_a_lock_that_was_waited_for_in_vain(
    writer: Writer, connection: apsw.Connection, path: Path
) -> None:
    waits: list[int] = []

    def note(count: int) -> bool:
        waits.append(count)
        return False

    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    connection.set_busy_handler(note)
    with pytest.raises(Unavailable, match="busy"):
        writer.do(insert(1))
    assert waits == [0]
    assert connection.pragma("busy_timeout") == 250
    with pytest.raises(Unavailable, match="busy"):
        writer.do(insert(1))
    other.execute("ROLLBACK")
    other.close()
    assert writer.do(insert(1)) == 1
    assert connection.pragma("busy_timeout") == 5000


def test_fault_F16_small_changes_of_a_batch_are_stored_where_a_large_one_finds_no_room(
    connection: apsw.Connection, path: Path
) -> None:
    writer = Writer(path)
    held, release = threading.Event(), threading.Event()

    def hold(_: apsw.Connection) -> None:
        held.set()
        release.wait()

    def large(connection: apsw.Connection) -> None:
        insert(99)(connection)
        raise apsw.FullError("database or disk is full")

    writer.start(connection)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(writer.do, hold)
        held.wait()
        small = [pool.submit(writer.do, insert(number)) for number in range(2)]
        failing = pool.submit(writer.do, large)
        while writer.backlog < 3:
            pass
        release.set()
        first.result()
        assert sorted(one.result() for one in small) == [0, 1]
        with pytest.raises(Full):
            failing.result()
    writer.stop()
    assert numbers(path) == [0, 1]


def test_fault_F19_what_was_committed_stands_on_both_sides_of_many_write_backs(path: Path) -> None:
    repository = SqliteRepository(path)
    repository.open()
    runs = [add(repository, parameters={"text": "x" * 50_000, "number": number}) for number in range(400)]
    repository.close()  # over 5,000 pages
    again = SqliteRepository(path)
    again.open()
    assert [stored(again, run) for run in runs] == runs
    assert again.check() == []
    again.close()


class Unforeseen(BaseException):
    """Nothing that anybody catches by name."""


@pytest.mark.parametrize("error", [Unforeseen(), KeyError("first"), SystemExit(1)], ids=lambda one: type(one).__name__)
def test_an_error_that_nobody_foresaw_fails_all_who_wait_and_is_told(
    connection: apsw.Connection, path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    told: list[Exception] = []
    writer = Writer(path, told.append)
    held, release = threading.Event(), threading.Event()

    def hold(_: apsw.Connection) -> None:
        held.set()
        release.wait()

    def stumbling(_: object) -> None:
        raise error

    writer.start(connection)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(writer.do, hold)
        held.wait()
        waiting = [pool.submit(writer.do, insert(number)) for number in range(4)]
        while writer.backlog < len(waiting):
            pass
        monkeypatch.setattr(writer, "_commit", stumbling)
        release.set()
        first.result()
        for one in waiting:
            with pytest.raises(Unavailable, match="must be restarted"):
                one.result()
    with pytest.raises(Unavailable, match="must be restarted"):
        writer.do(insert(9))
    assert len(told) == 1
    writer.stop()
    assert numbers(path) == []


def test_a_verb_that_ends_the_interpreter_fails_its_caller_and_is_told(connection: apsw.Connection, path: Path) -> None:
    told: list[Exception] = []
    writer = Writer(path, told.append)
    writer.start(connection)

    def verb(connection: apsw.Connection) -> None:
        insert(1)(connection)
        raise SystemExit

    with pytest.raises(Unavailable, match="must be restarted"):
        writer.do(verb)
    assert len(told) == 1
    writer.stop()
    assert numbers(path) == []


def test_whoever_should_end_the_server_may_fail_and_still_nobody_waits(connection: apsw.Connection, path: Path) -> None:
    told: list[Exception] = []

    def fail(error: Exception) -> None:
        told.append(error)
        raise RuntimeError("cannot even end")

    def verb(_: apsw.Connection) -> None:
        raise apsw.IOError("as told")

    writer = Writer(path, fail)
    writer.start(connection)
    for _ in range(3):
        with pytest.raises(Unavailable):
            writer.do(verb)
    assert len(told) == 1
    writer.stop()


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("at", range(1, 14))
def test_fault_F16_a_full_disk_fails_what_it_must_and_passes(path: Path, at: int, is_lasting: bool) -> None:
    breaker = Breaker(at, apsw.FullError, is_lasting)
    disk = Disk(f"full-{next(_names)}", breaker)
    broken: list[Exception] = []
    repository = SqliteRepository(path, vfs=disk.name, on_fatal=broken.append)
    repository.open()
    breaker.is_armed = True
    acknowledged = []
    for _ in range(6):
        try:
            acknowledged.append(add(repository))
        except Full:
            assert breaker.has_struck
    assert breaker.has_struck
    breaker.is_armed = False
    acknowledged.append(add(repository))
    assert broken == []
    assert repository.check() == []
    assert [stored(repository, run) for run in acknowledged] == acknowledged
    assert len(acknowledged) >= (1 if is_lasting else 6)
    repository.close()


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("at", range(1, 14))
def test_fault_F18_after_an_io_error_nothing_is_written_and_nothing_acknowledged_lost(
    path: Path, at: int, is_lasting: bool
) -> None:
    breaker = Breaker(at, apsw.IOError, is_lasting)
    disk = Disk(f"broken-{next(_names)}", breaker)
    told: list[Exception] = []
    repository = SqliteRepository(path, vfs=disk.name, on_fatal=told.append)
    repository.open()
    breaker.is_armed = True
    acknowledged = []
    refused = 0
    for _ in range(8):
        try:
            acknowledged.append(add(repository))
            assert not refused, "a write was taken after the error"
        except Unavailable as error:
            assert not isinstance(error, Full)
            refused += 1
    assert refused
    assert len(told) == 1
    assert repository.runs.counts()  # reading goes on
    breaker.is_armed = False
    repository.close()
    again = SqliteRepository(path)
    again.open()
    assert again.check() == []
    assert [stored(again, run) for run in acknowledged] == acknowledged
    again.close()


def test_fault_F18_a_failed_write_back_is_told_too(path: Path) -> None:
    breaker = Breaker(1, apsw.IOError, is_lasting=False)
    disk = Disk(f"write-back-{next(_names)}", lambda kind: breaker(kind) if kind == "cut" or is_write_back() else None)
    told: list[Exception] = []

    def is_write_back() -> bool:
        # Only a checkpoint syncs the -wal file outside of a commit, and then the database file.
        return bool(disk.done) and disk.done[-1][0] == path.name

    repository = SqliteRepository(path, vfs=disk.name, on_fatal=told.append)
    repository.open()
    breaker.is_armed = True
    with pytest.raises(Unavailable, match="storage error"):
        for _ in range(100):
            add(repository, parameters={"text": "x" * 100_000})
    assert len(told) == 1
    repository.close()


def test_fault_F44_a_writer_that_is_stuck_does_not_beat(writer: Writer) -> None:
    is_stuck, is_free = threading.Event(), threading.Event()

    def stick(_: apsw.Connection) -> None:
        is_stuck.set()
        is_free.wait()

    with ThreadPoolExecutor() as pool:
        writer.beat()
        stuck = pool.submit(writer.do, stick)
        assert is_stuck.wait(10.0)
        beat = pool.submit(writer.beat)
        with pytest.raises(TimeoutError):
            beat.result(0.1)
        is_free.set()
        beat.result(10.0)
        stuck.result(10.0)


def test_fault_F44_a_writer_that_was_stopped_does_not_beat(connection: apsw.Connection, path: Path) -> None:
    stopped = Writer(path)
    stopped.start(connection)
    stopped.stop()
    with pytest.raises(Unavailable):
        stopped.beat()
