"""systemd hears of life only while every part that counts is at work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.notifier import Notifier
from appliance.watchdog import Watchdog

SOON = 0.03  # seconds that this systemd waits
NEVER = 0.3  # seconds after which a sign that did not come is one that does not come


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a unit listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10.0)
        yield listening


class Part:
    """Something that can get stuck."""

    def __init__(self) -> None:
        self.is_free = threading.Event()
        self.is_free.set()
        self.is_asked = threading.Semaphore(0)

    def beat(self) -> None:
        """Returns when it is free."""
        self.is_asked.release()
        self.is_free.wait()


def drain(unit: socket.socket) -> None:
    """Forget what was said so far."""
    unit.setblocking(False)
    try:
        while unit.recv(4096):
            pass
    except BlockingIOError:
        unit.settimeout(10.0)


@pytest.mark.parametrize("which", [0, 1])
def test_fault_F44_no_life_is_told_while_a_part_is_stuck(unit: socket.socket, which: int) -> None:
    parts = [Part(), Part()]
    watchdog = Watchdog(Notifier(unit.getsockname(), SOON), {"a": parts[0].beat, "b": parts[1].beat})
    watchdog.start()
    try:
        for _ in range(3):
            assert unit.recv(100) == b"WATCHDOG=1"
        parts[which].is_free.clear()
        while parts[which].is_asked.acquire(blocking=False):
            pass
        assert parts[which].is_asked.acquire(timeout=10.0)  # asked again, and it does not answer
        drain(unit)
        unit.settimeout(NEVER)
        with pytest.raises(TimeoutError):
            unit.recv(100)
        unit.settimeout(10.0)
        parts[which].is_free.set()
        assert unit.recv(100) == b"WATCHDOG=1"
    finally:
        parts[which].is_free.set()
        watchdog.stop()


def test_fault_F44_a_part_that_has_failed_gives_no_sign(unit: socket.socket) -> None:
    def fail() -> None:
        raise RuntimeError("it has ended")

    watchdog = Watchdog(Notifier(unit.getsockname(), SOON), {"a": fail})
    with pytest.raises(RuntimeError):
        watchdog.step()
    unit.setblocking(False)
    with pytest.raises(BlockingIOError):
        unit.recv(100)


def test_a_round_is_a_third_of_what_systemd_waits(unit: socket.socket) -> None:
    assert Watchdog(Notifier(unit.getsockname(), 30.0), {}).step() == 10.0
    assert unit.recv(100) == b"WATCHDOG=1"


def test_where_nobody_watches_nobody_is_asked() -> None:
    part = Part()
    watchdog = Watchdog(Notifier(), {"a": part.beat})
    watchdog.start()
    watchdog.stop()
    assert not part.is_asked.acquire(blocking=False)
