"""Bytes of a log become lines that are safe to show and cheap to make, whatever a job wrote.

Escape sequences are dropped (S-16), progress lines that overwrite themselves with CR show their last state, control
characters and marks that turn the direction of text become visible, long lines are cut and say so. All of it is linear
in the bytes shown. The exact bytes are a download away.
"""

from __future__ import annotations

import re
from dataclasses import replace

from appliance.web.pieces import LogLine, LogPart

PART = 256 * 1024  # bytes of one page
LINES = 2000  # lines of one page
LINE_LIMIT = 16 * 1024  # bytes shown of one line

# Every repeat is possessive, and every body stops at the next ESC: no input makes this look at a byte twice.
_ESCAPE = re.compile(
    "\x1b(?:"
    r"\[[0-?]*+[ -/]*+[@-~]?"  # CSI: colours, cursor moves
    "|\\][^\x07\x1b\x9c]*+(?:\x07|\x9c|\x1b\\\\)?"  # OSC: titles, links, the clipboard
    "|[PX^_][^\x07\x1b\x9c]*+(?:\x07|\x9c|\x1b\\\\)?"  # device and other strings
    r"|[ -/]*+[0-~]?"
    ")"
)
_UNSEEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def clean(line: str) -> str:
    """One line without its newline, as a terminal would leave it, with nothing in it that acts."""
    line = _ESCAPE.sub("", line).rstrip("\r")
    if "\r" in line:
        line = line[line.rindex("\r") + 1 :]
    return _UNSEEN.sub(_picture, line)


def _picture(found: re.Match[str]) -> str:
    point = ord(found[0])
    if point < 0x20:
        return chr(0x2400 + point)
    return "\u2421" if point == 0x7F else f"⟨U+{point:04X}⟩"


def forward(content: bytes, start: int, size: int, first_number: int | None, begins_inside: bool = False) -> LogPart:
    """The part that begins at byte ``start``: ``content`` is up to PART bytes from there, of a log with ``size`` bytes.

    It ends after a whole line where it can: after LINES lines, or at the last newline in ``content``.
    """
    lines = content.split(b"\n", LINES)
    rest = lines.pop()
    reaches_end = start + len(content) >= size
    if rest and len(lines) < LINES and (reaches_end or not lines):
        rest = rest if reaches_end else rest[: whole_characters(rest)]
        lines.append(rest)
        end = start + sum(map(len, lines)) + len(lines) - 1
        ends_inside = True
    else:
        end = start + sum(map(len, lines)) + len(lines)
        ends_inside = False
    return _part(lines, first_number, start, end, size, begins_inside, ends_inside)


def backward(content: bytes, end: int, size: int, most: int = LINES) -> LogPart:
    """The part that ends at byte ``end``: ``content`` is up to PART bytes before it. It has at most ``most`` lines."""
    begin = end - len(content)
    ends_inside = bool(content) and not content.endswith(b"\n")
    lines = content.split(b"\n") if ends_inside else content.split(b"\n")[:-1]
    begins_inside = False
    if begin > 0:
        # The bytes before are not at hand, so the first line is taken for a broken one unless it is all there is.
        if len(lines) > 1:
            lines = lines[1:]
        else:
            begins_inside = True
    lines = lines[-most:]
    shown = sum(map(len, lines)) + len(lines) - (1 if ends_inside else 0)
    start = end - max(shown, 0)
    numbers = 1 if start == 0 else None
    return _part(lines, numbers, start, end, size, begins_inside, ends_inside)


def numbered(part: LogPart, first_number: int | None) -> LogPart:
    """The part with its lines numbered from there, or without numbers."""
    lines = tuple(
        replace(line, number=None if first_number is None else first_number + index)
        for index, line in enumerate(part.lines)
    )
    return replace(part, lines=lines)


def _part(
    lines: list[bytes],
    numbers_from: int | None,
    start: int,
    end: int,
    size: int,
    begins_inside: bool,
    ends_inside: bool,
) -> LogPart:
    shown = tuple(
        _line(line, None if numbers_from is None else numbers_from + index) for index, line in enumerate(lines)
    )
    follow_from = end - len(lines[-1]) if ends_inside and lines else end
    return LogPart(shown, start, end, size, follow_from, begins_inside, ends_inside)


def _line(line: bytes, number: int | None) -> LogLine:
    cut = 0
    if len(line) > LINE_LIMIT:
        kept = whole_characters(line[:LINE_LIMIT])
        cut = len(line) - kept
        line = line[:kept]
    return LogLine(clean(line.decode("utf-8", "replace")), number, cut)


def whole_characters(content: bytes) -> int:
    """How many bytes to keep so that no UTF-8 character is cut in two (at most three are left over)."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(content) - back if needed > back else len(content)
    return len(content)
