"""What a terminal would show of one line: pieces of text with their colours, and nothing in it that acts (S-16).

Of all escape sequences only those that colour (SGR) have an effect, as names of classes: links, titles, cursor moves,
the clipboard and device strings are dropped. All colours, of 256 or 16 million too, become one of 16 names whose
contrast is good in both schemes on every background that a line can have; so text cannot be hidden by its colour.
Everything is linear in the characters of the line. ``static/ansi.js`` has the same rules for lines that come later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from appliance.web.pieces import Span

NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

# One token is one colour sequence, or a run of anything else. Every repeat is possessive, and every body of a string
# stops at the next ESC: no input makes this look at a character more than twice.
ESCAPE = re.compile(
    r"\x1b\[([0-9;:]*+)m"
    "|(?:\x1b(?!\\[[0-9;:]*+m)(?:"
    r"\[[0-?]*+[ -/]*+[@-~]?"  # CSI: cursor moves, modes, questions
    "|\\][^\x07\x1b\x9c]*+(?:\x07|\x9c|\x1b\\\\)?"  # OSC: titles, links, the clipboard
    "|[PX^_][^\x07\x1b\x9c]*+(?:\x07|\x9c|\x1b\\\\)?"  # device and other strings
    r"|[ -/]*+[0-~]?"
    "))++"
)
UNSEEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_CODES = 64  # of one sequence; no terminal takes as many
_CODE = re.compile("[0-9]{1,3}", re.ASCII)
_SHORT = 20  # characters of a sequence that is worth remembering


@dataclass(frozen=True)
class Style:
    """How text looks. ``ink`` and ``paper``: 0 to 15 as in the 16 colours of a terminal, ``None`` = the page's own."""

    ink: int | None = None
    paper: int | None = None
    is_bold: bool = False
    is_italic: bool = False
    is_underlined: bool = False
    is_inverse: bool = False

    @cached_property
    def classes(self) -> str:
        """Names of classes, in a fixed order; "" for text as any other."""
        ink, paper = (self.paper, 7 if self.ink is None else self.ink) if self.is_inverse else (self.ink, self.paper)
        found = [] if ink is None else [f"ink-{'bright-' if ink > 7 else ''}{NAMES[ink % 8]}"]
        if paper is not None:
            found.append(f"paper-{NAMES[paper % 8]}")
        named = (("bold", self.is_bold), ("italic", self.is_italic), ("underline", self.is_underlined))
        return " ".join(found + [name for name, is_set in named if is_set])

    @property
    def written(self) -> str:
        """For ``ansi.js``, which goes on from there: ink, paper and marks, as ``1,,b``."""
        colours = ["" if colour is None else str(colour) for colour in (self.ink, self.paper)]
        marks = zip("biuv", (self.is_bold, self.is_italic, self.is_underlined, self.is_inverse), strict=True)
        return ",".join([*colours, "".join(mark for mark, is_set in marks if is_set)])


PLAIN = Style()


def spans(line: str, style: Style = PLAIN) -> tuple[tuple[Span, ...], Style]:
    """One line without its newline, that begins in ``style``; and the style in which the next one begins.

    A carriage return begins the line again: what stood before it is not shown, unless nothing follows.
    """
    shown: list[tuple[str, list[str]]] = []  # classes, and the texts that have them
    is_over = False
    at = 0
    for found in _tokens(line):
        if found.start() > at:
            is_over = _write(shown, line[at : found.start()], style, is_over)
        if found[1] is not None:
            style = _known(style, found[1]) if len(found[1]) < _SHORT else painted(style, found[1])
        at = found.end()
    if at < len(line):
        _write(shown, line[at:], style, is_over)
    return tuple(Span("".join(texts), classes) for classes, texts in shown), style


def _tokens(line: str) -> Iterator[re.Match[str]]:
    return ESCAPE.finditer(line) if "\x1b" in line else iter(())


