"""Twenty jobs at once: a server that is told to stop beside them (F02), and a storm of output (F31)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from appliance.foundation import DATABASE_FILE
from appliance.model.errors import Conflict
from tests.journeys.raw_worker import RawWorker
from tests.journeys.site import LONG_ENOUGH, Site, opened

MANY = 20
JOBS: list[dict[str, Any]] = [
    {
        "identifier": "held",
        "requires": {"who": "here"},
        "parameters": [{"key": "gate"}],
        "definition": {"commands": ['echo first; read _ < "$PARAM_GATE"; echo second']},
    },
    {
        "identifier": "yes",
        "requires": {"who": "here"},
        "log_limit": "32MiB",  # all they print goes through the pipe, and this much of each to the server
        "definition": {"commands": [["yes", "a line of the storm"]]},
    },
    {"identifier": "ten", "requires": {"who": "here"}, "definition": {"commands": [["seq", "10"]]}},
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker(slots=MANY + 1, who="here")
        yield site


def test_fault_F02_a_server_that_is_told_to_stop_leaves_nothing_to_recover_and_all_jobs_alone(
    site: Site, tmp_path: Path
) -> None:
    token = str(site.client.create_worker("raw", {"who": "raw"})["token"])
    with ExitStack() as gates, RawWorker(site, token) as raw, site.listen() as listener:
        raw.greet()
        runs = []
        for number in range(MANY):
            gate = tmp_path / f"gate-{number}"
            os.mkfifo(gate)
            runs.append(site.trigger("held", gate=str(gate)))
        for number in range(MANY):
            gates.enter_context((tmp_path / f"gate-{number}").open("wb"))  # it has begun
        began = time.monotonic()
        assert site.server.terminate() == 0
        print(f"SIGTERM with {MANY} running jobs: the server ended within {time.monotonic() - began:.2f} s; goal 5 s")
        assert raw.closed()[0] == 1012
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                listener.recv(LONG_ENOUGH)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
        left = {one.name for one in (site.directory / "server").glob(f"{DATABASE_FILE}*") if one.stat().st_size}
        assert left == {DATABASE_FILE}  # no -wal: it was written back, and the next start has nothing to recover
        site.server.start()
        assert [site.client.run(run)["status"] for run in runs] == ["running"] * MANY
    for run in runs:
        assert site.wait(run)["status"] == "succeeded"
        assert site.log(run) == b"first\nsecond\n"
    site.assert_healthy()


def size_of(site: Site, run: str) -> int:
    """Bytes of the log that the server has now."""
    return int(site.client.log(run, 0, 1).size)


def read_until(site: Site, run: str, size: int) -> None:
    """Follow a log until there is so much of it."""
    found = 0
    for part in site.client.follow_log(run):
        found += len(part)
        if found >= size:
            return


@pytest.mark.long
def test_fault_F31_ten_lines_of_another_run_arrive_through_a_storm_of_twenty(site: Site) -> None:
    """All come over one connection, on which much more than a window of each run waits before them and after them."""
    storm = [site.trigger("yes") for _ in range(MANY)]
    try:
        for run in storm:
            read_until(site, run, 1 << 20)
        began = time.monotonic()
        ten = site.wait(site.trigger("ten"))
        print(f"through the output of {MANY} runs, 10 lines came within {time.monotonic() - began:.2f} s; goal 2 s")
        assert ten["status"] == "succeeded"
        assert site.log(ten["id"]) == b"".join(b"%d\n" % number for number in range(1, 11))
        lines = sum(size_of(site, run) for run in storm)
        print(f"the server had {lines / (1 << 20):.0f} MiB of the storm by then")
        assert lines < MANY * (32 << 20)  # the rest was still to come
        assert {site.client.run(run)["status"] for run in storm} == {"running"}
    finally:
        for run in storm:
            with suppress(Conflict):  # it has ended
                site.client.abort(run)
    for run in storm:
        ended = site.wait(run)
        assert (ended["status"], ended["log"]["verified"]) == ("aborted", True), ended["sentence"]
    site.assert_healthy()
