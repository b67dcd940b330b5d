"""A follower against a real socket: the server of these tests speaks just enough HTTP and WebSocket."""

from __future__ import annotations

import json
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from appliance.client import Client, Unreachable, following
from appliance.model.errors import NotFound

RUN = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"
OTHER = "7d3a1a0e-0000-4c6b-9d55-1f6e1b9a7c11"


class Appliance:
    """One run with a log. ``sockets`` are played in order, one for each connection for events."""

    def __init__(self) -> None:
        self.status = "running"
        self.log = b""
        self.sockets: list[Callable[[ServerConnection], None]] = []
        self.refusals: list[int] = []  # answers to the next requests for the run, before it is shown again
        self.subscriptions: list[Any] = []
        self.ranges: list[int] = []
        self._server = serve(self._play, "127.0.0.1", 0, process_request=self._answer, compression=None)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def document(self) -> dict[str, Any]:
        return {"id": RUN, "project": "p", "job": "j", "number": 1, "status": self.status}

    def end(self, status: str = "succeeded") -> str:
        """The run is over; answers the event that says so."""
        self.status = status
        return json.dumps({"type": "run", "run": self.document()})

    def _play(self, socket: ServerConnection) -> None:
        self.subscriptions.append(json.loads(socket.recv()))
        self.sockets.pop(0)(socket)

    def _answer(self, _socket: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if url.path == "/api/v1/events":
            return None if self.sockets else _response(404, b"{}")
        if url.path == f"/api/v1/runs/{RUN}/log":
            offset, limit = (int(parse_qs(url.query)[name][0]) for name in ("offset", "limit"))
            self.ranges.append(offset)
            headers = {"Orchestra-Log-Size": str(len(self.log)), "Orchestra-Log-Complete": "false"}
            return _response(200, self.log[offset : offset + limit], headers)
        if url.path == f"/api/v1/runs/{RUN}":
            if self.refusals:
                return _response(self.refusals.pop(0), b'{"detail": "not now"}', {"Retry-After": "0"})
            return _response(200, json.dumps(self.document()).encode())
        return _response(404, b'{"detail": "no such run"}')


def _response(status: int, body: bytes, more: dict[str, str] | None = None) -> Response:
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **(more or {})}
    return Response(status, HTTPStatus(status).phrase, Headers(headers), body)


def frame(offset: int, content: bytes, run: str = RUN) -> bytes:
    return struct.pack(">16sQ", uuid.UUID(run).bytes, offset) + content


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    made = Appliance()
    yield made
    made.stop()


@pytest.fixture
def client(appliance: Appliance) -> Iterator[Client]:
    with Client(appliance.url, "orc_u_1") as made:
        yield made


def test_the_log_of_an_ended_run_is_read_without_events(appliance: Appliance, client: Client) -> None:
    appliance.status, appliance.log = "failed", b"a\xff\x00\r\nno newline"
    assert b"".join(client.follow_log(RUN)) == appliance.log
    assert appliance.subscriptions == []


def test_a_long_log_comes_in_ranges(appliance: Appliance, client: Client) -> None:
    appliance.status, appliance.log = "succeeded", bytes(range(256)) * 10_000
    assert b"".join(client.follow_log(RUN)) == appliance.log
    assert appliance.ranges == [0, 1 << 20, 2 << 20]


def test_following_can_begin_in_the_middle(appliance: Appliance, client: Client) -> None:
    appliance.status, appliance.log = "succeeded", b"0123456789"
    assert b"".join(client.follow_log(RUN, 4)) == b"456789"


