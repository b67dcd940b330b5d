"""The clock that logins, tokens and runs expire by, while the wall clock jumps (F22)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.clock import BELIEVED_AFTER, CATCH_UP, JUMP, MARK_EVERY, FakeClock, SteadyClock, SystemClock

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def steady(clock: FakeClock) -> SteadyClock:
    return SteadyClock(clock)


def lead(steady: SteadyClock, clock: FakeClock) -> float:
    """Seconds by which the steady clock is ahead of the wall clock."""
    return (steady.now() - clock.now()).total_seconds()


def test_the_clock_of_the_machine_is_aware_and_in_whole_milliseconds() -> None:
    at = SystemClock().now()
    assert at.tzinfo is UTC and at.microsecond % 1000 == 0
    assert SteadyClock(SystemClock()).now() >= at


def test_without_a_jump_it_is_the_wall_clock(steady: SteadyClock, clock: FakeClock) -> None:
    for seconds in (0.001, 15, DAY, 400 * DAY):
        clock.advance(seconds)
        assert (steady.now(), steady.mark(), steady.monotonic()) == (clock.now(), clock.now(), clock.monotonic())
        assert steady.trouble() == "" and not steady.lead()


@pytest.mark.parametrize("seconds", [HOUR, YEAR])
def test_fault_F22_a_jump_ahead_is_believed_after_an_hour(
    steady: SteadyClock, clock: FakeClock, seconds: float
) -> None:
    before = steady.now()
    clock.step(seconds)
    assert steady.now() == steady.mark() == before
    assert steady.trouble().startswith(
        f"The server's clock jumped ahead {'1 h 00 min' if seconds == HOUR else '365 d'}"
    )
    clock.advance(BELIEVED_AFTER - 1)
    assert steady.now() == steady.mark() == before + timedelta(seconds=BELIEVED_AFTER - 1)
    clock.advance(1)
    assert steady.now() == steady.mark() == clock.now()
    assert steady.trouble() == ""


def test_fault_F22_a_jump_ahead_that_is_put_right_within_the_hour_leaves_nothing_behind(
    steady: SteadyClock, clock: FakeClock
) -> None:
    clock.step(YEAR)
    for _ in range(3000):
        clock.advance(1)
        steady.now()
    clock.step(-YEAR)
    assert steady.now() == steady.mark() == clock.now() and steady.trouble() == ""
    clock.step(YEAR)
    clock.advance(BELIEVED_AFTER - 1)
    assert lead(steady, clock) == -YEAR, "the hour begins anew"


@pytest.mark.parametrize("seconds", [HOUR, YEAR])
def test_fault_F22_it_goes_on_when_the_wall_clock_is_set_back(
    steady: SteadyClock, clock: FakeClock, seconds: float
) -> None:
    before = steady.now()
    clock.step(-seconds)
    assert steady.now() == before
    assert steady.trouble().startswith("The server's clock moved back ")
    clock.advance(DAY if seconds == YEAR else HOUR)
    passed = (steady.now() - before).total_seconds()
    assert passed == pytest.approx((1 - CATCH_UP) * (DAY if seconds == YEAR else HOUR), abs=0.01)
    assert steady.lead() == steady.now() - clock.now()


def test_fault_F22_a_clock_that_was_set_back_an_hour_catches_up_by_itself(
    steady: SteadyClock, clock: FakeClock
) -> None:
    clock.step(-HOUR)
    before, sweeps = steady.now(), 0
    while steady.trouble():
        clock.advance(15)
        now = steady.now()
        assert before < now
        before, sweeps = now, sweeps + 1
    assert sweeps * 15 == pytest.approx((HOUR - JUMP.total_seconds()) / CATCH_UP, rel=0.01)
    while lead(steady, clock):
        clock.advance(15)
    assert steady.now() == clock.now()


def test_a_small_step_back_is_no_trouble_and_no_two_instants_change_places(
    steady: SteadyClock, clock: FakeClock
) -> None:
    before = steady.now()
    clock.step(-300)
    clock.advance(1)
    assert steady.now() > before and steady.trouble() == "" and not steady.lead()


@given(st.lists(st.tuples(st.booleans(), st.floats(-2 * YEAR, 2 * YEAR)), max_size=12))
def test_fault_F22_it_never_goes_back_and_time_that_passes_is_never_lost(moves: list[tuple[bool, float]]) -> None:
    clock = FakeClock(datetime(2026, 6, 1, tzinfo=UTC))
    steady = SteadyClock(clock)
    for is_step, seconds in moves:
        before = steady.now()
        if is_step:
            clock.step(seconds)
        else:
            clock.advance(abs(seconds))
        passed = 0.0 if is_step else abs(seconds)
        assert (steady.now() - before).total_seconds() >= (1 - CATCH_UP) * passed - 0.002


# ---- from one life of the server to the next


def resumed(clock: FakeClock, mark: datetime | None) -> SteadyClock:
    steady = SteadyClock(clock)
    steady.resume(mark)
    return steady


def test_the_first_life_believes_the_clock(clock: FakeClock) -> None:
    assert resumed(clock, None).mark() == clock.now()


def test_fault_F22_a_clock_that_went_back_while_the_server_was_down_is_noticed(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    mark = clock.now()
    clock.step(-YEAR)
    with caplog.at_level(logging.WARNING):
        steady = resumed(clock, mark)
    assert steady.now() == mark + timedelta(seconds=MARK_EVERY), "so late it may have been when it was stored last"
    assert "the clock moved back 365 d" in caplog.text


def test_fault_F22_time_in_which_the_server_was_down_is_believed_at_once_and_marked_after_an_hour(
    clock: FakeClock,
) -> None:
    mark = clock.now()
    clock.advance(3 * DAY)
    steady = resumed(clock, mark)
    assert steady.now() == clock.now() and steady.trouble() == ""
    assert steady.mark() == mark
    clock.advance(BELIEVED_AFTER - 1)
    assert steady.mark() == mark + timedelta(seconds=BELIEVED_AFTER - 1)
    clock.advance(1)
    assert steady.mark() == steady.now() == clock.now()


def test_fault_F22_a_machine_that_gets_the_right_time_only_after_its_start_loses_nothing(clock: FakeClock) -> None:
    mark = clock.now()
    clock.step(YEAR)
    steady = resumed(clock, mark)
    clock.advance(60)
    assert steady.now() == clock.now() and steady.mark() == mark + timedelta(seconds=60)
    clock.step(-YEAR)
    assert steady.now() == steady.mark() == clock.now() and steady.trouble() == ""


def test_fault_F22_a_correction_behind_the_mark_goes_back_to_the_mark_only(clock: FakeClock) -> None:
    mark = clock.now()
    clock.step(YEAR)
    steady = resumed(clock, mark)
    clock.step(-2 * YEAR)
    assert steady.now() == steady.mark() == mark
    assert steady.trouble().startswith("The server's clock moved back 365 d")


def test_fault_F22_what_happens_to_the_clock_is_logged_once(
    steady: SteadyClock, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in (HOUR, -HOUR, -HOUR, HOUR):
        clock.step(seconds)
        steady.now()
        steady.now()
    assert [record.getMessage() for record in caplog.records] == [
        "the clock jumped ahead 1 h 00 min; it is believed in 1 h 00 min",
        "the clock has been set right: it is not ahead any more",
        "the clock moved back 1 h 00 min; expiry goes on as if it had not",
        "the clock has caught up",
    ]
