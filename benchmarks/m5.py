"""M5: CPU seconds of server and worker."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.contestant import Contestant, Floor
from benchmarks.lib import Series, busy_seconds, tell, title, wait_for_quiet
from benchmarks.processes import seconds_of
from benchmarks.product import Product

_RUNS = 200  # in a sample; figures are told for 1,000


def costs(contestant: Contestant, samples: int, unit: str, work: Callable[[], float], factor: float) -> list[Series]:
    """CPU seconds of server, worker tree and the whole machine for a piece of work, times ``factor``."""
    work()
    names = ("server", "worker and what it waited for", "whole machine, jobs and client included")
    series = [Series(f"{contestant.name}: {name}", unit) for name in names]
    for _ in range(samples):
        noisy = not wait_for_quiet()
        before = (seconds_of(contestant.server.pid), seconds_of(contestant.worker.pid), busy_seconds())
        work()
        after = (seconds_of(contestant.server.pid), seconds_of(contestant.worker.pid), busy_seconds())
        for one, begun, ended in zip(series, before, after, strict=True):
            one.samples.append(factor * (ended - begun))
            one.noisy += noisy
    return series


def both(contestant: Contestant, samples: int) -> list[Series]:
    """For the log and for no-op runs."""
    return [
        *costs(contestant, samples, "CPU s per 100 MB", contestant.run_log, 1),
        *costs(contestant, samples, "CPU s per 1,000 runs", lambda: contestant.run_many("noop", _RUNS), 1000 / _RUNS),
    ]


def main(samples: int) -> bool:
    """Measure and print; there is no goal for the first release."""
    title(
        "M5",
        "CPU of server and worker: per 100 MB of log, per 1,000 no-op runs",
        "user and system time from /proc; processes that ended count where their parent waited for them, so the whole"
        " machine's time, jobs and client included, stands beside it",
    )
    with Floor(4) as floor:
        lowest = both(floor, samples)
    with Product(4) as product:
        ours = both(product, samples)
    tell(*lowest, *ours)
    return True
