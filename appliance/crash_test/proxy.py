"""A TCP proxy on loopback that breaks connections as networks do (F09, F11, F12): between a worker and the server."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: close says RST
_PIECE = 65_536
_DRIBBLE = 0.002  # seconds between two bytes


class _Link:
    """One connection and its other half. Sockets are closed by the last thread that uses them, and by no other."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.lock = threading.Lock()
        self.left: int | None = None  # bytes until the cut
        self.is_silent = False
        self.is_over = False
        self.hung_up: set[str] = set()  # near, far: which ends are gone

    @property
    def is_open(self) -> bool:
        """Whether it still carries anything."""
        return not (self.is_silent or self.is_over)

    def reset(self) -> None:
        """Nothing passes any more; both ends are told by RST as soon as both threads have seen it."""
        self.is_over = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads, and sends nothing

    def close(self) -> None:
        """By RST."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()


class Proxy:
    """Listens on ``port`` of 127.0.0.1 and passes everything to and from ``upstream``, until it is told otherwise."""

    def __init__(self, upstream: int, port: int = 0) -> None:
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._next_cut: int | None = None
        self._dribbles_until = self._delays_until = self._refuses_until = 0.0
        self._delay = 0.0
        self._is_closed = False
        self._hangups: Counter[str] = Counter()
        self._came = threading.Condition(self._lock)
        self.connections = 0
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that goes through."""
        with self._lock:
            self._is_closed = True
            links, self._links = self._links, []
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for link in links:
            link.reset()

    # ---- faults

    def cut(self, after: int) -> None:
        """Reset the newest connection once it has carried so many more bytes; if there is none, the next one."""
        with self._lock:
            live = [link for link in self._links if not link.is_silent]
            if not live:
                self._next_cut = after
                return
            link = live[-1]
        with link.lock:
            link.left = after
        if after == 0:
            link.reset()

    def silence(self) -> int:
        """Swallow whatever the connections of now carry from now on, and tell nobody; answers how many there were."""
        with self._lock:
            live = [link for link in self._links if not link.is_silent]
            for link in live:
                link.is_silent = True
            return len(live)

    def dribble(self, seconds: float) -> None:
        """For so long, one byte at a time."""
        self._dribbles_until = time.monotonic() + seconds

    def delay(self, seconds: float, each: float) -> None:
        """For so long, each piece comes ``each`` seconds late."""
        self._delay = each
        self._delays_until = time.monotonic() + seconds

    def refuse(self, seconds: float) -> None:
        """For so long, reset whoever comes."""
        self._refuses_until = time.monotonic() + seconds

    def wait_for_connection(self, number: int, within: float) -> bool:
        """Whether there have been so many connections, at the latest after so many seconds."""
        with self._lock:
            return self._came.wait_for(lambda: self.connections >= number, within)

    def wait_for_hangup(self, side: str, number: int, within: float) -> bool:
        """Whether so many connections were ever given up at that end: ``near`` is who came to us, ``far`` upstream."""
        with self._lock:
            return self._came.wait_for(lambda: self._hangups[side] >= number, within)

    # ---- traffic

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                if self._is_closed:
                    return
                time.sleep(0.05)  # no descriptors left, for a moment
                continue
            far = self._reach_upstream()
            if far is None:  # as without us, the worker hears at once that the server is down
                with contextlib.suppress(OSError):
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(near, far)
            with self._lock:
                link.left, self._next_cut = self._next_cut, None
                self._links.append(link)
                self.connections += 1
                self._came.notify_all()
            for side, source, sink in (("near", near, far), ("far", far, near)):
                threading.Thread(target=self._pump, args=(link, side, source, sink), name="pump", daemon=True).start()

    def _reach_upstream(self) -> socket.socket | None:
        if time.monotonic() < self._refuses_until:
            return None
        try:
            far = socket.create_connection(("127.0.0.1", self._upstream), timeout=5.0)
        except OSError:
            return None
        far.settimeout(None)
        return far

    def _pump(self, link: _Link, side: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # reset by us, or by an end
            while (chunk := source.recv(_PIECE)) and not link.is_over:
                self._pass_on(link, sink, chunk)
        if not link.is_silent:
            link.reset()  # a half-closed connection is of no use to a WebSocket
        with contextlib.suppress(OSError):
            if link.is_silent:
                source.shutdown(socket.SHUT_RDWR)  # of a silenced connection only this end hears
        with self._lock:
            link.hung_up.add(side)
            self._hangups[side] += 1
            is_last = len(link.hung_up) == 2
            if is_last and link in self._links:
                self._links.remove(link)
            self._came.notify_all()
        if is_last:
            link.close()

    def _pass_on(self, link: _Link, sink: socket.socket, chunk: bytes) -> None:
        if link.is_silent:
            return
        if time.monotonic() < self._delays_until:
            time.sleep(self._delay)
        with link.lock:
            is_cut = link.left is not None and link.left <= len(chunk)
            if link.left is not None:
                chunk = chunk[: link.left]
                link.left -= len(chunk)
        while chunk and time.monotonic() < self._dribbles_until and link.is_open:
            sink.sendall(chunk[:1])
            chunk = chunk[1:]
            time.sleep(_DRIBBLE)
        if link.is_open:
            sink.sendall(chunk)
        if is_cut:
            link.reset()
