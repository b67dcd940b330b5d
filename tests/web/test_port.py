"""The port over real sockets: what leaves for the gateway, what stays, what is closed (S-14, S-60, F33, F34)."""

from __future__ import annotations

import queue
import resource
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from appliance.web.security import HEADERS
from appliance.web.server import HEAD_LIMIT, ServerLimits, WebServer

LONG_ENOUGH = 30.0
GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /worker HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %b\r\nX-Long: %b\r\n\r\n"


class Port:
    """A server that answers with the method and path, and keeps what left it."""

    def __init__(self, **limits: Any) -> None:
        self.adopted: queue.Queue[tuple[socket.socket, bytes]] = queue.Queue()
        self.server = WebServer(
            self._answer, "127.0.0.1", 0, lambda taken, head: self.adopted.put((taken, head)), ServerLimits(**limits)
        )
        self.server.start()
        self._open = ExitStack()

    @staticmethod
    def _answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def dial(self) -> Client:
        return self._open.enter_context(Client(self.server.port))

    def left(self) -> tuple[socket.socket, bytes]:
        """The socket that was given away, and what had been read of it."""
        taken, head = self.adopted.get(timeout=LONG_ENOUGH)
        taken.settimeout(LONG_ENOUGH)
        return self._open.enter_context(taken), head

    def close(self) -> None:
        self._open.close()
        self.server.stop()


class Client(socket.socket):
    """A connection to the port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.settimeout(LONG_ENOUGH)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connect(("127.0.0.1", port))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers with small names, body."""
        text = b""
        while b"\r\n\r\n" not in text:
            piece = self.recv(65_536)
            assert piece, text
            text += piece
        head, _, body = text.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += self.recv(65_536)
        return int(first.split()[1]), headers, body

    def rest(self) -> bytes:
        """Everything until the server closes."""
        text = b""
        try:
            while piece := self.recv(65_536):
                text += piece
        except ConnectionResetError:
            pass
        return text


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


# ---- upgrades


@pytest.mark.parametrize("word", [b"websocket", b"WebSocket", b"WEBSOCKET "])
def test_an_upgrade_leaves_with_its_socket_and_all_that_was_read(port: Port, word: bytes) -> None:
    client = port.dial()
    request = UPGRADE % (word, b"x" * 500)
    client.sendall(request + b"\x81\x05hello")
    taken, head = port.left()
    assert head + (taken.recv(100) if len(head) == len(request) else b"") == request + b"\x81\x05hello"
    taken.sendall(b"from the gateway")
    assert client.recv(100) == b"from the gateway"
    client.sendall(b"to the gateway")
    assert taken.recv(100) == b"to the gateway"


def test_an_upgrade_in_pieces_of_seven_bytes_leaves_whole(port: Port) -> None:
    client = port.dial()
    request = UPGRADE % (b"websocket", b"x" * 300)
    for start in range(0, len(request), 7):
        client.sendall(request[start : start + 7])
    assert port.left()[1] == request


def test_a_connection_may_ask_first_and_be_upgraded_then(port: Port) -> None:
    client = port.dial()
    for name in (b"first", b"second"):
        client.sendall(GET % name)
        assert client.answer()[2] == b"GET /" + name
    request = UPGRADE % (b"websocket", b"")
    client.sendall(request)
    assert port.left()[1] == request


def test_a_connection_that_left_does_not_count_and_lives_on_when_the_server_stops(port: Port) -> None:
    client = port.dial()
    client.sendall(UPGRADE % (b"websocket", b""))
    taken, _ = port.left()
    port.server.stop()
    taken.sendall(b"still here")
    assert client.recv(100) == b"still here"


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /worker HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-Upgrade: websocket\r\n\r\n",
        b"GET /x?Upgrade:%20websocket HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["post", "another protocol", "another header", "in the query", "head"],
)
def test_what_is_no_websocket_handshake_stays_and_is_answered(port: Port, request_text: bytes) -> None:
    client = port.dial()
    client.sendall(request_text)
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert port.adopted.empty()


# ---- plain requests


def test_a_request_in_single_bytes_is_answered(port: Port) -> None:
    client = port.dial()
    for byte in GET % b"slow":
        client.sendall(bytes([byte]))
    assert client.answer()[2] == b"GET /slow"


def test_a_client_that_begins_tls_is_told_at_once_that_there_is_none(port: Port) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        ssl.create_default_context().wrap_socket(port.dial(), server_hostname="localhost")


def test_many_requests_of_one_connection_are_answered_in_order(port: Port) -> None:
    client = port.dial()
    for number in range(50):
        client.sendall(GET % str(number).encode())
        assert client.answer()[2] == f"GET /{number}".encode()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_req_S_14_req_S_60_a_head_over_the_limit_is_refused_with_the_headers_of_every_answer(
    port: Port, method: bytes
) -> None:
    client = port.dial()
    client.sendall(method + b" / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * (HEAD_LIMIT + 1000) + b"\r\n\r\n")
    status, headers, body = client.answer()
    assert status == 431
    assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS
    assert b"too large" in body.lower() and "server" not in headers


@pytest.mark.parametrize(
    "request_text",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["a word", "no colon", "a TLS hello"],
)
def test_req_S_14_what_cannot_be_read_is_refused_with_the_headers_of_every_answer(
    port: Port, request_text: bytes
) -> None:
    client = port.dial()
    client.sendall(request_text)
    status, headers, _ = client.answer()
    assert status == 400
    assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS


# ---- limits


def test_fault_F34_requests_that_do_not_come_to_their_end_are_closed() -> None:
    upgrade = UPGRADE % (b"websocket", b"x")
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
    port = Port(request_within=0.2)
    try:
        clients = []
        for begun in (b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", body, upgrade[:-1]):
            clients.append(port.dial())
            clients[-1].sendall(begun)
        assert [client.rest() for client in clients] == [b""] * 4  # each returns when the server has closed
        assert port.adopted.empty()
        other = port.dial()
        other.sendall(GET % b"x")
        assert other.answer()[0] == 200
    finally:
        port.close()


def test_req_S_60_an_address_has_so_many_connections_and_gets_them_back() -> None:
    port = Port(connections_per_address=3)
    try:
        clients = [port.dial() for _ in range(3)]
        for client in clients:
            client.sendall(GET % b"x")
            assert client.answer()[0] == 200
        assert port.dial().rest() == b""
        clients[0].sendall(b"GET /bye HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        clients[0].rest()
        again = port.dial()
        again.sendall(GET % b"x")
        assert again.answer()[0] == 200
    finally:
        port.close()


def test_fault_F33_the_port_answers_with_more_descriptors_than_select_can_bear() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"this machine allows {hard} descriptors to a process; 2,500 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    try:
        with ExitStack() as stack:
            for _ in range(550):
                stack.enter_context(_Pair())
            port = Port()
            stack.callback(port.close)
            client = port.dial()
            assert client.fileno() > 1024
            client.sendall(GET % b"x")
            assert client.answer()[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Pair:
    """Two descriptors."""

    def __enter__(self) -> None:
        self._pair = socket.socketpair()

    def __exit__(self, *_: object) -> None:
        for one in self._pair:
            one.close()
