"""A port with a gateway behind it, and clients that speak to it from another thread."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from appliance.master.gateway import Gateway
from appliance.web.server import ServerLimits, WebServer
from appliance.wire import SUBPROTOCOL
from appliance.wire import messages as m

LONG_ENOUGH = 30.0


def _nothing(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    start("404 Not Found", [("Content-Length", "0")])
    return []


class Port:
    """Web server and gateway, as the appliance joins them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        gateway.start()
        self._web = WebServer(_nothing, "127.0.0.1", 0, gateway.adopt, ServerLimits())
        self._web.start()
        self._open = contextlib.ExitStack()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._web.port}"

    def dial(self, path: str, *, subprotocol: str | None = None, **headers: str) -> ClientConnection:
        """A handshake; header names with ``_`` for ``-``."""
        dialled = connect(
            f"ws://{self.host}{path}",
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
            subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
            compression=None,
            close_timeout=2.0,
            max_size=None,
            proxy=None,
        )
        return self._open.enter_context(dialled)

    def close(self) -> None:
        self._web.stop()
        self._gateway.stop()
        self._open.close()


class WorkerSocket:
    """A worker's connection: messages as Structs."""

    def __init__(self, port: Port, token: str) -> None:
        self.socket = port.dial("/worker", subprotocol=SUBPROTOCOL, Authorization=f"Bearer {token}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, message: m.Message) -> None:
        self.socket.send(m.encode(message))

    def hear(self, kind: type[m.Message]) -> Any:
        """The next message, which is of this type."""
        frame = self.socket.recv(LONG_ENOUGH)
        assert isinstance(frame, str)
        message = m.from_master(frame)
        assert isinstance(message, kind), message
        return message


def closed(socket: ClientConnection) -> tuple[int, str]:
    """Code and text of the close that the server sends; what comes before it is passed over."""
    try:
        while True:
            socket.recv(LONG_ENOUGH)
    except ConnectionClosed as error:
        assert error.rcvd is not None, error
        return error.rcvd.code, error.rcvd.reason


def told(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next thing that a listener is told in text, which is of this type."""
    frame = socket.recv(LONG_ENOUGH)
    assert isinstance(frame, str), frame
    words: dict[str, Any] = json.loads(frame)
    assert words["type"] == kind, words
    return words
