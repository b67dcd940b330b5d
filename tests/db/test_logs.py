"""Log files: bytes at offsets, nothing half counted, nothing believed that a crash may have spoiled (5.5)."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import threading
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.db import logs
from appliance.db.disk import Disk
from appliance.db.logs import Gap, LogStore
from appliance.model.entities import StreamRecord
from appliance.model.errors import Full, Unavailable

RUN = "12345678-1234-4234-8234-123456789abc"
OTHER = "87654321-1234-4234-8234-123456789abc"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(directory: Path) -> LogStore:
    return LogStore(directory, "boot-1")


class Troubled(Disk):
    """A disk that writes at most ``room`` bytes more and fails with ``error`` after that."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.fails_sync = False
        self.synced: list[str] = []

    def write(self, file: int, data: memoryview, offset: int) -> int:
        if self.room is None:
            return super().write(file, data, offset)
        if self.room == 0:
            raise OSError(self.error, os.strerror(self.error))
        written = super().write(file, data[: self.room], offset)
        self.room -= written
        return written

    def sync(self, file: int) -> None:
        if self.fails_sync:
            raise OSError(errno.EIO, "sync failed")
        self.synced.append(os.readlink(f"/proc/self/fd/{file}"))
        super().sync(file)

    def sync_directory(self, path: Path) -> None:
        self.synced.append(str(path))
        super().sync_directory(path)


def record(content: bytes, boot: str = "boot-1", run: str = RUN, stream: int = 0) -> StreamRecord:
    digest = hashlib.sha256(content).hexdigest()
    return StreamRecord(run, stream, len(content), zlib.crc32(content), boot, digest)


def test_bytes_are_stored_as_they_are_under_the_uuid_alone(store: LogStore, directory: Path) -> None:
    content = bytes(range(256)) * 3
    assert store.append(RUN, 0, 0, content) == len(content)
    file = directory / "12" / RUN / "0.log"
    assert file.read_bytes() == content
    assert store.sync(RUN, 0) == record(content)


@pytest.mark.parametrize("run", ["../../etc/passwd", "", "x" * 36, f"{RUN}\n/.."])
def test_nothing_but_a_uuid_becomes_a_path(store: LogStore, directory: Path, run: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        store.append(run, 0, 0, b"x")
    assert list(directory.rglob("*.log")) == []


def test_req_S_55_files_and_directories_are_the_owners_alone(store: LogStore, directory: Path) -> None:
    before = os.umask(0)
    try:
        store.append(RUN, 0, 0, b"x")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.rglob("*"))}
    assert modes == {"logs": 0o700, "12": 0o700, RUN: 0o700, "0.log": 0o600}


def test_fault_F13_what_is_there_already_is_dropped(store: LogStore) -> None:
    store.append(RUN, 0, 0, b"hello")
    assert store.append(RUN, 0, 0, b"hello") == 5
    assert store.append(RUN, 0, 3, b"lo world") == 11
    assert store.append(RUN, 0, 2, b"xx") == 11
    assert store.read(RUN, 0, 0, 99) == b"hello world"
    assert store.sync(RUN, 0) == record(b"hello world")


def test_a_gap_is_refused_with_the_size_there_is(store: LogStore) -> None:
    store.append(RUN, 0, 0, b"hello")
    with pytest.raises(Gap) as caught:
        store.append(RUN, 0, 6, b"x")
    assert caught.value.size == 5
    with pytest.raises(Gap):
        store.append(RUN, 1, 1, b"x")
    assert store.size(RUN, 0) == 5
    assert store.size(RUN, 1) == 0


def test_ranges_never_go_past_the_end(store: LogStore) -> None:
    store.append(RUN, 0, 0, b"0123456789")
    assert store.read(RUN, 0, 3, 4) == b"3456"
    assert store.read(RUN, 0, 8, 99) == b"89"
    assert store.read(RUN, 0, 10, 1) == b""
    assert store.read(RUN, 0, 99, 1) == b""
    assert store.read(RUN, 0, -1, 5) == b""
    assert store.read(RUN, 0, 0, 0) == b""
    assert store.read(OTHER, 0, 0, 9) == b""


def test_a_download_is_a_file_and_an_empty_one_for_a_stream_that_never_began(store: LogStore) -> None:
    store.append(RUN, 0, 0, b"hello")
    with store.open_file(RUN, 0) as file:
        assert file.fileno() > 0
        assert file.read() == b"hello"
    with store.open_file(RUN, 1) as file:
        assert file.read() == b""


