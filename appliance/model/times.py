"""Instants and durations as text. Instants are aware UTC datetimes in whole milliseconds everywhere inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from appliance.model.errors import Invalid

CLOCK_MAY_BE_OFF = 30.0  # seconds; more confuses whoever compares the times of a log with those of the server

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])(?!\n)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: datetime) -> str:
    """``2026-01-31T09:15:00.250Z``: UTC with milliseconds, as contract.md section 7 fixes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def show_time(at: datetime) -> str:
    """An instant for people, in a sentence: ``2026-01-31 09:15:00 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def from_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 instant with a zone. Raises Invalid for anything else."""
    try:
        at = datetime.fromisoformat(text) if text.isascii() and len(text) <= 40 else None
        if at is None or at.tzinfo is None or "T" not in text.upper():
            raise ValueError
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"not an RFC 3339 time with a zone, such as 2026-01-31T09:15:00Z: {text[:40]!r}") from None
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def to_millis(at: datetime) -> int:
    """Milliseconds since 1970, as stored."""
    return round(at.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """The instant of :func:`to_millis`."""
    return _EPOCH + timedelta(milliseconds=millis)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s 30m 2h 1d 1w`` (one of them). Raises Invalid."""
    match = _DURATION.match(text)
    if match is None:
        raise Invalid(f"not a duration such as 90s, 30m, 2h, 1d or 1w: {text[:40]!r}")
    return float(int(match[1]) * _UNITS[match[2]])


def show_clock_offset(seconds: float) -> str:
    """How a clock stands to another one that it is so many seconds ahead of: ``7 min 00 s ahead of``, ``2 h 00 min
    behind``; "" up to CLOCK_MAY_BE_OFF (F23)."""
    if abs(seconds) <= CLOCK_MAY_BE_OFF:
        return ""
    return f"{show_duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"


def show_duration(seconds: float) -> str:
    """A duration for people: ``340 ms``, ``12.3 s``, ``5 min 03 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
