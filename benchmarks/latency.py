"""The moments of one run on an idle appliance, for M2 and M3."""

from __future__ import annotations

from benchmarks.contestant import Contestant, Moments
from benchmarks.lib import Series, wait_for_quiet

PER_SAMPLE = 4  # single runs are quick: more of them than samples of other rows

NAMES = {
    "returned": "trigger answered",
    "began": "command running",
    "first_byte": "first log byte at the client",
    "finished": "final status at the client",
}


def single_runs(contestant: Contestant, samples: int) -> dict[str, Series]:
    """Runs one at a time, a quiet moment before each; one series (ms) for each moment."""
    for _ in range(3):
        contestant.run_watched()
    taken: list[Moments] = []
    noisy = 0
    for _ in range(samples * PER_SAMPLE):
        noisy += not wait_for_quiet(5)
        taken.append(contestant.run_watched())
    return {
        field: Series(f"{contestant.name}: {name}", "ms", [getattr(one, field) for one in taken], noisy)
        for field, name in NAMES.items()
    }
