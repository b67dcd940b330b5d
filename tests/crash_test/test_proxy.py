"""The proxy carries every byte, and breaks connections in exactly the ways that it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from appliance.crash_test.proxy import Proxy

LONG_ENOUGH = 30.0
CONTENT = bytes(range(256)) * 4000


@contextmanager
def connected() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy with one connection through it: who came, and who listens upstream."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Proxy(listening.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=LONG_ENOUGH) as near,
    ):
        far, _ = listening.accept()
        far.settimeout(LONG_ENOUGH)
        with far:
            assert proxy.wait_for_connection(1, LONG_ENOUGH)
            yield proxy, near, far


def read(end: socket.socket, size: int) -> bytes:
    """Up to so many bytes; fewer when the connection ends, in whatever way."""
    found = b""
    with suppress(ConnectionResetError):
        while len(found) < size and (part := end.recv(size - len(found))):
            found += part
    return found


def send(end: socket.socket, content: bytes) -> bool:
    """All of it, or as much as the other end still takes; answers whether it heard of a reset."""
    try:
        end.sendall(content)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_it_carries_everything_both_ways() -> None:
    with connected() as (_, near, far):
        near.sendall(CONTENT[:100_000])
        assert read(far, 100_000) == CONTENT[:100_000]
        far.sendall(CONTENT[:100_000])
        assert read(near, 100_000) == CONTENT[:100_000]
        near.close()
        assert read(far, 1) == b""


@pytest.mark.parametrize("after", [0, 1, 12_345])
def test_fault_F12_a_cut_comes_at_its_byte_and_both_ends_are_told_by_reset(after: int) -> None:
    with connected() as (proxy, near, far):
        proxy.cut(after)
        is_reset = send(near, CONTENT[:200_000])
        assert read(far, 200_000) == CONTENT[:after]
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            is_reset = True  # told once: to who writes, or to who reads
        assert is_reset, "it was closed, not reset"


def test_a_cut_without_a_connection_waits_for_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, Proxy(listening.getsockname()[1]) as proxy:
        proxy.cut(5)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=LONG_ENOUGH) as near:
            far, _ = listening.accept()
            with far:
                send(near, b"0123456789")
                assert read(far, 10) == b"01234"


def test_fault_F11_a_silenced_connection_carries_nothing_and_nobody_hears_of_the_others_end() -> None:
    with connected() as (proxy, near, far):
        assert proxy.silence() == 1
        assert proxy.silence() == 0
        near.sendall(b"into the void")
        near.close()
        assert proxy.wait_for_hangup("near", 1, LONG_ENOUGH)
        assert not proxy.wait_for_hangup("far", 1, 0.0)
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)
        far.close()
        assert proxy.wait_for_hangup("far", 1, LONG_ENOUGH)


def test_new_connections_work_while_an_old_one_is_silent() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Proxy(listening.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)),
    ):
        older, _ = listening.accept()
        with older:
            assert proxy.wait_for_connection(1, LONG_ENOUGH)
            assert proxy.silence() == 1
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=LONG_ENOUGH) as near:
                far, _ = listening.accept()
                with far:
                    near.sendall(b"hello")
                    assert read(far, 5) == b"hello"


def test_a_slow_line_loses_nothing() -> None:
    with connected() as (proxy, near, far):
        proxy.dribble(0.05)
        proxy.delay(0.05, 0.01)
        near.sendall(CONTENT[:300_000])
        assert read(far, 300_000) == CONTENT[:300_000]


def test_who_comes_while_it_refuses_or_while_nobody_listens_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        upstream = listening.getsockname()[1]
        with Proxy(upstream) as proxy:
            proxy.refuse(LONG_ENOUGH)
            assert is_reset(proxy)
    with Proxy(upstream) as proxy:
        assert is_reset(proxy)
        assert proxy.connections == 0


def is_reset(proxy: Proxy) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=LONG_ENOUGH) as near:
            return read(near, 1) == b""
    except ConnectionResetError:
        return True  # while it was still connecting


def test_closing_ends_what_goes_through() -> None:
    with connected() as (proxy, near, far):
        proxy.close()
        assert read(near, 1) == read(far, 1) == b""
