"""F42: an abort races the end of a command. Whichever is recorded first wins, and it is the same everywhere.

Everywhere is: the worker's exit record, the server as its service tells it, and the page of the run.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any

import pytest

from appliance.client import Client
from appliance.model.errors import Conflict
from appliance.worker import processes
from tests.journeys.site import PASSWORD, Site, opened
from tests.journeys.visitor import Visitor

SCRIPT = "import sys, time; time.sleep(float(sys.argv[1])); print('to the end', flush=True)"
JOB: dict[str, Any] = {
    "identifier": "race",
    "parameters": [{"key": "seconds"}],
    "definition": {"commands": [[sys.executable, "-S", "-c", SCRIPT, "{parameters[seconds]}"]]},
}
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": [JOB]}]}
AT_ONCE = 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker("here", slots=AT_ONCE)
        yield site


class Reader:
    """Somebody logged in who reads pages, one at a time."""

    def __init__(self, site: Site) -> None:
        self._visitor, self._turn = Visitor(), threading.Lock()
        self._visitor.open(f"{site.url}/login", {"user": "root", "password": PASSWORD}, "/login")

    def open(self, address: str) -> str:
        """A page."""
        with self._turn:
            return self._visitor.open(address)


def race(site: Site, reader: Reader, rng: random.Random) -> tuple[str, bool]:
    """One run that is aborted about when it ends: its status, and whether the abort was taken."""
    with Client(site.url, site.token) as client:
        run: str = client.trigger("journeys", "race", {"seconds": f"{rng.uniform(0.0, 0.05):.3f}"})["id"]
        site.reach(run, lambda found: found["started_at"] is not None or found["finished_at"] is not None)
        for _ in range(rng.randrange(20)):  # some milliseconds each: the abort comes before, about or after the end
            client.run(run)
        try:
            client.abort(run)
            is_taken = True
        except Conflict:
            is_taken = False
        ended = client.wait(run)
        assert_one_outcome(client, ended, is_taken=is_taken)
        assert_worker_and_page_agree(site, reader, ended)
        return ended["status"], is_taken


def assert_one_outcome(client: Client, run: dict[str, Any], *, is_taken: bool) -> None:
    """Status, reason, exit code, log and receipt tell the same story."""
    told = {name: run[name] for name in ("status", "reason", "sentence", "exit", "log")}
    log = client.log(run["id"]).content
    assert run["log"]["verified"] and run["log"]["size"] == len(log), told
    if run["status"] == "succeeded":  # its end was recorded before the kill
        assert (run["reason"], run["exit"]["code"], log) == (None, 0, b"to the end\n"), told
    else:
        assert (run["status"], run["reason"]) == ("aborted", "requested"), told
        assert is_taken, told
        assert log in (b"", b"to the end\n"), told
    assert client.run(run["id"]) == run  # and it stays


def assert_worker_and_page_agree(site: Site, reader: Reader, run: dict[str, Any]) -> None:
    """The exit record on the worker and the page say what the service says, and nothing of the run is left."""
    record = json.loads((site.directory / "here" / "runs" / run["id"] / "exit.json").read_text())
    assert (record["status"], record["reason"]) == (run["status"], run["reason"])
    page = reader.open(f"{site.url}/p/journeys/race/{run['number']}")
    assert f'<span class="chip {run["status"]}">' in page
    assert ("Abort run" in page, run["sentence"] is None or escape(run["sentence"]) in page) == (False, True)
    assert processes.carrying(run["id"]) == []


def run_races(site: Site, count: int) -> None:
    rng, reader = random.Random(7), Reader(site)
    seeds = [rng.random() for _ in range(count)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = Counter(pool.map(lambda seed: race(site, reader, random.Random(seed)), seeds))
    print(f"{count} races of an abort and an end: {dict(outcomes)}")
    assert sum(outcomes.values()) == count
    site.assert_healthy()


@pytest.mark.long
def test_fault_F42_a_hundred_aborts_race_the_end_and_each_has_one_outcome(site: Site) -> None:
    run_races(site, 100)


@pytest.mark.release
def test_fault_F42_a_thousand_aborts_race_the_end_and_each_has_one_outcome(site: Site) -> None:
    run_races(site, 1000)