def _write(shown: list[tuple[str, list[str]]], text: str, style: Style, is_over: bool) -> bool:
    """Add text; answers whether the next one begins the line again."""
    body = text.rstrip("\r")
    if body:
        if is_over or "\r" in body:
            shown.clear()
            body = body[body.rfind("\r") + 1 :]
        classes = style.classes
        if not shown or shown[-1][0] != classes:
            shown.append((classes, []))
        shown[-1][1].append(UNSEEN.sub(_picture, body))
        is_over = False
    return is_over or text.endswith("\r")


def _picture(found: re.Match[str]) -> str:
    point = ord(found[0])
    if point < 0x20:
        return chr(0x2400 + point)
    return "\u2421" if point == 0x7F else f"⟨U+{point:04X}⟩"


def painted(style: Style, sequence: str) -> Style:
    """The style after ``ESC [ sequence m``. Codes that are unknown or malformed change nothing."""
    codes = sequence.split(";", _CODES)[:_CODES]
    at = 0
    while at < len(codes):
        parts = codes[at].split(":", 8)
        code = _number(parts[0]) if parts[0] else 0
        if code in (38, 48):
            used = 0 if len(parts) > 1 else _length(codes[at + 1 : at + 2])
            colour = _far(codes[at + 1 : at + 1 + used]) if len(parts) == 1 else _far(_without_space(parts[1:]))
            if colour is not None:
                style = replace(style, ink=colour) if code == 38 else replace(style, paper=colour)
            at += used
        elif code is not None:
            style = _one(style, code, parts[1:])
        at += 1
    return style


_known = lru_cache(1024)(painted)


def _number(text: str) -> int | None:
    return int(text) if _CODE.fullmatch(text) else None


def _one(style: Style, code: int, more: Sequence[str]) -> Style:
    if code == 0:
        return PLAIN
    if 30 <= code <= 37 or 90 <= code <= 97:
        return replace(style, ink=code - 30 if code < 90 else code - 82)
    if 40 <= code <= 47 or 100 <= code <= 107:
        return replace(style, paper=code - 40 if code < 100 else code - 92)
    match code:
        case 39:
            return replace(style, ink=None)
        case 49:
            return replace(style, paper=None)
        case 1 | 22:
            return replace(style, is_bold=code == 1)
        case 3 | 23:
            return replace(style, is_italic=code == 3)
        case 4 | 24:
            return replace(style, is_underlined=code == 4 and list(more) != ["0"])
        case 7 | 27:
            return replace(style, is_inverse=code == 7)
    return style  # blinking, hidden, fonts and the like


def _length(kind: Sequence[str]) -> int:
    """How many codes behind 38 or 48 belong to it."""
    return {"5": 2, "2": 4}.get(kind[0] if kind else "", 0)


def _without_space(parts: Sequence[str]) -> Sequence[str]:
    """``2, colour space, r, g, b`` as ``2, r, g, b``."""
    return [parts[0], *parts[2:5]] if len(parts) > 4 else parts


def _far(parts: Sequence[str]) -> int | None:
    """The nearest of 16 to ``5, n`` or ``2, r, g, b``; ``None`` if it is no colour."""
    numbers = [_number(part) if part else 0 for part in parts]
    if any(number is None or number > 255 for number in numbers):
        return None
    match numbers:
        case [5, int(number), *_]:
            return number if number < 16 else nearest(*_of_256(number))
        case [2, int(red), int(green), int(blue)]:
            return nearest(red, green, blue)
    return None


def _of_256(number: int) -> tuple[int, int, int]:
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    cube = number - 16
    red, green, blue = (55 + 40 * part if part else 0 for part in (cube // 36, cube // 6 % 6, cube % 6))
    return red, green, blue


def nearest(red: int, green: int, blue: int) -> int:
    """One of the 16 colours for any: greys by their brightness, others by which parts are strong."""
    most, least = max(red, green, blue), min(red, green, blue)
    if most - least < 32:
        return 0 if most < 64 else 8 if most < 128 else 7 if most < 224 else 15
    middle = (most + least) // 2
    hue = (red > middle) + 2 * (green > middle) + 4 * (blue > middle)
    return hue + (8 if most >= 192 and least >= 64 else 0)
