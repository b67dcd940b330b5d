"""An upload of 70,000 bytes, cut after each of them: real frames, real ends, the real log files (F12, R5)."""

from __future__ import annotations

import hashlib
import os
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from appliance.model.caps import request_digest
from appliance.model.entities import Worker
from appliance.model.run_state import Status
from appliance.wire import CHUNK
from appliance.wire.local_runs import Identity, Keep, Read, Record, Store
from appliance.wire.worker_end import WorkerEnd
from tests.faults.sim_master import Voice
from tests.faults.sim_network import Cable, Goodbye
from tests.faults.simulator import World

LOG = random.Random(12).randbytes(70_000)
URI = parse_uri("ws://simulated/worker")
RECORD = Record(status="succeeded", at=0.0, digests={0: hashlib.sha256(LOG).hexdigest()}, code=0, started_at=0.0)


class Connection:
    """Both sides' frames over the library's own framing, byte by byte if need be."""

    def __init__(self, world: World, worker: Worker, end: WorkerEnd) -> None:
        self._world = world
        self._end = end
        self._out = ClientProtocol(URI, state=State.OPEN)
        self._in = ServerProtocol(state=State.OPEN, max_size=1 << 20)
        assert world.master is not None
        self._cable = world.master.dial(worker)
        self._voice: Voice = world.master.voices[-1]
        end.connect(instance="1" * 32, software="sim", boot="b", at=world.now, slots=1, properties={})

    def talk(self, budget: int | None = None) -> int:
        """Let both sides speak until nobody has more to say, or until ``budget`` bytes of the worker have arrived.

        Answers how many bytes the worker has sent.
        """
        sent = 0
        while True:
            item = self._end.next()
            if item is None:
                if not self._answer():
                    return sent
                continue
            if isinstance(item, Read):
                frame: str | bytes | None = self._end.chunk(item, LOG[item.offset : item.offset + item.length])
            else:
                frame = item
            if isinstance(frame, str):
                self._out.send_text(frame.encode())
            elif frame is not None:
                self._out.send_binary(frame)
            for piece in self._out.data_to_send():
                arrives = piece if budget is None else piece[: max(0, budget - sent)]
                sent += len(piece)
                self._arrive(arrives, self._cable)
            if budget is not None and sent >= budget:
                return sent

    def cut(self) -> None:
        """Both sides notice."""
        assert self._world.master is not None
        self._end.disconnect()
        self._world.master.notice(self._voice)

    def _arrive(self, piece: bytes, cable: Cable) -> None:
        self._in.receive_data(piece)
        for frame in self._in.events_received():
            content = bytes(frame.data)  # type: ignore[union-attr]  # only frames come while the state is open
            cable.to_master.append(content.decode() if frame.opcode is Opcode.TEXT else content)  # type: ignore[union-attr]  # as above
            self._voice.hear()

    def _answer(self) -> bool:
        assert self._world.master is not None
        self._world.master.dispatcher.step()
        self._voice.flush()
        heard = False
        while self._cable.to_worker:
            text = self._cable.to_worker.popleft()
            assert not isinstance(text, Goodbye), text
            heard = True
            for action in self._end.receive(text):
                if isinstance(action, Keep):
                    self._end.resume()
                elif isinstance(action, Store):
                    self._end.accepted(action.run)
        return heard


def _upload(world: World, worker: Worker, end: WorkerEnd, cut_at: int) -> None:
    """One run, whose upload is cut after so many bytes and goes on by another connection."""
    world.wish()
    (run,) = world.live()
    connection = Connection(world, worker, end)
    connection.talk()
    assert run.id in end.runs
    end.started(run.id, world.now)
    end.grew(run.id, {0: len(LOG)})
    end.exited(run.id, {0: len(LOG)}, RECORD)
    connection.talk(cut_at)
    arrived = len(world.read_log(run.id, 0))
    assert arrived in (0, CHUNK, len(LOG)), "whole chunks, and nothing else"
    connection.cut()
    again = Connection(world, worker, end)
    sent = again.talk()
    assert sent < len(LOG) - arrived + 2000, "what had arrived is not sent once more"
    again.cut()
    ended = world.repository.runs.get(run.id)
    assert ended is not None and ended.status is Status.SUCCEEDED and ended.log.verified
    assert world.read_log(run.id, 0) == LOG


def _cut_at_each(cuts: range, directory: Path) -> int:
    count = 0
    for start in range(0, len(cuts), 250):  # a world of its own now and then: it forgets nothing
        place = directory / f"{cuts[start]}"
        with World(12, place, workers=0) as world:
            assert world.master is not None
            worker, _ = world.master.workers.create("w", "sim")
            end = WorkerEnd(Identity(journal="1" * 32), [], request_digest)
            for cut_at in cuts[start : start + 250]:
                _upload(world, worker, end, cut_at)
                count += 1
            world.platter.erase()
    return count


def test_fault_F12_an_upload_cut_after_every_50th_byte_arrives_whole(tmp_path: Path) -> None:
    assert _cut_at_each(range(1, 70_001, 50), tmp_path) == 1400


@pytest.mark.release
@pytest.mark.timeout(900)
def test_goal_R5_an_upload_cut_after_every_byte_arrives_whole(tmp_path: Path) -> None:
    parts = [range(start, min(start + 5000, 70_001)) for start in range(1, 70_001, 5000)]
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        counts = list(pool.map(_cut_at_each, parts, [tmp_path / str(part.start) for part in parts]))
    print(f"R5: {sum(counts)} cuts of an upload of {len(LOG)} bytes, each arrived whole")
    assert sum(counts) == len(LOG)
