"""What systemd hears of a process, read from a real socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import notify_socket
from appliance.notifier import Notifier


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a unit listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10.0)
        yield listening


def heard(unit: socket.socket) -> dict[str, str]:
    """The next notice."""
    return dict(line.partition("=")[::2] for line in unit.recv(4096).decode().split("\n"))


@pytest.fixture
def notifier(unit: socket.socket) -> Notifier:
    """Of a process that the unit runs."""
    return Notifier(unit.getsockname(), 30.0)


def test_a_start_is_told(notifier: Notifier, unit: socket.socket) -> None:
    notifier.ready("listening on http://127.0.0.1:8080")
    assert heard(unit) == {"READY": "1", "STATUS": "listening on http://127.0.0.1:8080"}


def test_a_reload_is_told_with_the_time_that_systemd_asks_for(notifier: Notifier, unit: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    notice = heard(unit)
    assert notice["RELOADING"] == "1"
    assert before <= int(notice["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_end_and_life_are_told(notifier: Notifier, unit: socket.socket) -> None:
    notifier.stopping("jobs go on")
    notifier.alive()
    assert heard(unit) == {"STOPPING": "1", "STATUS": "jobs go on"}
    assert heard(unit) == {"WATCHDOG": "1"}


def test_a_status_is_one_line_whatever_it_says(notifier: Notifier, unit: socket.socket) -> None:
    """Else what somebody else wrote would be a notice of its own."""
    notifier.status("broken:\nREADY=1\r\n" + "x" * 10_000)
    notice = heard(unit)
    assert set(notice) == {"STATUS"}
    assert notice["STATUS"].startswith("broken: READY=1 xxx")
    assert len(notice["STATUS"]) == 500


def test_a_name_in_the_abstract_space_is_reached() -> None:
    name = f"orchestra-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10.0)
        Notifier(f"@{name}").alive()
        assert heard(listening) == {"WATCHDOG": "1"}


def test_without_a_unit_nothing_is_sent_and_nobody_watches() -> None:
    notifier = Notifier("", 30.0)
    notifier.ready("listening")
    assert notifier.watchdog is None


def test_a_unit_that_is_gone_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        notifier.alive()
        notifier.alive()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("", None)),
        ({"NOTIFY_SOCKET": "/run/n"}, ("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}, ("/run/n", 30.0)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, ("/run/n", 30.0)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, ("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, ("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, ("/run/n", None)),
    ],
)
def test_the_unit_says_where_it_listens_and_how_long_it_waits(
    environ: dict[str, str], expected: tuple[str, float | None]
) -> None:
    assert notify_socket(environ) == expected
