"""What is read out of a report."""

from __future__ import annotations

from benchmarks.beside import figures
from benchmarks.lib import Series


def test_the_products_figures_are_read_as_they_are_printed() -> None:
    ours, large, floor = (
        Series("product, 4 slots", "runs/s", [62.1, 64.0]),
        Series("product", "MB/s"),
        Series("floor", "s"),
    )
    large.samples, floor.samples = [1234.0], [1.0]
    report = "\n".join([str(ours), "    product is 17.0 % of floor", str(floor), str(large)])
    assert list(figures(report)) == [("product, 4 slots", 63.0, "runs/s"), ("product", 1234.0, "MB/s")]
