"""Limits on how often something may be asked. Plain state: the caller brings the time (monotonic seconds) and the lock.

What is remembered is bounded: the key that was used longest ago is forgotten first, and a forgotten key starts afresh.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict


class Buckets:
    """A token bucket per key: ``burst`` at once, then ``per_minute`` (S-62, S-65)."""

    def __init__(self, per_minute: float, burst: int, most_keys: int = 10_000) -> None:
        self._rate = per_minute / 60
        self._burst = float(burst)
        self._most_keys = most_keys
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one. Answers 0.0 if there was one, else the seconds until there will be; then nothing was taken."""
        level, at = self._filled.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._filled[key] = (level if wait else level - 1, now)
        while len(self._filled) > self._most_keys:
            self._filled.popitem(last=False)
        return wait


class Delays:
    """A delay per key after failures: 0, 1, 2, 4 … 30 s. It never locks: the right answer in time resets it."""

    LONGEST = 30.0
    FORGOTTEN = 900.0  # seconds without a failure

    def __init__(self, most_keys: int = 10_000) -> None:
        self._most_keys = most_keys
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def left(self, key: str, now: float) -> float:
        """Seconds until this key may try again; 0.0 = now."""
        count, at = self._failures.get(key, (0, now))
        return max(0.0, at + self._delay(count) - now)

    def failed(self, key: str, now: float) -> None:
        """Note a failure."""
        count, at = self._failures.pop(key, (0, now))
        self._failures[key] = (count + 1 if now - at < self.FORGOTTEN else 1, now)
        while len(self._failures) > self._most_keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)

    def _delay(self, count: int) -> float:
        return 0.0 if count < 2 else min(self.LONGEST, 2.0 ** min(count - 2, 10))


def network(address: str) -> str:
    """The part of a client's address that limits count by: IPv4 whole, IPv6 its /64, mapped IPv4 as IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