def test_any_cuts_and_repeats_give_the_same_bytes_and_digest(store: LogStore) -> None:
    chance = random.Random(7)
    content = chance.randbytes(50_000)
    size = 0
    while size < len(content):
        begin = chance.randrange(max(0, size - 5000), size + 1)
        size = store.append(RUN, 0, begin, memoryview(content)[begin : begin + chance.randrange(1, 8000)])
        if chance.random() < 0.2:
            store.close_run(RUN)
    assert store.read(RUN, 0, 0, len(content) + 1) == content
    assert store.sync(RUN, 0) == record(content)


def test_a_stream_begun_anew_is_empty(store: LogStore) -> None:
    store.append(RUN, 0, 0, b"wrong bytes")
    store.restart(RUN, 0)
    assert store.size(RUN, 0) == 0
    store.append(RUN, 0, 0, b"right")
    assert store.sync(RUN, 0) == record(b"right")
    assert store.read(RUN, 0, 0, 99) == b"right"
    store.restart(OTHER, 0)
    assert store.sync(OTHER, 0) == record(b"", run=OTHER)


def test_defect_J15_a_sync_reaches_the_file_and_its_directories_once(directory: Path) -> None:
    disk = Troubled()
    store = LogStore(directory, "boot-1", disk=disk)
    store.append(RUN, 0, 0, b"x")
    assert disk.synced == []
    store.sync(RUN, 0)
    file = directory / "12" / RUN / "0.log"
    assert disk.synced == [str(one) for one in (file, file.parent, file.parent.parent, directory)]
    store.sync(RUN, 0)
    assert len(disk.synced) == 4
    store.append(RUN, 0, 1, b"y")
    store.sync(RUN, 0)
    assert disk.synced[4:] == [str(file)]


def test_bytes_of_an_earlier_life_are_synced_before_they_are_called_durable(directory: Path) -> None:
    LogStore(directory, "boot-1").append(RUN, 0, 0, b"x")
    disk = Troubled()
    assert LogStore(directory, "boot-1", disk=disk).sync(RUN, 0) == record(b"x")
    assert str(directory / "12" / RUN / "0.log") in disk.synced
    assert str(directory / "12" / RUN) in disk.synced


@pytest.mark.parametrize("room", [0, 1, 7])
def test_fault_F16_a_full_disk_leaves_the_stream_as_it_was(directory: Path, room: int) -> None:
    disk = Troubled()
    store = LogStore(directory, "boot-1", disk=disk)
    store.append(RUN, 0, 0, b"before ")
    disk.room = room
    with pytest.raises(Full):
        store.append(RUN, 0, 7, b"too much for it")
    assert store.size(RUN, 0) == 7
    assert (directory / "12" / RUN / "0.log").read_bytes() == b"before "
    assert store.read(RUN, 0, 0, 99) == b"before "
    disk.room = None
    store.append(RUN, 0, 7, b"and after")
    assert store.sync(RUN, 0) == record(b"before and after")


def test_fault_F18_after_an_io_error_nothing_is_written_any_more(directory: Path) -> None:
    disk = Troubled()
    told: list[OSError] = []
    store = LogStore(directory, "boot-1", disk=disk, on_fatal=told.append)
    store.append(RUN, 0, 0, b"before")
    disk.room, disk.error = 0, errno.EIO
    with pytest.raises(Unavailable):
        store.append(RUN, 0, 6, b"x")
    disk.room = None
    with pytest.raises(Unavailable):
        store.append(OTHER, 0, 0, b"x")
    with pytest.raises(Unavailable):
        store.sync(RUN, 0)
    assert len(told) == 1
    assert store.read(RUN, 0, 0, 99) == b"before"


def test_fault_F18_a_failed_sync_is_not_tried_again(directory: Path) -> None:
    disk = Troubled()
    told: list[OSError] = []
    store = LogStore(directory, "boot-1", disk=disk, on_fatal=told.append)
    store.append(RUN, 0, 0, b"x")
    disk.fails_sync = True
    with pytest.raises(Unavailable):
        store.sync(RUN, 0)
    disk.fails_sync = False
    with pytest.raises(Unavailable):
        store.sync(RUN, 0)
    assert len(told) == 1
    assert disk.synced == []


