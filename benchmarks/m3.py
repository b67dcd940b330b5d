"""M3: from the trigger to the end of a no-op run."""

from __future__ import annotations

from benchmarks.contestant import Floor
from benchmarks.latency import single_runs
from benchmarks.lib import goal, known, share, tell, title
from benchmarks.product import Product

MEDIAN = 100  # ms, first goal


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M3",
        "trigger to finished, no-op, idle",
        "one run at a time; the client is told the final status by the events socket; the floor's client asks again"
        " without pause",
    )
    with Floor(4) as floor:
        lowest = single_runs(floor, samples)["finished"]
    with Product(4) as product:
        ours = single_runs(product, samples)["finished"]
    tell(lowest, ours)
    share(ours, lowest)
    known(["finished, ms: Laminar 33, Cronicle 222, Buildbot 862, Job Orchestra 8,700, Prefect 8,879"])
    return goal("median", ours.median, MEDIAN, "ms")
