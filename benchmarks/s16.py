"""S-16: 10 MB of escape sequences become what a page shows of them."""

from __future__ import annotations

import time

from appliance.web.pages import ansi
from benchmarks.lib import Series, goal, sampled, tell, title

SIZE = 10_000_000  # bytes
FIRST = 1.0  # seconds, for sequences that never end
UNITS = {"ESC [": "\x1b[", "ESC ]": "\x1b]", "ESC [ m": "\x1b[m", "a colour and a letter": "\x1b[31mx", "CR": "\r"}


def reads(name: str, unit: str, samples: int) -> Series:
    """Seconds for one line of that size, all of ``unit``."""
    line = unit * (SIZE // len(unit))

    def take() -> float:
        begun = time.perf_counter()
        ansi.spans(line)
        return time.perf_counter() - begun

    return sampled(name, "s", samples, take)


def main(samples: int) -> bool:
    """Measure and print; answers whether the first goal is met."""
    title(
        "S16",
        "10 MB of escape sequences in one line",
        "the parser alone; a page shows at most 16 KiB of a line and 256 KiB of a log",
    )
    found = [reads(name, unit, samples) for name, unit in UNITS.items()]
    tell(*found)
    return goal(found[0].name, found[0].median, FIRST, "s")
