"""Bytes of a log become lines that are safe to show and cheap to make, whatever a job wrote.

Colours become classes and all other escape sequences are dropped (S-16, ``ansi``), progress lines that overwrite
themselves with CR show their last state, control characters and marks that turn the direction of text become visible,
long lines are cut and say so. All of it is linear in the bytes shown. The exact bytes are a download away.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.web.pages import ansi
from appliance.web.pieces import LogLine, LogPart

PART = 256 * 1024  # bytes of one page
LINES = 2000  # lines of one page
LINE_LIMIT = 16 * 1024  # bytes shown of one line


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
    shown: list[LogLine] = []
    style = before = ansi.PLAIN  # a colour lasts until it is changed; what came before the part is not at hand
    for index, line in enumerate(lines):
        before = style
        made, style = _line(line, None if numbers_from is None else numbers_from + index, before)
        shown.append(made)
    is_open = ends_inside and bool(lines)
    follow_from = end - len(lines[-1]) if is_open else end
    style = before if is_open else style
    return LogPart(tuple(shown), start, end, size, follow_from, begins_inside, ends_inside, style.written)


def _line(line: bytes, number: int | None, style: ansi.Style) -> tuple[LogLine, ansi.Style]:
    cut = 0
    if len(line) > LINE_LIMIT:
        kept = whole_characters(line[:LINE_LIMIT])
        cut = len(line) - kept
        line = line[:kept]
    spans, style = ansi.spans(line.decode("utf-8", "replace"), style)
    return LogLine("".join(span.text for span in spans), number, cut, spans), style


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