def test_output_comes_by_events_each_byte_once(appliance: Appliance, client: Client) -> None:
    appliance.log = b"already "

    def play(socket: ServerConnection) -> None:
        socket.send(frame(0, b"already "))  # known by a range
        socket.send(frame(4, b"ady there "))  # half of it is
        socket.send(frame(0, b"of another run", OTHER))
        socket.send(json.dumps({"type": "run", "run": appliance.document()}))
        socket.send(json.dumps({"type": "something new"}))
        socket.send("no json")
        socket.send(b"short")
        socket.send(frame(14, b"now\x00"))
        appliance.log = b"already there now\x00"
        socket.send(appliance.end())

    appliance.sockets = [play]
    assert list(client.follow_log(RUN)) == [b"already ", b"there ", b"now\x00"]
    assert appliance.subscriptions == [{"subscribe": "log", "run": RUN, "offset": 8}]


def test_a_gap_in_the_events_is_filled_by_ranges(appliance: Appliance, client: Client) -> None:
    def play(socket: ServerConnection) -> None:
        appliance.log = b"one two three"
        socket.send(frame(8, b"three"))
        assert socket.recv(timeout=10) is None  # until the client hangs up

    appliance.sockets = [play]
    following_log = client.follow_log(RUN)
    assert next(following_log) == b"one two three"
    appliance.end()
    assert list(following_log) == []


def test_a_broken_connection_loses_nothing_and_doubles_nothing(appliance: Appliance, client: Client) -> None:
    def break_off(socket: ServerConnection) -> None:
        appliance.log = b"first second "
        socket.send(frame(0, b"first "))
        socket.socket.close()

    def go_on(socket: ServerConnection) -> None:
        appliance.log = b"first second third"
        socket.send(frame(13, b"third"))
        socket.send(appliance.end())

    appliance.sockets = [break_off, go_on]
    assert b"".join(client.follow_log(RUN)) == b"first second third"
    assert [one["offset"] for one in appliance.subscriptions] == [0, 13]


def test_without_events_the_run_is_looked_at_again_and_again(
    appliance: Appliance, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEPS", (0.01,))
    log = client.follow_log(RUN)
    appliance.log = b"x"
    assert next(log) == b"x"
    appliance.log = b"xy"
    assert next(log) == b"y"
    appliance.end()
    assert list(log) == []


def test_an_event_that_never_came_is_made_up_for_by_a_look(
    appliance: Appliance, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEPS", (0.01,))
    over = threading.Event()

    def silent(_socket: ServerConnection) -> None:
        appliance.log = b"all"
        appliance.end()
        over.wait(10)

    appliance.sockets = [silent]
    assert b"".join(client.follow_log(RUN)) == b"all"
    over.set()


def test_a_server_that_is_away_for_a_while_is_waited_for(
    appliance: Appliance, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RETRY_FIRST", 0.01)

    def restart(socket: ServerConnection) -> None:
        appliance.refusals = [503, 503, 429]
        appliance.log = b"and on"
        appliance.end()
        socket.close(1012)

    appliance.sockets = [restart]
    assert b"".join(client.follow_log(RUN)) == b"and on"
    assert appliance.refusals == []


def test_a_server_that_does_not_come_back_is_unreachable(
    appliance: Appliance, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.0)
    monkeypatch.setattr(following, "SWEEPS", (0.01,))
    appliance.log = b"x"
    log = client.follow_log(RUN)
    assert next(log) == b"x"
    appliance.stop()
    with pytest.raises(Unreachable):
        list(log)


def test_a_run_that_is_not_there_is_told_at_once(client: Client) -> None:
    with pytest.raises(NotFound):
        list(client.follow_log(OTHER))
    with pytest.raises(NotFound):
        client.wait(OTHER)


def test_waiting_ends_with_the_run_and_reads_no_log(appliance: Appliance, client: Client) -> None:
    def play(socket: ServerConnection) -> None:
        other = {**appliance.document(), "id": OTHER, "status": "failed"}
        socket.send(json.dumps({"type": "run", "run": other}))
        socket.send(appliance.end("aborted"))

    appliance.sockets = [play]
    assert client.wait(RUN)["status"] == "aborted"
    assert appliance.subscriptions == [{"subscribe": "runs", "project": "p"}]
    assert appliance.ranges == []
