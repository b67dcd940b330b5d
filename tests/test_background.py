"""The loop thread: it comes when woken, when due, after errors, and ends when told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from appliance import background
from appliance.background import Loop
from appliance.model.errors import Unavailable

PATIENCE = 10.0  # seconds until a test that waits for an event gives up; never waited for when all is well


class Steps:
    """A step that counts its calls, lets a test wait for them, and answers what it was told to."""

    def __init__(self, delay: float | None = None) -> None:
        self.delay = delay
        self.calls = 0
        self.during: Callable[[], None] = lambda: None
        self._called = threading.Condition()

    def __call__(self) -> float | None:
        with self._called:
            self.calls += 1
            self._called.notify_all()
        self.during()
        return self.delay

    def wait_for(self, calls: int) -> bool:
        with self._called:
            return self._called.wait_for(lambda: self.calls >= calls, PATIENCE)


@pytest.fixture
def loops() -> Iterator[list[Loop]]:
    started: list[Loop] = []
    yield started
    for loop in started:
        assert loop.stop(PATIENCE)


def started(loops: list[Loop], step: Callable[[], float | None]) -> Loop:
    loop = Loop("test", step)
    loops.append(loop)
    loop.start()
    return loop


def test_a_loop_makes_its_first_step_at_once(loops: list[Loop]) -> None:
    steps = Steps()
    started(loops, steps)
    assert steps.wait_for(1)


def test_a_wake_makes_a_step_when_none_is_due(loops: list[Loop]) -> None:
    steps = Steps(delay=None)
    loop = started(loops, steps)
    assert steps.wait_for(1)
    loop.wake()
    assert steps.wait_for(2)


def test_a_step_that_names_a_delay_comes_again_without_a_wake(loops: list[Loop]) -> None:
    steps = Steps(delay=0.001)
    started(loops, steps)
    assert steps.wait_for(3)


def test_a_wake_during_a_step_is_not_lost(loops: list[Loop]) -> None:
    steps = Steps(delay=None)
    entered, release = threading.Event(), threading.Event()

    def during() -> None:
        entered.set()
        assert release.wait(PATIENCE)

    steps.during = during
    loop = started(loops, steps)
    assert entered.wait(PATIENCE)
    loop.wake()
    release.set()
    assert steps.wait_for(2)


def test_many_wakes_during_a_step_become_one_more_step(loops: list[Loop]) -> None:
    steps = Steps(delay=None)
    entered, release = threading.Event(), threading.Event()

    def during() -> None:
        entered.set()
        assert release.wait(PATIENCE)

    steps.during = during
    loop = started(loops, steps)
    assert entered.wait(PATIENCE)
    for _ in range(5):
        loop.wake()
    release.set()
    assert steps.wait_for(2)
    loop.wake()
    assert steps.wait_for(3)
    assert loop.stop(PATIENCE)
    assert steps.calls == 3


def test_a_step_that_raises_is_logged_as_an_error_and_the_loop_goes_on(
    loops: list[Loop], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.001)
    steps = Steps()

    def fail_twice() -> None:
        if steps.calls <= 2:
            raise ValueError("no such thing")

    steps.during = fail_twice
    started(loops, steps)
    assert steps.wait_for(3)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in errors] == [True, True]
    assert "the loop test failed" in errors[0].getMessage()


def test_a_step_that_storage_refuses_is_a_warning_without_a_traceback(
    loops: list[Loop], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.001)
    steps = Steps()

    def refuse_once() -> None:
        if steps.calls <= 1:
            raise Unavailable("the database is busy")

    steps.during = refuse_once
    started(loops, steps)
    assert steps.wait_for(2)
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (told.levelno, told.exc_info) == (logging.WARNING, None)
    assert "the database is busy" in told.getMessage()


def test_a_failing_step_is_not_hurried_by_wakes(loops: list[Loop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 3600.0)
    paused = threading.Event()
    steps = Steps()

    def fail() -> None:
        raise ValueError("always")

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            paused.set()

    watcher = Watcher()
    logging.getLogger(background.__name__).addHandler(watcher)
    try:
        steps.during = fail
        loop = started(loops, steps)
        assert paused.wait(PATIENCE)
        for _ in range(100):
            loop.wake()
        assert loop.stop(PATIENCE)
        assert steps.calls == 1
    finally:
        logging.getLogger(background.__name__).removeHandler(watcher)


def test_a_loop_may_be_stopped_before_it_started_and_started_later(loops: list[Loop]) -> None:
    steps = Steps()
    loop = Loop("test", steps)
    assert loop.stop()
    loops.append(loop)
    loop.start()
    assert steps.wait_for(1)


def test_starting_twice_keeps_one_thread(loops: list[Loop]) -> None:
    steps = Steps()
    loop = started(loops, steps)
    assert steps.wait_for(1)
    before = threading.active_count()
    loop.start()
    assert threading.active_count() == before


def test_stopping_twice_is_harmless_and_a_stopped_loop_starts_again(loops: list[Loop]) -> None:
    steps = Steps()
    loop = started(loops, steps)
    assert steps.wait_for(1)
    assert loop.stop(PATIENCE)
    assert loop.stop(PATIENCE)
    assert not loop.is_running
    loop.start()
    assert steps.wait_for(2)


def test_stop_says_when_a_step_does_not_end_in_time(loops: list[Loop], caplog: pytest.LogCaptureFixture) -> None:
    entered, release = threading.Event(), threading.Event()
    steps = Steps()

    def during() -> None:
        entered.set()
        assert release.wait(PATIENCE)

    steps.during = during
    loop = started(loops, steps)
    assert entered.wait(PATIENCE)
    assert not loop.stop(timeout=0.0)
    assert "did not end" in caplog.text
    with pytest.raises(RuntimeError, match="still stopping"):
        loop.start()
    release.set()


def test_a_step_may_ask_for_the_end_itself(loops: list[Loop]) -> None:
    steps = Steps(delay=0.0)
    answers: list[bool] = []
    holder: list[Loop] = []
    steps.during = lambda: answers.append(holder[0].stop())
    holder.append(Loop("test", steps))
    loops.append(holder[0])
    holder[0].start()
    assert steps.wait_for(1)
    assert holder[0].stop(PATIENCE)
    assert answers == [False]
