"""The port against clients that send ahead, read nothing, or write what no parser expects (decision 12, F34, S-60)."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.web.server import ServerLimits, WebServer

LONG_ENOUGH = 30.0
THREADS = 2
BIG = b"x" * (2 << 20)


class Watched(io.FileIO):
    """A file that tells when it is closed."""

    def __init__(self, path: Path, closed: threading.Event) -> None:
        super().__init__(path, "rb")
        self._told = closed

    def close(self) -> None:
        super().close()
        self._told.set()


class Port:
    """A server of three addresses: ``/big`` has 2 MiB, ``/file`` is a large file, all others say ok."""

    def __init__(self, directory: Path) -> None:
        self.file_closed = threading.Event()
        self._file = directory / "large"
        with self._file.open("wb") as file:
            file.truncate(64 << 20)
        limits = ServerLimits(threads=THREADS, idle_within=1.0)
        self.server = WebServer(self._answer, "127.0.0.1", 0, lambda taken, _: taken.close(), limits)
        self.server.start()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/file":
            start("200 OK", [("Content-Length", str(64 << 20))])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](Watched(self._file, self.file_closed))
            return wrapped
        body = BIG if path == "/big" else b"ok"
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def dial(self) -> socket.socket:
        """A client that takes as little as it can."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.settimeout(LONG_ENOUGH)
        client.connect(("127.0.0.1", self.server.port))
        return client

    def ask(self, sent: bytes) -> bytes:
        """All that is answered until the server closes."""
        with self.dial() as client:
            client.sendall(sent)
            answer = b""
            while piece := client.recv(65_536):
                answer += piece
            return answer


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    made = Port(tmp_path)
    yield made
    made.server.stop()


def test_req_S_60_clients_that_send_ahead_and_read_nothing_hold_no_thread(port: Port) -> None:
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            client = stack.enter_context(port.dial())
            client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        assert port.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"ok")


def test_req_S_60_what_is_sent_ahead_is_dropped_and_the_connection_closed(port: Port) -> None:
    answer = port.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


def test_an_empty_line_behind_a_body_is_no_second_request(port: Port) -> None:
    with port.dial() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}\r\n")
        assert b"Connection: close" not in client.recv(65_536)


def test_fault_F34_a_download_that_nobody_reads_ends(port: Port) -> None:
    with port.dial() as client:
        client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        assert port.file_closed.wait(LONG_ENOUGH)


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
    ids=["address", "length"],
)
def test_inv_I7_a_head_that_the_parser_stumbles_over_is_answered(port: Port, head: bytes) -> None:
    assert port.ask(head).startswith(b"HTTP/1.1 400 ")


def test_inv_I8_a_sign_of_life_comes_while_all_threads_wait() -> None:
    held, waiting = threading.Event(), threading.Semaphore(0)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            waiting.release()
            assert held.wait(LONG_ENOUGH)
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = WebServer(answer, "127.0.0.1", 0, lambda taken, _: taken.close(), ServerLimits(threads=THREADS))
    server.start()
    with ExitStack() as clients:

        def ask(path: str) -> socket.socket:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port), LONG_ENOUGH))
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return client

        slow = [ask("/") for _ in range(THREADS + 3)]
        for _ in range(THREADS):
            assert waiting.acquire(timeout=LONG_ENOUGH)
        assert b"200 OK" in ask("/health").recv(1000)
        held.set()
        assert all(b"200 OK" in client.recv(1000) for client in slow)
    server.stop()
