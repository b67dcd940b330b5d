"""Whatever is cut, killed, filled or lost: every run ends once, starts at most once, and its log is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.simulate import Life, live_through, live_through_many, report
from tests.house.repository_tree import ROOT

KINDS = (
    *("abort asked", "black hole", "cancel asked", "connection cut", "database busy", "executor killed"),
    *("executor killed within a step", "frame delivered twice", "frames delayed", "master killed"),
    *("master killed within a step", "master stopped", "retention over", "second machine with the same token"),
    *("server lost power", "server lost power within a step", "server's disk full", "server's log damaged"),
    *("worker drained or not", "worker killed", "worker killed within a step", "worker lost power"),
    *("worker silent over lost_after", "worker's disk full", "worker's journal emptied"),
)


@pytest.mark.parametrize("block", range(10))
def test_inv_I1_I2_I3_I4_I5_I6_I7_I9_I10_hold_through_every_fault(block: int) -> None:
    """A hundred seeds; a failure names its seed, and ``python -m tests.faults.simulate --first SEED --seeds 1`` brings
    it back."""
    for seed in range(block * 10, block * 10 + 10):
        live_through(seed)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_goal_R4_invariants_hold_over_two_thousand_seeds() -> None:
    """And every kind of fault was there, and its outcomes."""
    lives = live_through_many(1000, 2000, os.cpu_count() or 1)
    print(report(lives))
    assert [life.failure for life in lives if life.failure] == []
    faults = _sum(lives)
    assert {kind for kind in KINDS if faults[kind] < 20} == set(), "a kind of fault that hardly ever strikes"
    assert set(faults) == set(KINDS)


def test_a_seed_replays_the_same_world() -> None:
    """In processes of their own, whose sets and dictionaries of texts come in another order each time."""
    lives = [_in_a_process(seed="7", hashes=hashes) for hashes in ("1", "2")]
    assert lives[0] == lives[1]
    assert lives[0]["faults"] and lives[0]["trace"]


def test_seeds_are_different_worlds() -> None:
    assert live_through(1).trace != live_through(2).trace


def _sum(lives: list[Life]) -> Counter[str]:
    faults: Counter[str] = Counter()
    for life in lives:
        faults.update(life.faults)
    return faults


def _in_a_process(seed: str, hashes: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.faults.simulate", "--seeds", "1", "--first", seed, "--json"]
    environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    life: dict[str, object] = json.loads(done.stdout)
    return life
