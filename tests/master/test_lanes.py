"""Lanes: work of one key in order, of several keys side by side."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator

import pytest

from appliance.master.lanes import Lanes

LONG_ENOUGH = 30.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(4)
    made.start()
    yield made
    made.stop()


def wait(held: threading.Event) -> None:
    assert held.wait(LONG_ENOUGH)


def fail() -> None:
    raise ZeroDivisionError


def note(threads: dict[str, threading.Thread], name: str) -> None:
    threads[name] = threading.current_thread()


def other_lane(key: str) -> str:
    """A key that another thread works on."""
    threads: dict[str, threading.Thread] = {}
    probe = Lanes(4)
    probe.start()
    for name in [key, *(f"k{number}" for number in range(50))]:
        probe.put(name, functools.partial(note, threads, name))
    probe.stop()
    return next(name for name, thread in threads.items() if thread is not threads[key])


def test_work_of_one_key_is_done_in_the_order_in_which_it_was_put() -> None:
    lanes = Lanes(4)
    done: list[int] = []
    for number in range(1000):
        lanes.put("key", functools.partial(done.append, number))
    lanes.start()
    lanes.stop()
    assert done == list(range(1000))


def test_work_of_another_lane_does_not_wait(lanes: Lanes) -> None:
    held, went = threading.Event(), threading.Event()
    lanes.put("a", functools.partial(wait, held))
    lanes.put(other_lane("a"), went.set)
    assert went.wait(LONG_ENOUGH)
    held.set()


def test_work_that_fails_is_logged_and_ends_nothing(lanes: Lanes, caplog: pytest.LogCaptureFixture) -> None:
    went = threading.Event()
    lanes.put("a", fail)
    lanes.put("a", went.set)
    assert went.wait(LONG_ENOUGH)
    assert "ZeroDivisionError" in caplog.text


def test_a_stop_does_first_what_was_put() -> None:
    lanes = Lanes(2)
    done: list[str] = []
    lanes.start()
    for key in ("a", "b", "c"):
        lanes.put(key, functools.partial(done.append, key))
    lanes.stop()
    assert sorted(done) == ["a", "b", "c"]


def test_lanes_that_never_started_stop() -> None:
    Lanes(2).stop()
