"""The server runs out of file descriptors: it lives on, turns newcomers away, and all is well afterwards (F44)."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from appliance.app import DESCRIPTORS
from tests.journeys.printing import Printing
from tests.journeys.site import LONG_ENOUGH, Site

LIMIT = 256  # descriptors of the server
FROM_EACH = 60  # connections; 64 are allowed to an address


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def crowd(port: int, size: int) -> Iterator[list[socket.socket]]:
    """Connections from several addresses that ask nothing."""
    with ExitStack() as stack:
        made = []
        for number in range(size):
            address = f"127.0.0.{2 + number // FROM_EACH}"
            made.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), LONG_ENOUGH, (address, 0))))
        yield made


def wait_for_refusals(connections: list[socket.socket], count: int) -> None:
    """Until the server has closed so many of them."""
    poll = select.poll()
    for one in connections:
        poll.register(one, select.POLLIN)
    closed: set[int] = set()
    while len(closed) < count:
        found = poll.poll(LONG_ENOUGH * 1000)
        assert found, f"only {len(closed)} of {len(connections)} connections were turned away"
        for descriptor, _ in found:
            closed.add(descriptor)
            poll.unregister(descriptor)


def test_fault_F44_a_server_without_descriptors_lives_on_and_loses_nothing(site: Site, tmp_path: Path) -> None:
    first, second = (Printing(site, tmp_path / str(number), "middle", code=number) for number in range(2))
    first.trigger()
    second.trigger()
    pid = site.server.pid
    with ExitStack() as stack, second.at("middle"):
        with first.at("middle"):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            assert soft == hard or soft >= DESCRIPTORS  # it has asked for what it may have (F33)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
            connections = stack.enter_context(crowd(site.port, 2 * LIMIT))
            wait_for_refusals(connections, LIMIT)
            before = cpu_seconds(pid)
        # The first job prints its second half while nothing can be opened.
        with crowd(site.port, 2 * LIMIT) as more:
            wait_for_refusals(more, LIMIT)
        used = cpu_seconds(pid) - before
        print(f"{LIMIT} more were turned away; the server used {used:.2f} s of the processor for it")
    for printing in (first, second):
        printing.assert_ended_well()
    assert site.server.pid == pid and site.server.is_running
    site.assert_healthy()
