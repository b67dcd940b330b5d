"""What was acknowledged is there after a kill and after a power loss (F01, F08, R3)."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository, writer
from appliance.db.sqlite.run_rows import id_out
from tests.db.sqlite.faults import Disk, image
from tests.db.values import add, ended, running

ROOT = Path(__file__).parents[3]
_names = itertools.count()

COMMITS_FOR_EVER = """
import sys, threading
from pathlib import Path
from appliance.db.sqlite import SqliteRepository, writer
from tests.db.values import add

repository = SqliteRepository(Path(sys.argv[1]))
repository.open()
lock = threading.Lock()

def commit():
    while True:
        run = add(repository)
        with lock:
            print(run.id, flush=True)

for _ in range(4):
    threading.Thread(target=commit).start()
"""


@pytest.mark.parametrize("lines", [1, 40, 150])
def test_fault_F01_kill_9_loses_no_acknowledged_run(path: Path, lines: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMMITS_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
    acknowledged = [*first, *(line for line in rest if len(line) == 36)]
    assert all(acknowledged)
    repository = SqliteRepository(path)
    repository.open()
    assert repository.check() == []
    found = [repository.runs.get(run_id) for run_id in acknowledged]
    numbers = sorted(run.number for run in found if run is not None)
    assert len(numbers) == len(acknowledged)
    assert len(set(numbers)) == len(numbers)
    repository.close()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The -wal file is written back every few runs, so that power is lost during that, too."""
    monkeypatch.setattr(writer, "CHECKPOINT", 40)


def lose_power(path: Path, where: Path, seed: int, images: int) -> None:
    """Cut the power ``images`` times at any operation; each time everything acknowledged by then must be there."""
    chance = random.Random(seed)
    disk = Disk(f"power-{next(_names)}")
    repository = SqliteRepository(path, vfs=disk.name)
    repository.open()
    begin = len(disk.done)
    acknowledged: list[tuple[int, str]] = []  # number of operations done when a run had been answered
    for number in range(60):
        run = add(repository, parameters={"text": "x" * chance.choice((10, 500, 6000))})
        if number % 3 == 0:
            run = running(repository, run)
            assert repository.runs.finish(ended(run), [], '{"a":1}', run.version)
        acknowledged.append((len(disk.done), run.id))
    done = list(disk.done)
    repository.close()
    assert sum(operation[:2] == (path.name, "sync") for operation in done[begin:]) > 5  # written back that often
    for number in range(images):
        cut = chance.randrange(begin, len(done))
        directory = where / f"{seed}-{number}"
        directory.mkdir()
        image(done[:cut], chance, directory)
        connection = apsw.Connection(str(directory / path.name))
        assert connection.pragma("integrity_check") == "ok"
        there = {id_out(row[0]) for row in connection.execute("SELECT id FROM run")}
        missing = [run_id for when, run_id in acknowledged if when <= cut and run_id not in there]
        connection.close()
        assert missing == [], f"seed {seed}, power cut after operation {cut}"


@pytest.mark.parametrize("seed", range(3))
def test_fault_F08_no_acknowledged_run_is_lost_with_the_power(
    path: Path, tmp_path: Path, seed: int, often: None
) -> None:
    lose_power(path, tmp_path, seed, 100)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_goal_R3_four_thousand_power_losses(path: Path, tmp_path: Path, seed: int, often: None) -> None:
    lose_power(path, tmp_path, seed, 100)
