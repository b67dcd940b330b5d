"""F36, I7: ten thousand mutated frames a minute from one worker: closed again and again, and nobody else notices."""

from __future__ import annotations

import random
import resource

import msgspec
import pytest

from appliance.model.run_state import Status
from appliance.wire import OUTPUT, Close, frames
from appliance.wire import messages as m
from appliance.wire.master_end import ERRORS_A_MINUTE, Greeting, MasterEnd, Stage
from tests.lease_place import OTHER_JOURNAL, Ear, Place, sha256

FRAMES = 10_000
SECONDS = 60.0


def mutated(rng: random.Random, frame: str | bytes) -> str | bytes:
    """The frame with a few bytes changed, cut, doubled or put in."""
    raw = bytearray(frame.encode() if isinstance(frame, str) else frame)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 8))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0 if raw:
                raw[at % len(raw)] ^= 1 << rng.randrange(8)
            case 1:
                del raw[at:]
            case 2:
                raw[at:at] = raw[: rng.randrange(40)]
            case 3:
                raw[at:at] = rng.choice((b"[" * 50, b'"', b"\\", b"\0", b"1e999", b"-1", b"null", b"\xff", b"{}"))
            case _:
                del raw[at : at + rng.randrange(9)]
    if isinstance(frame, str):
        return raw.decode(errors="surrogateescape")
    return bytes(raw)


class Evil:
    """A worker that says its words mutated, and connects anew whenever it was closed."""

    def __init__(self, place: Place, rng: random.Random) -> None:
        self.place, self.rng = place, rng
        self.worker = place.worker("evil", OTHER_JOURNAL)
        self.run = place.running(self.worker, b"so far")
        self.closes: list[int] = []
        self.errors = 0
        self.seconds = 0.0
        self.connect()
        output = frames.encode(self.run.id, OUTPUT, 6, b"more output")
        record = place.exited(self.run, b"so far")
        self.words: list[str | bytes] = [
            output,
            *(
                m.encode(word)
                for word in (
                    m.Accepted(id=2, run=self.run.id),
                    m.Started(id=3, run=self.run.id, at=1.0),
                    m.Results(id=4, run=self.run.id, seq=1, value=msgspec.Raw(b'{"a":[1,{"b":null}]}')),
                    record,
                    m.Unknown(id=5, run=self.run.id),
                    m.Declined(id=6, run=self.run.id, reason="no"),
                    m.Beat(id=7, at=1.0),
                    m.Drain(id=8),
                    m.ErrorReply(id=9, code="x", text="y"),
                    m.InventoryPage(id=10, runs=[place.held(self.run)]),
                    self.hello().hello,
                )
            ),
        ]

    def hello(self) -> Greeting:
        return self.place.hello(self.place.held(self.run), journal=OTHER_JOURNAL)

    def connect(self) -> None:
        lineage = self.place.lineage
        self.end = MasterEnd(lineage.cluster, lineage.epoch, lineage.incarnation, lambda: self.seconds)
        self.ear = Ear()
        self.talk = self.place.converse(self.worker, self.ear)
        greeting = self.hello()
        told = self.end.receive(m.encode(msgspec.structs.replace(greeting.hello, runs=list(greeting.held))))
        assert isinstance(told, Greeting)
        self.talk.greet(told, lambda merged: self.end.welcome(told, merged, self.place.clock.now()))
        assert self.end.stage is Stage.OPEN
        self.end.take()
        self.errors = 0

    def say(self, frame: str | bytes) -> None:
        event = self.end.receive(frame)
        if event is not None and not isinstance(event, Greeting):
            self.talk.take(event)
        self.errors += sum('"type":"error"' in text for text in self.end.take())
        if self.end.closed is not None:
            self.closes.append(self.end.closed[0])
            assert self.errors <= ERRORS_A_MINUTE
            self.talk.end(())
            self.connect()


@pytest.mark.parametrize("seed", [1, 2])
def test_fault_F36_inv_I7_ten_thousand_mutated_frames_harm_nobody(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    honest = place.worker("honest")
    other = place.running(honest, b"first\n")
    before = place.now(other)
    evil = Evil(place, random.Random(seed))
    began = resource.getrusage(resource.RUSAGE_THREAD).ru_utime
    for _ in range(FRAMES):
        evil.seconds += SECONDS / FRAMES
        evil.say(mutated(evil.rng, evil.rng.choice(evil.words)))
    spent = resource.getrusage(resource.RUSAGE_THREAD).ru_utime - began
    print(f"{FRAMES} mutated frames: {len(evil.closes)} connections closed, {spent / SECONDS:.1%} of one core")
    assert len(evil.closes) > 100
    assert set(evil.closes) <= {Close.PROTOCOL, Close.TOO_BIG, Close.RATE}
    assert "failed" not in caplog.text and "Traceback" not in caplog.text
    assert place.now(other) == before
    holder = place.holder(honest)
    place.leases.append_log(holder, other.id, OUTPUT, 6, b"last\n")
    place.leases.exited(holder, place.exited(other, b"first\nlast\n"))
    after = place.now(other)
    assert (after.status, after.log.sha256) == (Status.SUCCEEDED, sha256(b"first\nlast\n"))
    assert place.now(evil.run).status in Status  # whatever it said of its own run is its own affair
