"""A master in hostile hands against a real worker: it never dies, never begins a run twice, and deletes nothing.

The worker is told to try again at once by SIGHUP, as an operator does after an upgrade (F37).
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from appliance.config import write_worker_file
from appliance.wire import MESSAGE_LIMIT, SUBPROTOCOL
from tests.journeys.site import LONG_ENOUGH, Program
from tests.lease_place import Place, job

CLUSTER, INCARNATION = "c" * 32, "d" * 32
TOKEN = "orc_w_" + "0" * 64


class EvilMaster:
    """A server that says what a test wants. Connections are taken one after the other."""

    def __init__(self) -> None:
        self.connections: queue.Queue[ServerConnection] = queue.Queue()
        self._over = threading.Event()
        self._server: Server = serve(
            self._talk, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, max_size=None
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _talk(self, connection: ServerConnection) -> None:
        self.connections.put(connection)
        self._over.wait()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(LONG_ENOUGH)


class Talk:
    """One connection of the worker, welcome already unless said otherwise."""

    def __init__(self, master: EvilMaster, *, is_welcome: bool = True, **welcome: Any) -> None:
        self.socket = master.connections.get(timeout=LONG_ENOUGH)
        self.hello = self.hear("hello")
        if is_welcome:
            resume = [{"run": one["run"], "sizes": {}} for one in self.hello.get("runs", [])]
            self.welcome(**{"resume": resume, **welcome})

    def welcome(self, **fields: Any) -> None:
        windows = {"run_window": 1 << 20, "worker_window": 4 << 20, "at": 1.0}
        epoch = {"protocol": 1, "cluster": CLUSTER, "epoch": 3, "incarnation": INCARNATION}
        self.say("welcome", **{**windows, **epoch, **fields})

    def say(self, kind: str, **fields: Any) -> None:
        self.send(json.dumps({"type": kind, "id": 1, **fields}))

    def send(self, frame: str | bytes) -> None:
        try:
            self.socket.send(frame)
        except ConnectionClosed:
            return

    def hear(self, *kinds: str) -> dict[str, Any]:
        while True:
            frame = self.socket.recv(LONG_ENOUGH)
            if isinstance(frame, str) and (message := json.loads(frame))["type"] in kinds:
                return dict(message)

    def closed(self) -> None:
        """Return when the worker has closed the connection."""
        with pytest.raises(ConnectionClosed):
            while True:
                self.socket.recv(LONG_ENOUGH)


@pytest.fixture
def master() -> Iterator[EvilMaster]:
    made = EvilMaster()
    yield made
    made.close()


@pytest.fixture
def worker(master: EvilMaster, tmp_path: Path) -> Iterator[Program]:
    file = write_worker_file(tmp_path / "worker", url=f"http://127.0.0.1:{master.port}", token=TOKEN, slots=4)
    program = Program(["worker", "run", "--config", str(file)], tmp_path / "worker.log")
    program.start()
    yield program
    assert program.is_running
    assert program.terminate() == 0
    assert "Traceback" not in program.log.read_text()


def assignment(tmp_path: Path) -> dict[str, Any]:
    """A run that notes that it began, waits for its gate, and says goodbye."""
    script = (
        "import os, sys; "
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT); os.write(fd, b'began\\n'); "
        "open(sys.argv[2]).read(); print('goodbye')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "began"), str(tmp_path / "gate")]
    os.mkfifo(tmp_path / "gate", 0o600)
    place = Place(job(definition={"commands": [command]}))
    given = place.assignment(place.worker())
    return {"run": given.run.id, "cap": given.lease.cap, "request": given.lease.request}


# What ends a connection, and what must be shrugged off.
ENDING: dict[str, str | bytes] = {
    "a binary frame": b"\x01" * 60,
    "an empty binary frame": b"",
    "256 KiB and more": "x" * (MESSAGE_LIMIT + 1),
    "1 MiB": "x" * (1 << 20),
    "a second welcome": json.dumps(
        {"type": "welcome", "id": 1, "protocol": 1, "cluster": CLUSTER, "epoch": 9, "incarnation": INCARNATION}
        | {"at": 1, "run_window": 1, "worker_window": 1}
    ),
    "more of a welcome": json.dumps({"type": "resume", "id": 1, "resume": [], "more": False}),
}
SHRUGGED = [
    "",
    "null",
    "[" * 100_000,
    '{"type":"reboot","id":1}',
    '{"type":"hello","id":1}',
    '{"type":"assign","id":1,"run":"x"}',
    '{"type":"forget","id":1,"run":"../../.."}',
    '{"type":"abort","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60","grace":-1}',
    '{"type":"abort","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60"}',
    '{"type":"committed","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60"}',
    '{"type":"nack","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60","sizes":{"0":5},"restart":true}',
    '{"type":"ack","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60","stream":0,"offset":999}',
    '{"type":"withdraw","id":1,"run":"0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60"}',
]


def test_inv_I2_inv_I5_fault_F36_a_worker_outlives_an_evil_master_and_its_run_goes_on(
    master: EvilMaster, worker: Program, tmp_path: Path
) -> None:
    given = assignment(tmp_path)
    run = given["run"]
    talk = Talk(master)
    for _ in range(3):
        talk.say("assign", **given)
    assert talk.hear("accepted")["run"] == run
    talk.hear("started")
    for frame in SHRUGGED:
        talk.send(frame)
    talk.say("assign", **{**given, "request": given["request"].replace("goodbye", "farewell")})
    assert talk.hear("error")["code"] in ("malformed", "unsupported", "conflict")
    for _ in range(3):
        talk.say("committed", run=run)  # it has not ended

    for number, frame in enumerate(ENDING.values()):
        talk.send(frame)
        talk.closed()
        if number == 0:
            worker.kill()  # and its own death changes nothing
            worker.start()
        else:
            worker.hang_up()
        talk = Talk(master)
        (held,) = talk.hello["runs"]
        assert (held["run"], held["state"]) == (run, "started")
        assert talk.hello["cluster"] == CLUSTER
        talk.say("assign", **given)
        assert talk.hear("accepted")["run"] == run

    talk.socket.close()
    worker.hang_up()
    stranger = Talk(master, is_welcome=False)
    stranger.welcome(cluster="9" * 32, forget=[run])  # another appliance answers at the address
    stranger.closed()
    worker.hang_up()
    stranger = Talk(master, is_welcome=False)
    stranger.welcome(protocol=2, forget=[run])  # or one that speaks what was not offered
    stranger.closed()
    worker.hang_up()

    talk = Talk(master)
    (tmp_path / "gate").write_text("go on")
    exited = talk.hear("exited")
    assert (exited["run"], exited["status"], exited["code"]) == (run, "succeeded", 0)
    assert (tmp_path / "began").read_text() == "began\n"
    (log,) = (tmp_path / "worker").rglob(f"{run}/log")
    assert b"goodbye\n" in log.read_bytes()
    for _ in range(3):
        talk.say("committed", run=run)
    talk.say("assign", **given)  # late
    assert talk.hear("accepted")["run"] == run
    assert log.exists()  # until its retention has passed (I5)
    assert (tmp_path / "began").read_text() == "began\n"
