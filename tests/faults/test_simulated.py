"""Runs of the simulator: whatever is cut or killed, every run ends once, starts at most once, and its log is whole."""

from __future__ import annotations

import pytest

from tests.faults.simulator import World


def _live_through(seed: int) -> World:
    world = World(seed)
    for _ in range(12):
        world.trigger()
        for _ in range(60):
            world.step(faults=True)
    for _ in range(1500):
        world.step(faults=True)
    world.settle()
    world.check()
    return world


@pytest.mark.parametrize("block", range(8))
def test_inv_I1_I2_I3_I4_I6_hold_through_cuts_and_kills(block: int) -> None:
    """Forty seeds; a failure names its seed, and ``_live_through(seed)`` brings it back."""
    for seed in range(block * 5, block * 5 + 5):
        try:
            _live_through(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_goal_R4_invariants_hold_over_many_seeds(block: int) -> None:
    """Five hundred further seeds."""
    for seed in range(1000 + block * 25, 1000 + block * 25 + 25):
        try:
            _live_through(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
