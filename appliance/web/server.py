"""The one port: waitress accepts; a WebSocket upgrade leaves with its socket for the gateway, all else is served here.

What waitress does not do itself is done here: a deadline for the whole of a request (decision 13, F34), a limit of
connections per client address (S-60), an end that waits for answers under way and for nothing else (F02).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from appliance.web.doorkeeper import Doorkeeper
from appliance.web.refusals import Refusal, close_late, linger
from appliance.web.single_request import SingleRequest

_log = logging.getLogger(__name__)

HEAD_LIMIT = 16_384  # bytes of a request's head
_TLS = b"\x16\x03"  # how a TLS handshake begins, and no request of HTTP
LOOK_EVERY = 5  # seconds between two looks for connections that are late
IDLE_FOR = 30.0  # seconds a connection may be idle, or its client read nothing of an answer
SEND_AHEAD = 1 << 20  # bytes of an answer kept in memory before the rest waits
SIGNS_OF_LIFE = frozenset({"/health", "/ready"})

Adopt = Callable[[socket.socket, bytes], None]


class ServerLimits(msgspec.Struct, frozen=True):
    """Bounds of the port (S-60). Seconds and bytes."""

    threads: int = 8
    connections: int = 1000
    connections_per_address: int = 64
    request_within: float = 20.0
    idle_within: float = IDLE_FOR
    body: int = 1 << 20


class _Channel(HTTPChannel):
    """One connection. Buffers the head of a GET, to see an upgrade before waitress would answer it."""

    error_task_class = Refusal
    parser_class = SingleRequest
    server: _Server
    socket: Any
    has_refused = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = b""
        self._began_at: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether a request has begun and is still not complete after the time it may take."""
        began = self._began_at
        return began is not None and time.monotonic() - began > self.server.limits.request_within

    def received(self, data: bytes) -> bool:
        """Take bytes from the socket."""
        if data.startswith(_TLS) and self.request is None and not self._head:
            data += b"\r\n\r\n"  # https where it should be http: refused at once, not when its time is over
        if self._began_at is None:
            self._began_at = time.monotonic()
        if self.request is None and not self.requests and self._may_be_get(data):
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0 and len(self._head) < HEAD_LIMIT:
                return True
            data, self._head = self._head, b""
            if end > 0 and _is_upgrade(data[:end]):
                self._leave(data)
                return False
        more: bool = super().received(data)
        if self.request is None:
            self._began_at = None  # complete; the next one has a time of its own
        return more

    def handle_close(self) -> None:
        """Close; what a refused client still sends is taken from it first."""
        if self.has_refused and self.connected:
            linger(self.socket, self._map)
        super().handle_close()

    def hang_up(self) -> None:
        """End the connection although bytes for it wait; the loop then finds it closed."""
        with contextlib.suppress(OSError):  # it is closed already
            self.socket.shutdown(socket.SHUT_RDWR)

    def _may_be_get(self, data: bytes) -> bool:
        start = (self._head + data[:4])[:4]
        return b"GET ".startswith(start) or start == b"GET "

    def _leave(self, head: bytes) -> None:
        """Give the socket away; waitress forgets this connection."""
        own: socket.socket = self.socket
        self.del_channel()
        self.connected = False
        self.socket = None
        self.handle_close = _nothing  # type: ignore[method-assign]  # the socket has another owner now
        self.server.adopt(socket.socket(fileno=own.detach()), head)


class _Server(TcpWSGIServer):
    """waitress's server with our limits."""

    channel_class = _Channel

    def __init__(self, application: Any, adopt: Adopt, limits: ServerLimits, dispatcher: Any, settings: Any) -> None:
        self.adopt, self.limits = adopt, limits
        self._doorkeeper = Doorkeeper()
        super().__init__(application, {}, dispatcher=dispatcher, adj=settings)

    def accept(self) -> Any:
        """The next connection and its address, or None; turned away when there is no descriptor for it (F44)."""
        try:
            return super().accept()
        except OSError as error:
            if not self._doorkeeper.turn_away(self.socket, error):
                raise
            return None

    def readable(self) -> bool:
        """Whether the next connection is to be accepted now."""
        return bool(super().readable()) and self._doorkeeper.is_ready

    def close(self) -> None:
        """Listen no more."""
        self._doorkeeper.close()
        super().close()

    def handle_accept(self) -> None:
        """Accept one connection, unless its address has its share already."""
        super().handle_accept()
        if not self.active_channels:
            return
        newest = next(reversed(self.active_channels.values()))
        address = newest.addr[0]
        if address == self.adj.trusted_proxy:
            return  # it speaks for many
        same = sum(1 for channel in list(self.active_channels.values()) if channel.addr[0] == address)
        if same > self.limits.connections_per_address:
            newest.handle_close()

    def maintenance(self, now: float) -> None:
        """Close what is idle (waitress), late or stalled (ours); called every LOOK_EVERY seconds.

        waitress closes a connection when it can be written to, which one whose client reads nothing never can (F34).
        """
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            if channel.is_late and not channel.requests:
                channel.will_close = True
            if channel.total_outbufs_len and channel.last_activity < now - self.limits.idle_within:
                channel.hang_up()
        close_late(self._map)


