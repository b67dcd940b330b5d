"""The server's storage fails, is damaged or is held by another program (F18, F19, F20)."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.foundation import DATABASE_FILE
from appliance.model.errors import Unavailable
from tests.journeys.failing_storage import TROUBLE
from tests.journeys.printing import JOB, PROJECTS, Printing
from tests.journeys.prober import Prober
from tests.journeys.site import COMMAND, ENVIRONMENT, LONG_ENOUGH, Site, opened

PAUSE = 0.05  # seconds between two triggers
QUICK: dict[str, Any] = {"identifier": "quick", "definition": {"commands": [["true"]]}}

HOLDS_A_LOCK = """
import sys
import apsw

connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server whose disk fails when a test says so, and a worker."""
    with opened(tmp_path, {"projects": [{**PROJECTS["projects"][0], "jobs": [JOB, QUICK]}]}) as site:
        site.server.terminate()
        home = tmp_path / "server"
        (home / "deployment.py").write_text("from tests.journeys.failing_storage import Deployment as Deployment\n")
        settings = (home / "orchestra.toml").read_text()
        factory = '[appliance]\nfactory = "deployment:Deployment"'
        (home / "orchestra.toml").write_text(settings.replace("[appliance]", factory, 1))
        site.server.start()
        site.add_worker()
        yield site


@contextmanager
def trouble(site: Site, what: str) -> Iterator[None]:
    """The disk fails, until the block is left."""
    file = site.directory / "server" / TROUBLE
    file.write_text(what)
    try:
        yield
    finally:
        file.unlink()


def test_fault_F18_a_database_that_cannot_be_written_ends_the_server_with_1(site: Site, tmp_path: Path) -> None:
    printing = Printing(site, tmp_path / "first", "middle", code=3)
    printing.trigger()
    with printing.at("middle"):
        with trouble(site, "database"):
            with pytest.raises(Unavailable, match=r"must be restarted|does not answer|cannot"):
                site.trigger("print", place=str(tmp_path / "second"))
            assert site.server.wait() == 1
        site.server.start()
    printing.assert_ended_well()
    assert len(list(site.client.runs(project="journeys"))) == 1
    site.assert_healthy()


def test_fault_F18_a_log_that_cannot_be_made_durable_ends_the_server_with_1(site: Site, tmp_path: Path) -> None:
    printing = Printing(site, tmp_path / "first", "middle", code=3)
    printing.trigger()
    with printing.at("middle"), trouble(site, "log"):
        assert site.server.wait() == 1
    site.server.start()
    printing.assert_ended_well()
    site.assert_healthy()


def test_fault_F20_a_damaged_database_is_exit_code_78_and_one_line_and_is_left_alone(
    site: Site, tmp_path: Path
) -> None:
    printing = Printing(site, tmp_path / "first")
    printing.trigger()
    printing.assert_ended_well()
    assert site.server.terminate() == 0
    database = site.directory / "server" / DATABASE_FILE
    whole = database.read_bytes()
    damages = (
        whole[: len(whole) // 2],
        b"",
        b"text " * 5000,
        whole[:4096] + bytes(4096) + whole[8192:],
        whole[:60] + (4711).to_bytes(4, "big") + whole[64:],
    )
    for damaged in damages:
        database.write_bytes(damaged)
        command = [*COMMAND, "serve", "--data", str(database.parent)]
        ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=LONG_ENOUGH, check=False)
        assert ran.returncode == 78
        assert ran.stdout == ""
        (line,) = ran.stderr.splitlines()
        assert line.startswith("orchestra: ")
        assert f"orchestra --data {database.parent} restore FILE" in line
        assert database.read_bytes() == damaged
    database.write_bytes(whole)
    site.server.start()
    printing.assert_ended_well()
    site.assert_healthy()


def trigger(site: Site, key: str) -> tuple[int, str | None]:
    """One request for a quick run; the status of the answer, and its header Retry-After."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=LONG_ENOUGH)
    headers = {"Authorization": f"Bearer {site.token}", "Idempotency-Key": key, "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/projects/journeys/jobs/quick/runs", b'{"parameters": {}}', headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.getheader("Retry-After")


def hold_exclusively(site: Site, tmp_path: Path, seconds: float) -> None:
    """Another program locks the database for a while: triggers are refused with 503, and nothing is lost."""
    printings = [Printing(site, tmp_path / str(number), "middle", code=number) for number in range(4)]
    for printing in printings:
        printing.trigger()
    outcomes: Counter[tuple[int, str | None]] = Counter()
    is_over = threading.Event()

    def load() -> None:
        number = 0
        while not is_over.wait(PAUSE):
            outcomes[trigger(site, f"key-{number}")] += 1
            number += 1

    lock = [sys.executable, "-c", HOLDS_A_LOCK, str(site.directory / "server" / DATABASE_FILE)]
    loader = threading.Thread(target=load)
    with Prober(site).asking() as prober:
        with (
            printings[0].at("middle"),
            printings[1].at("middle"),
            subprocess.Popen(lock, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        ):
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            loader.start()
            is_over.wait(seconds)
            assert holder.stdin is not None
            holder.stdin.close()
        for printing in printings[2:]:
            with printing.at("middle"):
                pass
        began = time.monotonic()
        site.wait(site.trigger("quick"))
        print(f"locked for {seconds:g} s: {dict(outcomes)}; a run ended {time.monotonic() - began:.1f} s after it")
        is_over.set()
        loader.join()
        for printing in printings:
            printing.assert_ended_well()
    prober.assert_always_answered()
    refused = {answer: count for answer, count in outcomes.items() if answer[0] != 201}
    assert {status for status, _ in refused} == {503}
    assert all(int(after or 0) >= 1 for _, after in refused)
    assert len(list(site.client.runs(project="journeys", job="quick"))) == outcomes[201, None] + 1
    site.assert_healthy()


@pytest.mark.long
def test_fault_F19_another_program_locks_the_database_for_a_while(site: Site, tmp_path: Path) -> None:
    hold_exclusively(site, tmp_path, 8.0)


@pytest.mark.long
def test_fault_F19_another_program_locks_the_database_for_30_seconds(site: Site, tmp_path: Path) -> None:
    hold_exclusively(site, tmp_path, 30.0)
