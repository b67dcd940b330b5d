"""When the worker is told that a run has something new: pure, with a clock and a socket of the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.poke import EVERY, PATIENCE, Poke


class Worker:
    """The other end of a poke. ``trouble`` is what sending raises; ``told_at`` are the times of what arrived."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trouble: OSError | None = None
        self.told_at: list[float] = []
        self.poke = Poke("run", send=self._hear, monotonic=lambda: self.now)

    def _hear(self, word: bytes) -> None:
        assert word == b"run"
        if self.trouble is not None:
            raise self.trouble
        self.told_at.append(self.now)


def test_the_first_output_is_told_at_once() -> None:
    worker = Worker()
    assert worker.poke.grew() is None
    assert worker.told_at == [0.0]


def test_output_after_a_pause_is_told_at_once() -> None:
    worker = Worker()
    worker.poke.grew()
    worker.now = 5.0
    assert worker.poke.grew() is None
    assert worker.told_at == [0.0, 5.0]


def test_output_right_after_a_poke_is_held_until_20_ms_after_it() -> None:
    worker = Worker()
    worker.poke.grew()
    worker.now = EVERY / 2
    assert worker.poke.grew() == EVERY == 0.02
    assert worker.told_at == [0.0]
    worker.now = EVERY
    assert worker.poke.grew() is None
    assert worker.told_at == [0.0, EVERY]


@given(st.lists(st.floats(0.0, 0.1), min_size=1, max_size=50))
def test_no_output_is_held_longer_than_20_ms_and_no_two_pokes_are_closer(pauses: list[float]) -> None:
    """The caller does what the executor does: it calls again at the time that it was given."""
    worker = Worker()
    due: float | None = None
    at = 0.0
    printed = []
    for pause in pauses:
        at += pause
        if due is not None and due <= at:
            worker.now = due
            due = worker.poke.grew()
        worker.now = at
        printed.append(at)
        due = worker.poke.grew()
    if due is not None:
        worker.now = due
        assert worker.poke.grew() is None
    for one in printed:
        assert any(one <= told <= one + EVERY for told in worker.told_at)
    assert all(later >= earlier + EVERY for earlier, later in zip(worker.told_at, worker.told_at[1:], strict=False))


def test_a_full_socket_owes_a_poke_until_there_is_room() -> None:
    worker = Worker()
    worker.trouble = BlockingIOError()
    due = worker.poke.grew()
    assert due is not None
    worker.now = due
    due = worker.poke.grew()
    assert due is not None and due > worker.now
    worker.trouble = None
    worker.now = due
    assert worker.poke.grew() is None
    assert worker.told_at == [due]
    worker.now += EVERY / 2
    assert worker.poke.grew() == due + EVERY, "it is as quick as before"


def test_a_socket_that_stays_full_is_tried_ever_less_but_each_second() -> None:
    worker = Worker()
    worker.trouble = BlockingIOError()
    pauses = []
    for _ in range(10):
        due = worker.poke.grew()
        assert due is not None
        pauses.append(due - worker.now)
        worker.now = due
    assert pauses[0] <= 2 * EVERY
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(PATIENCE)


@pytest.mark.parametrize("trouble", [FileNotFoundError(), ConnectionRefusedError()])
def test_an_absent_worker_is_owed_nothing(trouble: OSError) -> None:
    worker = Worker()
    worker.trouble = trouble
    assert worker.poke.grew() is None
    worker.now = EVERY / 2
    worker.trouble = None
    assert worker.poke.now()
    assert worker.told_at == [EVERY / 2]


def test_the_last_poke_says_that_the_end_is_durable() -> None:
    said: list[bytes] = []
    poke = Poke("11111111-2222-4333-8444-555555555555", send=said.append)
    assert poke.now() and poke.now(is_over=True)
    assert said == [b"11111111-2222-4333-8444-555555555555", b"11111111-2222-4333-8444-555555555555 over"]
    assert len(said[-1]) <= 64  # what the worker reads at once
