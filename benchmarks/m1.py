"""M1: no-op runs per second, 200 at once."""

from __future__ import annotations

from benchmarks.contestant import Contestant, Floor
from benchmarks.lib import Series, goal, known, sampled, share, tell, title
from benchmarks.product import Product
from benchmarks.yardsticks import bare_starts

COUNT = 200
FIRST, FINAL = 30, 120  # runs per second


def rate(contestant: Contestant, slots: int, samples: int) -> Series:
    """Runs per second over samples of COUNT runs, after one round that warms up."""
    contestant.run_many("noop", 20)
    return sampled(
        f"{contestant.name}, {slots} slots", "runs/s", samples, lambda: COUNT / contestant.run_many("noop", COUNT)
    )


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M1",
        f"no-op runs per second, {COUNT} triggered at once",
        f"{COUNT} triggers one after the other on one connection, until the last run has ended, all with their log and"
        " every durable step; server, one worker and this client on the same cores",
    )
    bare = bare_starts(samples, 4)
    tell(bare)
    is_met = True
    for slots in (4, 16):
        with Floor(slots) as floor:
            lowest = rate(floor, slots, samples)
        with Product(slots) as product:
            ours = rate(product, slots, samples)
        tell(lowest, ours)
        share(ours, bare)
        share(ours, lowest)
        is_met &= goal(f"{slots} slots", ours.median, FIRST, "runs/s", at_least=True)
    known(["Laminar 1.4 61, Cronicle 0.9 8.1, Buildbot 4.3 about 2, Job Orchestra 1.2 to 1.5 runs/s with 4 slots"])
    return is_met
