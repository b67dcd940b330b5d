"""A server goes back to a backup while its workers went on: everything they did comes back, and nothing is done twice.

Real processes: a server, two workers, ``orchestra backup`` while it runs, more runs, kill -9, ``orchestra restore``.
Each job appends a line to a file with one write, which is how often its commands were executed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from appliance.db.lineage import NUMBERS_SKIPPED
from tests.journeys.site import Site, opened

JOB = """
import hashlib, json, os, pathlib, sys, time
marks, kind, seed = sys.argv[1:4]
run = os.environ["ORCHESTRA_RUN"]
descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(descriptor, (run + "\\n").encode())
block = hashlib.sha256(seed.encode()).digest()
os.write(1, block * 700)
pathlib.Path(os.environ["ORCHESTRA_RESULTS"]).write_text(json.dumps({"seed": seed, "kind": kind}))
if kind == "waits":
    os.mkfifo(marks + "." + run)
    with open(marks + "." + run, "rb") as gate:
        gate.read()
    os.write(1, block * 300)
sys.exit(3 if kind == "fails" else 0)
"""


def output(seed: str, kind: str) -> bytes:
    """What the job prints."""
    return hashlib.sha256(seed.encode()).digest() * (1000 if kind == "waits" else 700)


class Travel:
    """A site with two workers whose server goes back in time."""

    def __init__(self, site: Site, marks: Path) -> None:
        self.site, self.marks = site, marks
        self.seeds: dict[str, tuple[str, str]] = {}  # run: kind, seed

    def trigger(self, kind: str = "ends") -> str:
        seed = f"{len(self.seeds)}"
        run_id = self.site.trigger("job", kind=kind, seed=seed)
        self.seeds[run_id] = (kind, seed)
        return run_id

    def begun(self) -> str:
        """A run whose command waits."""
        run_id = self.trigger("waits")
        self.site.reach(run_id, lambda run: run["started_at"] is not None)
        return run_id

    def let_go(self, run_id: str) -> None:
        """A run that waits may go on."""
        for _ in self.site.client.follow_log(run_id):  # its first output is there: its gate is, or is about to be
            break
        with Path(f"{self.marks}.{run_id}").open("wb"):
            pass

    def executions(self) -> Counter[str]:
        return Counter(self.marks.read_text().split())

    def restore(self, backup: Path) -> None:
        """Kill the server, put the backup back, start it."""
        self.site.server.kill()
        self.site.out("--data", str(self.site.directory / "server"), "restore", str(backup))
        self.site.server.start()

    def recovery(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.site.out("recovery", "show", "--json"))
        return found

    def wait_for_each_worker(self) -> None:
        """A run that only this worker may execute begins when it is connected, and has told all if it must."""
        for name in ("here", "there"):
            run_id = self.site.client.trigger("journeys", f"on-{name}", {})["id"]
            assert self.site.wait(run_id)["status"] == "succeeded"

    def check(self, run_id: str, before: dict[str, Any] | None = None) -> None:
        """A run is as it was: number, log, results and status."""
        kind, seed = self.seeds[run_id]
        run = self.site.wait(run_id)
        assert run["status"] == ("failed" if kind == "fails" else "succeeded"), run
        assert hashlib.sha256(self.site.log(run_id)).digest() == hashlib.sha256(output(seed, kind)).digest()
        assert run["log"]["verified"], run
        assert self.site.client.results(run_id) == {"seed": seed, "kind": kind}
        if before is not None:
            told = ("number", "created_at", "parameters", "source", "definition_version", "worker", "exit")
            assert {key: run[key] for key in told} == {key: before[key] for key in told}


def travel(tmp_path: Path, after_backup: int) -> None:
    marks = tmp_path / "marks"
    script = tmp_path / "job.py"
    script.write_text(JOB)
    command = [sys.executable, str(script), str(marks), "{parameters.kind}", "{parameters.seed}"]
    elsewhere = [
        {"identifier": f"on-{name}", "requires": {"place": name}, "definition": {"commands": [["true"]]}}
        for name in ("here", "there")
    ]
    job = {
        "identifier": "job",
        "parameters": [{"key": "kind"}, {"key": "seed"}],
        "definition": {"commands": [command]},
    }
    projects = {"projects": [{"identifier": "journeys", "jobs": [job, *elsewhere]}]}
    with opened(tmp_path / "site", projects) as site:
        going = Travel(site, marks)
        for name in ("here", "there"):
            site.add_worker(name, 6, place=name)
        going.wait_for_each_worker()  # the backup must know their journals
        early = [going.trigger() for _ in range(5)]
        for run_id in early:
            site.wait(run_id)
        ends_after, still_runs = going.begun(), going.begun()
        site.workers["there"].terminate()  # what waits in the backup is executed by the other one afterwards
        site.out("worker", "disable", "here")
        waiting = [going.trigger() for _ in range(3)]
        backup = tmp_path / "backup.tar.gz"
        site.out("--data", str(site.directory / "server"), "backup", str(backup), "--verify")
        # after the backup
        site.out("worker", "enable", "here")
        site.workers["there"].start()
        later = [going.trigger("fails" if number % 10 == 3 else "ends") for number in range(after_backup)]
        going.let_go(ends_after)
        before = {run_id: site.wait(run_id) for run_id in (*early, *waiting, *later, ends_after)}
        for run_id in before:
            going.check(run_id)
        new_and_running = going.begun()
        numbers = {run_id: site.client.run(run_id)["number"] for run_id in going.seeds}
        going.restore(backup)
        site.out("worker", "enable", "here")  # the backup knew it disabled
        # what was known comes back, what runs goes on
        going.wait_for_each_worker()
        recovery = going.recovery()
        assert (recovery["is_open"], recovery["failed"]) == (False, 0), recovery
        assert recovery["backup_at"] is not None
        for run_id in (still_runs, new_and_running):
            assert site.client.run(run_id)["status"] == "running"
            going.let_go(run_id)
        for run_id in going.seeds:
            going.check(run_id, before.get(run_id))
            assert site.client.run(run_id)["number"] == numbers[run_id]
        back = [run_id for run_id in going.seeds if site.client.run(run_id)["recovered"]]
        assert set(back) == {*waiting, *later, ends_after, new_and_running}
        assert recovery["recovered"] == len(back)
        # and nothing was done twice
        assert going.executions() == Counter(dict.fromkeys(going.seeds, 1))
        newest = going.trigger()
        assert site.wait(newest)["number"] > max(numbers.values()) + NUMBERS_SKIPPED // 2
        sys.stdout.write(
            f"{after_backup} runs after the backup: {len(back)} recovered, 0 executed twice, 0 numbers reused\n"
        )
        site.assert_healthy()


def test_fault_F24_what_was_done_since_the_backup_comes_back(tmp_path: Path) -> None:
    travel(tmp_path, 12)


@pytest.mark.long
@pytest.mark.parametrize("after_backup", [50, 200])
def test_goal_R7_all_runs_since_the_backup_come_back_and_none_is_executed_twice(
    tmp_path: Path, after_backup: int
) -> None:
    travel(tmp_path, after_backup)


def test_fault_F24_a_database_that_was_copied_back_by_hand_is_noticed(tmp_path: Path) -> None:
    """Without ``orchestra restore``, and without a new life of the server in between: only runs can tell."""
    marks = tmp_path / "marks"
    script = tmp_path / "job.py"
    script.write_text(JOB)
    command = [sys.executable, str(script), str(marks), "{parameters.kind}", "{parameters.seed}"]
    parameters = [{"key": "kind"}, {"key": "seed"}]
    job = {"identifier": "job", "parameters": parameters, "definition": {"commands": [command]}}
    with opened(tmp_path / "site", {"projects": [{"identifier": "journeys", "jobs": [job]}]}) as site:
        going = Travel(site, marks)
        site.add_worker()
        going.check(going.trigger())
        home = site.directory / "server"
        site.out("--data", str(home), "backup", str(tmp_path / "backup.tar"))
        later = [going.trigger() for _ in range(3)]
        for run_id in later:
            going.check(run_id)
        going.site.server.kill()
        shutil.unpack_archive(tmp_path / "backup.tar", tmp_path / "copied")
        for old in home.glob("orchestra.db*"):
            old.unlink()
        shutil.copy(tmp_path / "copied" / "orchestra.db", home / "orchestra.db")
        site.server.start()
        newer = going.trigger()
        going.check(newer)
        for run_id in later:
            going.check(run_id)
        recovery = going.recovery()
        assert (recovery["is_open"], recovery["recovered"], recovery["backup_at"]) == (False, 3, None)
        assert going.executions() == Counter(dict.fromkeys(going.seeds, 1))
        site.assert_healthy()
