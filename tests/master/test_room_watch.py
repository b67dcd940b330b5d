"""When the disk has room again, what waited for it goes on by itself (F16)."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.db.room import Room
from appliance.master.room_watch import LOOK_EVERY, RoomWatch
from appliance.wire import Close
from tests.db.test_room import Sized
from tests.lease_place import Place


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def disk(tmp_path: Path) -> Sized:
    return Sized(tmp_path, 4 << 30)


@pytest.fixture
def room(tmp_path: Path, disk: Sized, place: Place) -> Room:
    return Room(tmp_path, place.clock, disk)


@pytest.fixture
def woken(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows each time the dispatcher is woken."""
    found: list[bool] = []
    monkeypatch.setattr(place.dispatcher, "wake", lambda: found.append(True))
    return found


def test_fault_F16_workers_come_back_and_runs_are_given_when_there_is_room_again(
    place: Place, room: Room, disk: Sized, woken: list[bool]
) -> None:
    talk, ear, _ = place.connect(place.worker())
    assert talk.seat is not None
    watch = RoomWatch(room, place.roster, place.dispatcher)
    disk.used = disk.total
    talk.seat.is_stalled = True
    assert watch.look() == LOOK_EVERY
    assert room.full_since is not None and ear.closed is None and woken == []
    disk.used = 0
    watch.look()
    assert room.full_since is None
    assert ear.closed is not None and ear.closed[0] == Close.RESTART
    assert woken == [True]


def test_fault_F16_a_run_that_was_refused_just_before_there_was_room_goes_on_too(
    place: Place, room: Room, woken: list[bool]
) -> None:
    talk, ear, _ = place.connect(place.worker())
    assert talk.seat is not None
    watch = RoomWatch(room, place.roster, place.dispatcher)
    watch.look()
    talk.seat.is_stalled = True
    watch.look()
    assert ear.closed is not None
    assert woken == []  # nothing was kept from being given
