"""The job prints what its task says, marks its begin and end, and ends as it is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.crash_test import job
from appliance.crash_test.evidence import Mark, read_marks

TASK: dict[str, Any] = {
    "key": "crash-1-1",
    "seed": 11,
    "size": 100_001,
    "shape": "bytes",
    "seconds": 0.0,
    "code": 0,
    "signal": 0,
    "has_results": False,
    "has_child": False,
}


def play(place: Path, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [
            *(sys.executable, "-I", "-S", str(Path(job.__file__))),
            *(str(place), "r" * 36, str(place / "results.json"), json.dumps({**TASK, **changes})),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("shape", ["bytes", "line", "text"])
def test_it_prints_its_pieces_and_nothing_else(tmp_path: Path, shape: str) -> None:
    ran = play(tmp_path, shape=shape)
    assert ran.stdout == b"".join(job.pieces(11, 100_001, shape))
    assert ran.returncode == 0


def test_it_marks_its_begin_and_its_end_with_run_key_and_pid(tmp_path: Path) -> None:
    play(tmp_path)
    play(tmp_path, key="crash-1-2")
    starts, ends = (read_marks(tmp_path / name) for name in (job.STARTS, job.ENDS))
    assert starts == ends
    assert [mark.key for mark in starts] == ["crash-1-1", "crash-1-2"]
    assert starts[0] == Mark("r" * 36, "crash-1-1", starts[0].pid)
    assert read_marks(tmp_path / "nothing") == []


@pytest.mark.parametrize("code", [0, 7, 255])
def test_it_ends_with_its_code(tmp_path: Path, code: int) -> None:
    assert play(tmp_path, code=code).returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_it_ends_by_its_signal_after_its_mark(tmp_path: Path, number: signal.Signals) -> None:
    assert play(tmp_path, signal=int(number)).returncode == -number
    assert len(read_marks(tmp_path / job.ENDS)) == 1


def test_it_leaves_its_results(tmp_path: Path) -> None:
    play(tmp_path, has_results=True)
    assert json.loads((tmp_path / "results.json").read_text()) == job.results("crash-1-1", True)
