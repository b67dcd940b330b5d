"""A real HTTP server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from appliance.client import Client


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """An answer. ``hang_up``: close the connection afterwards without saying so; ``drop``: instead of answering.

    ``cut``: hang up after so many bytes of the body, as a server does that is killed while it answers.
    """

    status: int = 200
    document: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    body: bytes | None = None
    content_type: str = "application/json"
    hang_up: bool = False
    drop: bool = False
    cut: int | None = None


class Service:
    """Answers with ``replies`` in order, the last one again and again."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.replies: list[Reply | Callable[[Asked], Reply]] = [Reply(document={})]
        self.connections = 0
        self.hung_up = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                service.connections += 1
                super().setup()

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
                service.asked.append(asked)
                reply = service.replies[0] if len(service.replies) == 1 else service.replies.pop(0)
                if callable(reply):
                    reply = reply(asked)
                self.close_connection = reply.hang_up or reply.drop or reply.cut is not None
                if reply.drop:
                    return
                body = json.dumps(reply.document).encode() if reply.body is None else reply.body
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: reply.cut])

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  # names of http.server

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                service.hung_up.set()

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def problem(status: int, detail: str, **more: Any) -> Reply:
    """An error as the service says it."""
    return Reply(
        status, {"status": status, "title": "t", "detail": detail, **more}, content_type="application/problem+json"
    )


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.stop()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, "orc_u_1") as made:
        yield made
