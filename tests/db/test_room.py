"""The reserve on the disk: taken while there is room, given up when there is none, taken again (F16)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from appliance.clock import FakeClock
from appliance.db.disk import Disk
from appliance.db.logs import LogStore
from appliance.db.room import FILE, RESERVE, Room
from appliance.db.sqlite import SqliteRepository
from appliance.model.errors import Full
from tests.db.test_logs import OTHER, RUN
from tests.db.values import add
from tests.small_disk import fill, free, mounted

MIB = 1 << 20


class Sized(Disk):
    """A disk of ``total`` bytes of which ``used`` are others'; the reserve takes of the rest."""

    def __init__(self, directory: Path, total: int) -> None:
        self._reserve = directory / FILE
        self.total, self.used = total, 0
        self.quota: int | None = None
        self.error = errno.ENOSPC

    def space(self, directory: Path) -> tuple[int, int]:
        return self.total - self.used - self.reserve, self.total

    def allocate(self, file: int, size: int) -> None:
        if size > (self.total - self.used if self.quota is None else self.quota):
            os.ftruncate(file, size // 2)  # as far as it goes
            raise OSError(self.error, os.strerror(self.error))
        os.ftruncate(file, size)

    @property
    def reserve(self) -> int:
        return self._reserve.stat().st_size if self._reserve.exists() else 0


@pytest.fixture
def disk(tmp_path: Path) -> Sized:
    return Sized(tmp_path, 4096 * MIB)


@pytest.fixture
def room(tmp_path: Path, disk: Sized) -> Room:
    return Room(tmp_path, FakeClock(), disk)


@pytest.mark.parametrize(("total", "reserve"), [(4096, RESERVE), (512, RESERVE), (256, 32 * MIB), (8, MIB)])
def test_the_reserve_is_64_mib_or_an_eighth_of_a_small_disk(tmp_path: Path, total: int, reserve: int) -> None:
    disk = Sized(tmp_path, total * MIB)
    room = Room(tmp_path, FakeClock(), disk)
    assert room.look()
    assert disk.reserve == reserve
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert room.full_since is None
    room.admit()
    room.admit_output()


def test_fault_F16_a_write_that_finds_no_space_gets_the_reserve_once(room: Room, disk: Sized) -> None:
    assert room.look()
    disk.used = disk.total - disk.reserve
    assert room.used_up()
    assert disk.reserve == 0
    assert room.full_since is not None
    with pytest.raises(Full, match="full since 20"):
        room.admit()
    assert not room.used_up()


def test_fault_F16_a_half_of_the_reserve_is_kept_from_output(room: Room, disk: Sized) -> None:
    assert room.look()
    disk.used = disk.total - disk.reserve
    room.used_up()
    disk.used += RESERVE // 2
    room.admit_output()
    disk.used += 1
    with pytest.raises(Full) as refusal:
        room.admit_output()
    assert refusal.value.retry_after >= 1


def test_fault_F16_a_disk_that_is_nearly_full_is_noticed_before_a_write_fails(room: Room, disk: Sized) -> None:
    assert room.look()
    disk.used = disk.total - disk.reserve - RESERVE // 4
    assert room.look()
    disk.used += 1
    assert not room.look()
    assert disk.reserve == 0
    assert room.full_since is not None


def test_fault_F16_the_reserve_is_taken_again_when_there_is_clearly_room(room: Room, disk: Sized) -> None:
    assert room.look()
    disk.used = disk.total - disk.reserve
    room.used_up()
    disk.used = disk.total - RESERVE - RESERVE // 2 + 1
    assert not room.look()
    disk.used -= 1
    assert room.look()
    assert disk.reserve == RESERVE
    assert room.full_since is None
    assert room.look()  # and stays: it does not go back and forth


def test_a_quota_is_a_full_disk_whatever_the_file_system_says(room: Room, disk: Sized) -> None:
    disk.quota, disk.error = MIB, errno.EDQUOT
    assert not room.look()
    assert disk.reserve == 0
    disk.quota = None
    assert room.look()


def test_another_trouble_than_a_full_disk_is_told(room: Room, disk: Sized) -> None:
    disk.quota, disk.error = MIB, errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        room.look()


def test_a_reserve_that_an_earlier_life_left_is_held(room: Room, disk: Sized, tmp_path: Path) -> None:
    assert room.look()
    again = Room(tmp_path, FakeClock(), disk)
    disk.used = disk.total - disk.reserve
    assert again.used_up()
    assert disk.reserve == 0


def test_fault_F16_logs_wait_for_room_and_go_on(room: Room, disk: Sized, tmp_path: Path) -> None:
    store = LogStore(tmp_path / "logs", "boot", room=room)
    store.append(RUN, 0, 0, b"before")
    assert room.look()
    disk.used = disk.total - 1
    assert not room.look()
    with pytest.raises(Full, match="full since"):
        store.append(RUN, 0, 6, b" and after")
    assert store.append(RUN, 0, 0, b"befo") == 6  # nothing new, so nothing to refuse
    with pytest.raises(Full):
        store.append(OTHER, 0, 0, b"new")
    assert store.sync(RUN, 0).size == 6
    disk.used = 0
    assert room.look()
    assert store.append(RUN, 0, 6, b" and after") == 16


def test_fault_F16_a_real_full_disk_gives_up_the_reserve_for_the_database_alone(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 8 * MIB) as place:
        room = Room(place, FakeClock())
        assert room.look()
        repository = SqliteRepository(place / "orchestra.db", room=room)
        repository.open()
        store = LogStore(place / "logs", "boot", room=room)
        first = add(repository)
        filler = fill(place)
        runs = [add(repository, parameters={"text": "x" * 50_000}) for _ in range(4)]
        assert room.full_since is not None
        fill(place)
        with pytest.raises(Full, match="full since"):
            while True:
                add(repository, parameters={"text": "x" * 50_000})
        with pytest.raises(Full, match="full since"):
            store.append(RUN, 0, 0, b"x" * 100_000)
        assert not room.look()
        assert repository.runs.get(first.id) is not None
        filler.unlink()
        assert room.look()
        assert free(place) > 0
        runs.append(add(repository))
        assert store.append(RUN, 0, 0, b"x" * 100_000) == 100_000
        assert repository.check() == []
        assert all(repository.runs.get(run.id) is not None for run in runs)
        store.close()
        repository.close()
        again = LogStore(place / "logs", "another boot", room=room)
        fill(place)
        assert again.recover([]) == []  # a start on a full disk, which notes its boot
