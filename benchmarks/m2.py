"""M2: from the trigger to the first byte of the log at a waiting client."""

from __future__ import annotations

from benchmarks.contestant import Floor
from benchmarks.latency import single_runs
from benchmarks.lib import goal, known, share, tell, title
from benchmarks.product import Product

MEDIAN, P95 = 50, 150  # ms, first goal


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M2",
        "trigger to first log byte visible to a waiting client, idle",
        "one run at a time; the client has an events socket open and follows the log it asked for; the floor's client"
        " asks again without pause",
    )
    with Floor(4) as floor:
        lowest = single_runs(floor, samples)
    with Product(4) as product:
        ours = single_runs(product, samples)
    tell(*lowest.values(), *ours.values())
    share(ours["first_byte"], lowest["first_byte"])
    known(["first log line, ms: Laminar 32, Cronicle 235, Buildbot 732, Prefect 9,901"])
    median = goal("median", ours["first_byte"].median, MEDIAN, "ms")
    return goal("p95", ours["first_byte"].p95, P95, "ms") and median
