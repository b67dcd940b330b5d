"""Who is connected, and with how many free slots."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.clock import FakeClock
from appliance.master.roster import Roster, Seat
from tests.db.values import NOW, at, worker
from tests.lease_place import JOURNAL, Ear


def seat(name: str = "w1", slots: int = 3, **changes: Any) -> Seat:
    return Seat(worker(name, slots=slots, **changes), Ear(), JOURNAL)


@pytest.fixture
def roster() -> Roster:
    return Roster(FakeClock().monotonic)


def test_a_seat_has_the_properties_of_its_worker_with_those_of_the_token_over_them() -> None:
    one = seat(reported={"os": "plan9", "cpus": 4})
    assert one.properties == {"os": "linux", "cpus": 4}
    assert (one.worker_id, one.name, one.slots, one.free) == ("id of w1", "w1", 3, 3)


def test_a_worker_sits_with_the_runs_it_has(roster: Roster) -> None:
    one = seat()
    assert roster.sit(one, {"run 1": 2}) is None
    assert roster.seat(one.worker_id) is one and roster.seat_of("run 1") is one
    assert (roster.seats(), one.free, roster.used(one.worker_id)) == ([one], 2, 1)
    assert roster.is_connected(one.worker_id) and not roster.is_connected("nobody")
    assert roster.take_slot(one, "run 2") == 0
    assert roster.take_slot(one, "run 3") == 1  # 2 is taken
    assert one.free == 0


def test_fault_F15_a_newer_seat_wins_and_the_older_one_cannot_rise_it(roster: Roster) -> None:
    old, new = seat(), seat()
    roster.sit(old, {"run 1": 0})
    assert roster.sit(new, {"run 1": 0}) is old
    assert not roster.rise(old)
    assert roster.seat_of("run 1") is new and roster.seat(new.worker_id) is new
    assert roster.rise(new) and not roster.rise(new)
    assert roster.seat_of("run 1") is None and roster.seats() == []


def test_a_slot_is_freed_once_and_for_unknown_runs_not_at_all(roster: Roster) -> None:
    one = seat()
    roster.sit(one, {})
    roster.take_slot(one, "run 1")
    for run in ("run 1", "run 1", "run 2"):
        roster.free_slot(run)
    assert (one.free, roster.used(one.worker_id), roster.used("nobody")) == (3, 0, 0)


@pytest.mark.parametrize(
    "change", [{"is_enabled": False}, {"is_draining": True}], ids=["disabled", "drained by an operator"]
)
def test_fault_F43_a_worker_that_takes_nothing_has_no_free_slot(roster: Roster, change: dict[str, Any]) -> None:
    one = seat()
    roster.sit(one, {"run 1": 0})
    roster.update(worker("w1", slots=3, **change))
    assert (one.free, roster.used(one.worker_id)) == (0, 1)  # what it has stays
    roster.update(worker("w1", slots=3))
    roster.update(worker("somebody else"))
    assert one.free == 2
    assert seat(**change).free == 0


@pytest.mark.parametrize("flag", ["wants_drain", "has_declined"])
def test_fault_F43_a_worker_that_wants_nothing_has_no_free_slot(flag: str) -> None:
    one = seat()
    setattr(one, flag, True)
    assert one.free == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_slots_are_never_shared_and_never_leak(steps: list[tuple[bool, int]]) -> None:
    roster, one = Roster(FakeClock().monotonic), seat(slots=10)
    roster.sit(one, {})
    has: set[str] = set()
    for is_taking, number in steps:
        run = f"run {number}"
        if is_taking and run not in has:
            roster.take_slot(one, run)
            has.add(run)
        elif not is_taking:
            roster.free_slot(run)
            has.discard(run)
        slots = list(one.slot_of.values())
        assert set(one.slot_of) == has and len(set(slots)) == len(slots)
        assert all(slot < len(has) + 10 for slot in slots)
        assert one.free == 10 - len(has)


def test_signs_of_life_are_given_out_once(roster: Roster) -> None:
    roster.heard("w1", NOW)
    roster.heard("w2", NOW)
    roster.heard("w1", at(5))
    assert roster.take_heard() == {"w1": at(5), "w2": NOW}
    assert roster.take_heard() == {}
    assert roster.last_heard("w1") == at(5) and roster.last_heard("w3") is None


def test_a_seat_with_more_runs_than_slots_has_none_free(roster: Roster) -> None:
    one = seat(slots=1)
    roster.sit(one, {"run 1": 0, "run 2": 1})
    assert one.free == 0
