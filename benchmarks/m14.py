"""M14: memory per running run on a worker."""

from __future__ import annotations

from benchmarks.lib import Series, goal, known, tell, title
from benchmarks.processes import below, use, wait_until
from benchmarks.product import Product

RUNS = 100
FIRST = 8  # MB


def held(product: Product) -> float:
    """MB (PSS) of the worker and all executors: every process of the worker but the commands themselves."""
    return sum(one.proportional for one in use(below(product.worker_mark())) if not one.command.startswith("sleep "))


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M14",
        f"memory per running run, {RUNS} at once",
        "PSS of the worker and of all executors with so many sleeping commands, less the same before, over their"
        " number; the commands themselves are left out",
    )
    series = Series("product", "MB per run")
    for _ in range(max(1, samples // 2)):
        with Product(RUNS) as product:
            product.run_many("noop", 20)
            before = held(product)
            runs = [product.trigger("sleep") for _ in range(RUNS)]
            wait_until("all are running", lambda: product.count("sleep", ["running"]) == RUNS, 120, gap=0.2)
            series.samples.append((held(product) - before) / RUNS)
            product.abort(runs)
    tell(series)
    known(["a bare executor: `python -I -S` 4.6 MB, forked from a prepared process 1.65 MB, sh 0.13 MB"])
    return goal("per run", series.median, FIRST, "MB")
