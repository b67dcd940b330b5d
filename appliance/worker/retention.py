"""Which committed runs a worker need not keep any longer (I5, X4). Pure: no clock, no disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Kept(NamedTuple):
    """A run that the master has stored: when that was noted (seconds since 1970), and the bytes of its streams."""

    at: float
    run_id: str
    size: int


def expired(kept: Iterable[Kept], now: float, *, keep_seconds: float, keep_bytes: int) -> list[str]:
    """Ids of the runs that are older, or beyond the bytes when the newest are counted first."""
    over = []
    total = 0
    for run in sorted(kept, reverse=True):
        total += run.size
        if run.at < now - keep_seconds or total > keep_bytes:
            over.append(run.run_id)
    return over
