"""Samples and how they are told: quiet moments, median, p95, spread."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET = 0.25  # cores that all processes together may use in a quiet moment
_WINDOW = 0.25  # seconds a moment is watched


def busy_seconds() -> float:
    """Seconds of CPU that anybody used since the machine started, time taken by a hypervisor included."""
    with open("/proc/stat", "rb") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(text) for text in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def wait_for_quiet(longest: float = 30.0) -> bool:
    """Wait until the machine does nothing else, for at most ``longest`` seconds. False: it never was quiet."""
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(_WINDOW)
        if (busy_seconds() - before) / _WINDOW < _QUIET:
            return True
    return False


@dataclass
class Series:
    """Samples of one figure."""

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)
    noisy: int = 0  # samples for which no quiet moment was found

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """The sample that 95 % are not above (nearest rank)."""
        ordered = sorted(self.samples)
        return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]

    def __str__(self) -> str:
        spread = f"{amount(min(self.samples))} to {amount(max(self.samples))}"
        noise = f", {self.noisy} taken on a busy machine" if self.noisy else ""
        return (
            f"    {self.name:<52} median {amount(self.median):>8}  p95 {amount(self.p95):>8}  "
            f"spread {spread:<20} {self.unit} (n={len(self.samples)}{noise})"
        )


def amount(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def sampled(name: str, unit: str, count: int, take: Callable[[], float], quiet: float = 20.0) -> Series:
    """``count`` samples, each after a quiet moment that was waited for up to ``quiet`` seconds."""
    series = Series(name, unit)
    for _ in range(count):
        if not wait_for_quiet(quiet):
            series.noisy += 1
        series.samples.append(take())
    return series


def title(row: str, what: str, method: str) -> None:
    """Begin the report of a row."""
    load = os.getloadavg()[0]
    print(f"\n{row}  {what}\n    method: {method}", flush=True)
    print(f"    machine: {os.cpu_count()} cores, load {load:.2f}, Python {sys.version.split()[0]}", flush=True)


def tell(*series: Series) -> None:
    """Print figures."""
    for one in series:
        print(one, flush=True)


def share(of: Series, against: Series) -> None:
    """Print one figure as a share of another."""
    print(f"    {of.name} is {100 * of.median / against.median:.1f} % of {against.name}", flush=True)


def goal(name: str, value: float, limit: float, unit: str, *, at_least: bool = False) -> bool:
    """Print whether a goal is met, and answer it."""
    is_met = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    print(
        f"    goal: {name} {sign} {amount(limit)} {unit}: {amount(value)}, {'met' if is_met else 'NOT MET'}", flush=True
    )
    return is_met


def known(lines: Sequence[str]) -> None:
    """Print figures that were measured earlier elsewhere, and say so."""
    for line in lines:
        print(f"    measured earlier, same kind of machine: {line}", flush=True)
