"""Crash tests for real: processes are killed, connections are cut, and nothing may be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.crash_test.plan import Plan
from appliance.crash_test.report import Report
from appliance.crash_test.stage import check_space
from appliance.crash_test.trial import crash_test
from appliance.crash_test.victims import working_in
from appliance.model.errors import Full

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "appliance", "crash-test"]
LONG_ENOUGH = 600.0


def play(place: Path, seed: int, kills: int, cuts: int) -> Report:
    """A test whose report is shown; it leaves nothing when all was well."""
    report = crash_test(Plan(seed, kills, 2, cuts), print, place=place)
    print(*report.lines(), sep="\n")
    assert report.violations == []
    assert list(place.iterdir()) == []
    return report


def test_goal_R1_goal_R2_twelve_kills_lose_nothing_double_nothing_and_change_no_byte(tmp_path: Path) -> None:
    report = play(tmp_path, 1, 12, 0)  # a silenced connection would take half a minute to be noticed
    assert report.kills == 12
    assert report.runs > 12
    assert report.log_bytes > 0
    assert report.statuses["succeeded"] > 0
    assert report.healed_after is not None


@pytest.mark.long
@pytest.mark.timeout(900)
def test_goal_R1_goal_R2_300_kills_lose_nothing_double_nothing_and_change_no_byte(tmp_path: Path) -> None:
    report = play(tmp_path, 20_260_101, 300, 30)
    assert report.kills == 300
    assert report.runs > 300
    assert report.log_bytes > 100_000_000  # the long line is among them


@pytest.mark.long
@pytest.mark.timeout(300)
def test_goal_R5_20_cuts_and_a_black_hole_lose_nothing(tmp_path: Path) -> None:
    report = play(tmp_path, 5, 0, 20)
    assert (report.faults["cut connection"], report.faults["silence connection"]) == (20, 1)
    assert report.runs > 20


def test_a_disk_that_is_too_small_is_refused_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(Full, match="TMPDIR"):
        check_space(tmp_path, 1 << 30)


def environment(place: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRA_")}
    return {**ours, "TMPDIR": str(place), "PYTHONPATH": str(ROOT), "ORCHESTRA_DATA": str(place / "not-to-be-touched")}


@pytest.mark.long
def test_req_O8_the_command_prints_what_came_of_it_as_json_and_keeps_the_directory_if_asked(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "--kills", "2", "--seed", "9", "--workers", "1", "--keep", "--json"],
        env=environment(tmp_path),
        capture_output=True,
        timeout=LONG_ENOUGH,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()
    report: dict[str, Any] = json.loads(ran.stdout)
    counts = {name: report[name] for name in ("lost", "started_twice", "wrong_statuses", "logs_differ", "other")}
    assert counts == dict.fromkeys(counts, 0)
    assert (report["seed"], report["kills"], report["is_good"]) == (9, 2, True)
    assert [str(one) for one in tmp_path.iterdir()] == [report["directory"]]
    assert b"seed 9" in ran.stderr
    assert working_in(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_req_O8_a_test_that_is_ended_early_leaves_no_process_and_no_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [*COMMAND, "--kills", "1000"], env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stderr:
            if b" kills; " in line:
                break
        process.send_signal(number)
        told = process.stderr.read() + process.stdout.read()
    assert process.returncode == 130, told.decode()
    assert b"Traceback" not in told
    assert list(tmp_path.iterdir()) == []
    assert working_in(tmp_path) == {}
