"""M4: throughput of one run's log, from the job to the server's file."""

from __future__ import annotations

from benchmarks.contestant import Contestant, Floor
from benchmarks.jobs import LOG_SIZE
from benchmarks.lib import Series, goal, known, sampled, share, tell, title
from benchmarks.product import Product
from benchmarks.yardsticks import pipe_and_digest

FIRST = 20  # % of the yardstick


def throughput(contestant: Contestant, samples: int) -> Series:
    """MB/s over whole runs of the log job."""
    return sampled(contestant.name, "MB/s", samples, lambda: LOG_SIZE / 1e6 / contestant.run_log())


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M4",
        "log throughput of one run",
        f"{LOG_SIZE / 1e6:.0f} MB in 1,000,000 lines, from the trigger until the end is known and size and SHA-256 of"
        " both sides agree",
    )
    bare = pipe_and_digest(samples)
    with Floor(4) as floor:
        lowest = throughput(floor, samples)
    with Product(4) as product:
        ours = throughput(product, samples)
    tell(bare, lowest, ours)
    share(ours, bare)
    share(ours, lowest)
    known(["MB/s: Laminar 51, Cronicle 11.1 (1,857 newlines lost), Buildbot 1.7, Prefect 0.87"])
    return goal("share of the yardstick", 100 * ours.median / bare.median, FIRST, "%", at_least=True)