class _Threads(ThreadedTaskDispatcher):
    """The threads that answer requests, and two more for signs of life: however long the others wait for a disk or a
    lock, those do not (I8)."""

    def __init__(self) -> None:
        super().__init__()
        self._for_signs = ThreadedTaskDispatcher()
        self._for_signs.set_thread_count(2)

    def add_task(self, task: Any) -> None:
        """Let a thread serve a connection whose next request is complete."""
        if task.requests and getattr(task.requests[0], "path", "") in SIGNS_OF_LIFE:  # a bad head has no path
            self._for_signs.add_task(task)
        else:
            super().add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> Any:
        """End all threads."""
        self._for_signs.shutdown(cancel_pending, timeout)
        return super().shutdown(cancel_pending, timeout)


class WebServer:
    """The listening port and its threads."""

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        adopt: Adopt,
        limits: ServerLimits,
        trusted_proxy: str = "",
    ) -> None:
        """``adopt`` takes over upgrades: the socket, and what was read of it. ``port`` 0 lets the system choose."""
        self._application = application
        self._host, self._port = host, port
        self._adopt = adopt
        self._limits = limits
        self._trusted_proxy = trusted_proxy
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return int(self._server.effective_port) if self._server is not None else self._port

    def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        options: dict[str, Any] = {}
        if self._trusted_proxy:
            options["trusted_proxy"] = self._trusted_proxy
            options["trusted_proxy_headers"] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
        settings = Adjustments(
            host=self._host,
            port=self._port,
            threads=self._limits.threads,
            connection_limit=self._limits.connections,
            cleanup_interval=LOOK_EVERY,
            channel_timeout=max(1, int(self._limits.idle_within)),
            max_request_header_size=HEAD_LIMIT,
            max_request_body_size=self._limits.body,
            outbuf_high_watermark=SEND_AHEAD,
            outbuf_overflow=SEND_AHEAD + (2 << 20),  # no page of a log goes to a temporary file: its disk may be full
            asyncore_use_poll=True,  # its select() dies past 1,024 descriptors (decision 4)
            expose_tracebacks=False,
            ident=None,
            clear_untrusted_proxy_headers=True,
            **options,
        )
        dispatcher = _Threads()
        dispatcher.set_thread_count(self._limits.threads)
        try:
            self._server = _Server(self._application, self._adopt, self._limits, dispatcher, settings)
        except OSError:
            dispatcher.shutdown(cancel_pending=True, timeout=0.5)
            raise
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Accept nothing more, finish answers that are under way, end."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        server.trigger.pull_trigger(lambda: _stop_listening(server))
        until = time.monotonic() + timeout
        while time.monotonic() < until and any(
            channel.requests or channel.total_outbufs_len for channel in list(server.active_channels.values())
        ):
            time.sleep(0.02)
        server.task_dispatcher.shutdown(cancel_pending=True, timeout=0.5)
        with server.trigger.lock:  # a loop that is awake must not close the trigger before we have pulled it
            server.trigger.thunks.append(lambda: wasyncore.close_all(server._map))
            server.trigger.pull_trigger()
        thread.join(1.0)
        self._server = None


def _stop_listening(server: _Server) -> None:
    """In the server's own thread."""
    server.accepting = False
    server.del_channel()
    server.socket.close()


def _is_upgrade(head: bytes) -> bool:
    """Whether a request's head asks for a WebSocket."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"upgrade" and value.strip().lower() == b"websocket":
            return True
    return False


def _nothing() -> None:
    """What a connection that has left does when waitress wants to close it."""
