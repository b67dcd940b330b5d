"""Live through simulated worlds, and print what befell them.

    python -m tests.faults.simulate --seeds 2000 --first 1

Ends with 1 when an invariant did not hold; ``--seeds 1 --first S`` brings the failure back.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from tests.faults import invariants
from tests.faults.sim_faults import Weather
from tests.faults.simulator import World

IN_MEMORY = Path("/dev/shm")
RUNS = 10
STEPS = 1500  # with faults, after the last trigger


class Life(msgspec.Struct):
    """What became of one seed."""

    seed: int
    faults: dict[str, int]
    statuses: dict[str, int]
    healed: float  # seconds of the world's time
    trace: str  # of everything that happened: equal for equal seeds
    simulated: float  # seconds of the world's time
    failure: str = ""


def live_through(seed: int, favour: Collection[str] = ()) -> Life:
    """One world from its beginning to the check; ``favour`` as for Weather. Raises Violation."""
    base = IN_MEMORY if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="orchestra-sim-", dir=base))
    try:
        with World(seed, directory) as world:
            try:
                return _live(seed, world, favour)
            except invariants.Violation as error:
                raise invariants.Violation(error.invariant, f"seed {seed}: {error}") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _live(seed: int, world: World, favour: Collection[str]) -> Life:
    began = world.now
    weather = Weather(world, favour)
    for _ in range(RUNS):
        world.wish()
        for _ in range(50):
            weather.step()
    for number in range(STEPS):
        weather.step()
        if number % 250 == 0:
            invariants.check_logs_so_far(world)
            invariants.check_durable(world)
    weather.clear()
    healed = world.settle()
    invariants.check(world)
    invariants.check_durable(world)
    statuses = Counter(f"{run.status}" + (f"/{run.reason}" if run.reason else "") for run in world.all_runs())
    return Life(
        seed=seed,
        faults=dict(world.faults),
        statuses=dict(statuses),
        healed=round(healed, 3),
        trace=world.trace.hexdigest(),
        simulated=round(world.now - began, 3),
    )


def _try(seed: int) -> Life:
    try:
        return live_through(seed)
    except AssertionError as error:
        return Life(seed=seed, faults={}, statuses={}, healed=0.0, trace="", simulated=0.0, failure=str(error))


def live_through_many(first: int, count: int, jobs: int) -> list[Life]:
    """So many seeds from ``first`` on, by so many processes. Failures are in the answer."""
    seeds = range(first, first + count)
    if jobs <= 1:
        return [_try(seed) for seed in seeds]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_try, seeds, chunksize=max(1, min(20, count // jobs))))


def report(lives: list[Life], seconds: float | None = None) -> str:
    """What was injected, what came of it, and what failed. ``seconds``: what it took, if somebody has measured that."""
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for life in lives:
        faults.update(life.faults)
        statuses.update(life.statuses)
    total = sum(faults.values())
    pace = f" in {seconds:.1f} s ({total / seconds * 60:.0f} per minute)" if seconds else ""
    lines = [f"{len(lives)} seeds, {total} faults{pace}"]
    lines += [f"  {count:>8}  {kind}" for kind, count in sorted(faults.items())]
    lines.append(f"{sum(statuses.values())} runs ended")
    lines += [f"  {count:>8}  {kind}" for kind, count in sorted(statuses.items())]
    lines.append(f"healed after {max((life.healed for life in lives), default=0.0):.1f} s of simulated time at most")
    failures = [life.failure for life in lives if life.failure]
    lines.append(f"{len(failures)} invariants did not hold")
    lines += [f"  {failure}" for failure in failures]
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Live through simulated worlds of faults and check the invariants.")
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--json", action="store_true", help="one JSON object per seed")
    asked = parser.parse_args()
    began = time.perf_counter()
    lives = live_through_many(asked.first, asked.seeds, min(asked.jobs, asked.seeds))
    if asked.json:
        print("\n".join(msgspec.json.encode(life).decode() for life in lives))
    else:
        print(report(lives, time.perf_counter() - began))
    return 1 if any(life.failure for life in lives) else 0


if __name__ == "__main__":
    sys.exit(main())
