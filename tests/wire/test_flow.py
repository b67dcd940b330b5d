"""How bytes flow between the ends (F12, F31): windows, turns, cuts after any byte, and nothing that spins."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.wire import CHUNK, frames
from appliance.wire import messages as m
from appliance.wire.local_runs import LocalRun, Read, Record
from tests.wire.messages_of import CAP
from tests.wire.test_worker_end import DIGEST, DONE, End, local

RUNS = [f"{number:08x}-7a29-4a8b-9d7e-3f5a4c1e2d60" for number in range(20)]


class Flow:
    """A worker's end, and the master's side of its windows: what was sent and what was acknowledged."""

    def __init__(self, sizes: dict[str, int], run_window: int, worker_window: int) -> None:
        self.run_window, self.worker_window = run_window, worker_window
        self.sizes = sizes
        runs = [LocalRun(run=run, cap=CAP, digest=DIGEST, sizes={0: size}) for run, size in sizes.items()]
        self.end = End(*runs).open(
            *(m.Resume(run=run) for run in sizes), run_window=run_window, worker_window=worker_window
        )
        self.sent = dict.fromkeys(sizes, 0)
        self.acked = dict.fromkeys(sizes, 0)

    def send(self) -> bool:
        """One frame; False when nothing may be sent now."""
        item = self.end.next()
        if item is None:
            return False
        assert isinstance(item, Read)
        assert item.offset == self.sent[item.run] and 0 < item.length <= CHUNK
        assert self.end.chunk(item, b"x" * item.length) is not None
        self.sent[item.run] += item.length
        flying = {run: self.sent[run] - self.acked[run] for run in self.sizes}
        assert flying[item.run] <= self.run_window
        assert sum(flying.values()) <= self.worker_window
        return True

    def ack(self, run: str, offset: int) -> None:
        self.acked[run] = max(self.acked[run], min(offset, self.sent[run]))
        self.end.hear(m.Ack(id=7, run=run, stream=0, offset=offset))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 200_000), min_size=1, max_size=4),
    st.integers(5000, 200_000),
    st.integers(5000, 300_000),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300_000)), max_size=30),
)
def test_fault_F31_no_window_is_ever_exceeded_and_every_byte_goes_out(
    sizes: list[int], run_window: int, worker_window: int, acks: list[tuple[int, int]]
) -> None:
    flow = Flow(dict(zip(RUNS, sizes, strict=False)), run_window, worker_window)
    for place, offset in acks:  # of any size, also of bytes that were never sent, and backwards
        while flow.send():
            pass
        flow.ack(RUNS[place % len(sizes)], offset)
    last = None
    while last != flow.sent:
        last = dict(flow.sent)
        for run, sent in last.items():
            flow.ack(run, sent)
        while flow.send():
            pass
    assert flow.sent == flow.sizes


def test_fault_F31_every_run_gets_its_turn() -> None:
    flow = Flow(dict.fromkeys(RUNS, 1 << 20), 1 << 20, 4 << 20)
    turns = []
    for _ in range(3 * len(RUNS)):
        item = flow.end.next()
        assert isinstance(item, Read)
        flow.end.chunk(item, b"x" * item.length)
        turns.append(item.run)
    assert turns == [*RUNS] * 3


def test_fault_F31_a_run_that_fills_its_window_does_not_hold_up_another() -> None:
    flow = Flow({RUNS[0]: 1 << 20, RUNS[1]: 1000}, 1000, 4000)
    while flow.send():
        pass
    assert flow.sent == {RUNS[0]: 1000, RUNS[1]: 1000}
    flow.end.grew(RUNS[1], {0: 1500})
    flow.ack(RUNS[1], 1000)
    assert flow.send() and flow.sent[RUNS[1]] == 1500


def test_control_messages_go_before_bytes() -> None:
    end = End(local(sizes={0: 1 << 20})).open(m.Resume(run=local().run))
    end.beat(1.0, 0.0, 0)
    assert isinstance(end.next(), str)


def test_a_run_whose_bytes_have_vanished_does_not_spin_and_others_go_on() -> None:
    end = End(local(sizes={0: 10}, record=DONE), local(RUNS[1], sizes={0: 10})).open(
        m.Resume(run=local().run), m.Resume(run=RUNS[1])
    )
    reads = []
    for _ in range(50):
        item = end.next()
        if item is None:
            break
        assert isinstance(item, Read)
        reads.append(item.run)
        end.chunk(item, b"" if item.run == local().run else b"x" * item.length)
    assert sorted(reads) == sorted([local().run, RUNS[1]])
    end.grew(local().run, {0: 20})
    assert end.next() is None  # until the next connection


@given(st.integers(0, 3), st.integers(0, 200))
def test_an_ack_for_nothing_moves_no_window(stream: int, offset: int) -> None:
    flow = Flow({RUNS[0]: 100}, 10, 10)
    while flow.send():
        pass
    flow.end.hear(m.Ack(id=7, run=RUNS[1], stream=stream, offset=offset))
    flow.end.hear(m.Ack(id=8, run=RUNS[0], stream=stream + 1, offset=offset))
    assert not flow.send()


# ---- order


def test_inv_I4_a_run_says_its_start_its_bytes_and_then_its_end() -> None:
    run = local(sizes={0: CHUNK + 1, 1: 3, 2: 5}, started_at=2.0, record=DONE, results=(1, b"{}"))
    said = End(run).open(m.Resume(run=run.run)).said()
    assert said[0] == m.Started(id=2, run=run.run, at=2.0)
    assert [(one.stream, one.offset, one.length) for one in said[1:-1]] == [
        (0, 0, CHUNK),
        (0, CHUNK, 1),
        (1, 0, 3),
        (2, 0, 5),
    ]
    assert isinstance(said[-1], m.Exited) and said[-1].sizes == {0: CHUNK + 1, 1: 3, 2: 5}


def test_results_are_told_when_they_are_new_and_not_once_the_run_has_ended() -> None:
    end = End(local(started_at=2.0)).open(m.Resume(run=local().run))
    end.said()
    for seq, value in ((1, b'{"a":1}'), (1, b'{"a":1}'), (3, b'{"a":3}')):
        end.results(local().run, seq, value)
    assert [(one.seq, bytes(one.value)) for one in end.said()] == [(3, b'{"a":3}')]
    end.results(local().run, 4, b"{}")
    end.exited(local().run, {}, DONE)
    assert [type(one) for one in end.said()] == [m.Exited]


@pytest.mark.parametrize("fact", ["started", "exited"])
def test_inv_I6_a_fact_that_is_repeated_is_told_once(fact: str) -> None:
    end = End(local()).open(m.Resume(run=local().run))
    for _ in range(3):
        if fact == "started":
            end.started(local().run, 2.0)
        else:
            end.exited(local().run, {}, DONE)
    assert len(end.said()) == 1


def test_a_run_that_the_master_did_not_name_tells_nothing() -> None:
    """It has no valid cap there, or is to be forgotten; the operator decides."""
    assert End(local(sizes={0: 5}, record=DONE)).open().said() == []


# ---- cuts

OUTPUT = bytes(range(256)) * 600
ENDED = Record(status="succeeded", at=9.0, digests={0: sha256(OUTPUT).hexdigest()}, code=0)


class Cable:
    """A worker with one ended run, and a master that keeps what it was sent."""

    def __init__(self) -> None:
        self.run = local(sizes={0: len(OUTPUT)}, started_at=1.0, record=ENDED)
        self.end = End(self.run)
        self.here = bytearray()
        self.exits = 0

    def talk(self, most: int | None = None) -> None:
        """A connection over which at most so many frames get through."""
        self.end.open(m.Resume(run=self.run.run, sizes={0: len(self.here)}))
        while (item := self.end.next()) is not None and most != 0:
            most = None if most is None else most - 1
            if isinstance(item, Read):
                piece = self.end.chunk(item, OUTPUT[item.offset : item.offset + item.length])
                assert piece is not None
                frame: Any = frames.decode(piece)
                assert frame.offset == len(self.here)  # nothing twice, nothing left out
                self.here += frame.payload
            else:
                self.exits += isinstance(m.from_worker(item), m.Exited)
        self.end.disconnect()


@pytest.mark.parametrize("frames_through", range(7))
def test_fault_F12_fault_F39_a_cut_after_any_frame_resumes_at_the_masters_byte(frames_through: int) -> None:
    cable = Cable()
    cable.talk(frames_through)
    cable.talk()
    assert bytes(cable.here) == OUTPUT
    assert cable.exits >= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(OUTPUT)))
def test_fault_F12_the_worker_goes_on_at_any_byte_that_the_master_names(size: int) -> None:
    cable = Cable()
    cable.here += OUTPUT[:size]
    cable.talk()
    assert bytes(cable.here) == OUTPUT and cable.exits == 1


def test_fault_F07_a_master_that_has_more_than_the_worker_is_told_the_end() -> None:
    end = End(local(sizes={0: 5}, record=DONE)).open(m.Resume(run=local().run, sizes={0: 99}))
    assert [type(one) for one in end.said()] == [m.Exited]


@pytest.mark.parametrize(("sizes", "restart", "offsets"), [({0: 3}, False, [3]), ({0: 3}, True, [0]), ({}, False, [])])
def test_a_nack_sends_again_from_there(sizes: dict[int, int], restart: bool, offsets: list[int]) -> None:
    end = End(local(sizes={0: 10}, record=DONE)).open(m.Resume(run=local().run))
    end.said()
    end.hear(m.Nack(id=7, run=local().run, sizes=sizes, restart=restart))
    said = end.said()
    assert [one.offset for one in said if isinstance(one, Read)] == offsets
    assert isinstance(said[-1], m.Exited)