def test_fault_F44_a_sync_for_which_no_directory_can_be_opened_is_tried_again(directory: Path) -> None:
    class Crowded(Disk):
        is_full = True

        def sync_directory(self, path: Path) -> None:
            if self.is_full:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            super().sync_directory(path)

    disk = Crowded()
    told: list[OSError] = []
    store = LogStore(directory, "boot-1", disk=disk, on_fatal=told.append)
    store.append(RUN, 0, 0, b"before ")
    with pytest.raises(Unavailable, match="descriptors"):
        store.sync(RUN, 0)
    disk.is_full = False
    store.append(RUN, 0, 7, b"and after")
    assert store.sync(RUN, 0) == record(b"before and after")
    assert told == []


def test_fault_F01_after_a_crash_of_the_process_the_size_of_a_file_is_trusted(directory: Path) -> None:
    store = LogStore(directory, "boot-1")
    store.recover([])
    store.append(RUN, 0, 0, b"hello")
    noted = store.sync(RUN, 0)
    store.append(RUN, 0, 5, b" world")
    store.append(OTHER, 0, 0, b"never synced")
    again = LogStore(directory, "boot-1")
    assert again.recover([noted], live=[RUN, OTHER]) == []
    assert again.size(RUN, 0) == 11
    assert again.size(OTHER, 0) == 12
    assert again.sync(RUN, 0) == record(b"hello world")


def test_fault_F08_after_a_power_loss_a_file_is_cut_to_what_was_durable(directory: Path) -> None:
    store = LogStore(directory, "boot-1")
    store.recover([])
    store.append(RUN, 0, 0, b"hello")
    noted = store.sync(RUN, 0)
    store.append(RUN, 0, 5, b" wor")
    store.append(RUN, 2, 0, b"notes without a record")
    store.append(OTHER, 0, 0, b"of a run that has ended")
    again = LogStore(directory, "boot-2")
    assert again.recover([noted], live=[RUN]) == []
    assert again.size(RUN, 0) == 5
    assert again.size(RUN, 2) == 0
    assert again.size(OTHER, 0) == 23
    again.append(RUN, 0, 5, b" world")
    assert again.sync(RUN, 0) == record(b"hello world", "boot-2")


@pytest.mark.parametrize("damage", [b"hellO", b"hel", b"\0\0\0\0\0\0\0\0", None])
def test_fault_F08_a_spoiled_file_begins_anew_and_says_so(directory: Path, damage: bytes | None) -> None:
    store = LogStore(directory, "boot-1")
    store.append(RUN, 0, 0, b"hello")
    noted = store.sync(RUN, 0)
    file = directory / "12" / RUN / "0.log"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    again = LogStore(directory, "boot-2")
    (sentence,) = again.recover([noted], live=[RUN])
    assert RUN in sentence
    assert again.size(RUN, 0) == 0
    again.append(RUN, 0, 0, b"hello")
    assert again.sync(RUN, 0) == record(b"hello", "boot-2")


def test_more_streams_than_open_files_keep_their_digests(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "OPEN_FILES", 4)
    monkeypatch.setattr(logs, "REMEMBERED", 6)
    store = LogStore(directory, "boot-1")
    runs = [str(uuid.UUID(int=number << 96 | 4 << 76 | 8 << 60)) for number in range(1, 13)]
    for turn in range(3):
        for run in runs:
            store.append(run, 0, turn * 4, f"{run[4:7]}\n".encode())
        held = [one for one in os.listdir("/proc/self/fd") if _target(one).startswith(str(directory))]
        assert len(held) <= 4
    for run in runs:
        assert store.sync(run, 0) == record(f"{run[4:7]}\n".encode() * 3, run=run)
    store.close()
    assert [one for one in os.listdir("/proc/self/fd") if _target(one).startswith(str(directory))] == []


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return ""


def test_threads_that_send_the_same_stream_store_it_once(store: LogStore) -> None:
    content = random.Random(3).randbytes(200_000)
    barrier = threading.Barrier(8)

    def send(step: int) -> None:
        barrier.wait()
        offset = 0
        while offset < len(content):
            try:
                store.append(RUN, 0, offset, content[offset : offset + step])
                offset += step
            except Gap as gap:
                offset = gap.size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, (997, 1000, 4096, 5000, 65536, 123, 10_000, 77_777)))
    assert store.read(RUN, 0, 0, len(content) + 1) == content
    assert store.sync(RUN, 0) == record(content)
