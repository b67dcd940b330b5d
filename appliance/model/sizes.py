"""Sizes and counts as people write and read them."""

from __future__ import annotations

import re

from appliance.model.errors import Invalid

_SIZE = re.compile(r"([0-9]{1,6})(kB|MB|GB|KiB|MiB|GiB)")
_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``500kB``, ``64MiB`` or ``10GB``. Raises Invalid."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise Invalid(f"not a size such as 500kB, 64MiB or 10GB: {text[:40]!r}")
    return int(match[1]) * _UNITS[match[2]]


def show_count(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``, ``0 runs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def show_bytes(size: int) -> str:
    """``512 bytes``, ``12.5 KiB``, ``200 MiB``."""
    if size < 1024:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1000 or unit == "TiB":
            break
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
