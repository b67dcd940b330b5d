"""M9: from the start of the server to ready."""

from __future__ import annotations

import time

from benchmarks.fill import multiply_runs
from benchmarks.lib import Series, goal, known, sampled, tell, title
from benchmarks.processes import stop
from benchmarks.product import Product

MANY = 1_000_000
FIRST = 1.5  # seconds, for both


def starts(product: Product, name: str, samples: int) -> Series:
    """Seconds from the start of the process until /ready says yes; the server is stopped in between."""

    def take() -> float:
        stop(product.server)
        begun = time.perf_counter()
        product.server = product.start_server()
        return time.perf_counter() - begun

    return sampled(name, "s", samples, take)


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M9",
        "start to ready: with few runs, with a million",
        "from the start of `orchestra serve` until GET /ready answers 200, checks of the database included; the million"
        " runs are copies of a real one",
    )
    with Product(1) as product:
        product.run_many("noop", 1)
        few = starts(product, "few runs", samples)
        stop(product.worker)
        stop(product.server)
        multiply_runs(product.data / "orchestra.db", MANY)
        megabytes = (product.data / "orchestra.db").stat().st_size / 1e6
        many = starts(product, f"{MANY:,} runs, {megabytes:.0f} MB", samples)
    tell(few, many)
    known(["cold start to a page, s: Laminar 0.007, Cronicle 0.95, Buildbot 1.9, Prefect 7.6"])
    met = [goal("few runs", few.median, FIRST, "s"), goal("many runs", many.median, FIRST, "s")]
    return all(met)
