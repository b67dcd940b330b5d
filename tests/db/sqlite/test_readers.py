"""Readers cannot write, do not read for long and do not outlive their thread."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.readers import Readers
from appliance.model.errors import ApplianceError, Unavailable
from tests.db.sqlite.faults import Breaker, Disk
from tests.db.values import add

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


@pytest.fixture
def readers(repository: SqliteRepository, path: Path) -> Readers:
    made = Readers(path, deadline=0.05)
    made.open()
    return made


def test_fault_F19_a_long_query_is_ended_by_its_deadline(readers: Readers) -> None:
    with pytest.raises(Unavailable, match="longer than"):
        readers.read(lambda connection: connection.execute(ENDLESS).get)
    assert readers.read(lambda connection: connection.execute("SELECT 1").get) == 1
    readers.close()


def test_a_reader_cannot_write(readers: Readers) -> None:
    with pytest.raises(ApplianceError):
        readers.read(lambda connection: connection.execute("DELETE FROM user"))
    readers.close()


def test_each_thread_has_its_own_connection_and_takes_it_along(readers: Readers) -> None:
    seen: list[weakref.ref[apsw.Connection]] = []

    def read() -> None:
        for _ in range(2):
            readers.read(lambda connection: seen.append(weakref.ref(connection)))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    del thread, threads
    gc.collect()
    assert len(seen) == 4
    assert [one() for one in seen] == [None] * 4
    readers.close()


def test_a_close_ends_the_queries_under_way(repository: SqliteRepository, path: Path) -> None:
    readers = Readers(path, deadline=60)
    readers.open()
    begun = threading.Semaphore(0)

    def read(_: int) -> None:
        def query(connection: apsw.Connection) -> object:
            begun.release()
            return connection.execute(ENDLESS).get

        with pytest.raises(Unavailable, match="not open"):
            readers.read(query)

    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read, number) for number in range(4)]
        for _ in reading:
            begun.acquire()
        readers.close()
        for one in reading:
            one.result()


def test_fault_F18_a_disk_that_cannot_be_read_ends_all_writing_and_is_told_once(path: Path) -> None:
    breaker = Breaker(1, apsw.IOError, is_lasting=True, kinds=("read",))
    disk = Disk("unreadable", breaker)
    told: list[Exception] = []
    repository = SqliteRepository(path, vfs=disk.name, on_fatal=told.append)
    repository.open()
    add(repository)
    breaker.is_armed = True
    for _ in range(2):
        with pytest.raises(Unavailable, match="must be restarted"):
            repository.runs.counts()
    breaker.is_armed = False
    assert len(told) == 1
    with pytest.raises(Unavailable, match="must be restarted"):
        add(repository)
    repository.close()
    again = SqliteRepository(path)
    again.open()
    assert again.check() == []
    assert sum(again.runs.counts().values()) == 1
    again.close()
