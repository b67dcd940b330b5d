"""So many handshakes may be under way at once, and those beyond are told so (5.2, S-61)."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from appliance.master.gateway import HANDSHAKES
from appliance.model.permissions import Principal
from appliance.wire import SUBPROTOCOL
from tests.master.sockets import LONG_ENOUGH
from tests.master.test_gateway import Desk

HANDSHAKE = (
    "GET /worker HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
    "Authorization: Bearer w1\r\n\r\n"
)


class SlowDesk(Desk):
    """It looks at no token before it is told to."""

    def __init__(self) -> None:
        self.may_look = threading.Event()
        super().__init__()

    def _authenticate(self, token: str) -> Principal:
        assert self.may_look.wait(LONG_ENOUGH)
        return super()._authenticate(token)


@pytest.fixture
def desk() -> Iterator[SlowDesk]:
    made = SlowDesk()
    yield made
    made.may_look.set()
    made.close()


def test_req_S_61_a_handshake_beyond_the_hundredth_is_answered_429_and_the_others_go_on(desk: SlowDesk) -> None:
    host, port = desk.port.host.split(":")
    with ExitStack() as stack:
        clients = []
        for _ in range(HANDSHAKES + 1):
            client = stack.enter_context(socket.create_connection((host, int(port)), LONG_ENOUGH))
            client.sendall(HANDSHAKE.encode())
            clients.append(client)
        (refused,), _, _ = select.select(clients, [], [], LONG_ENOUGH)
        assert refused.recv(65_536).startswith(b"HTTP/1.1 429 ")
        desk.may_look.set()
        answers = [client.recv(65_536).split(b"\r\n")[0] for client in clients if client is not refused]
    assert answers == [b"HTTP/1.1 101 Switching Protocols"] * HANDSHAKES
