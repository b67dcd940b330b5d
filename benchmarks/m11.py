"""M11: from the request to abort a plain process to its final status."""

from __future__ import annotations

from benchmarks.lib import Series, goal, tell, title, wait_for_quiet
from benchmarks.product import Product

PER_SAMPLE = 6  # aborts
FIRST = 1000  # ms


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "M11",
        "abort of a plain process, request to final status visible, idle",
        "one run of a sleeping process at a time; the client has an events socket open; that the process is gone is the"
        " kernel's word (pidfd)",
    )
    gone, told = Series("product: the process is gone", "ms"), Series("product: final status at the client", "ms")
    with Product(4) as product:
        product.run_many("noop", 5)  # whatever is loaded at first use is loaded
        for _ in range(samples * PER_SAMPLE):
            noisy = not wait_for_quiet(5)
            for series, seconds in zip((gone, told), product.abort_watched(), strict=True):
                series.samples.append(1000 * seconds)
                series.noisy += noisy
    tell(gone, told)
    return goal("median", told.median, FIRST, "ms")
