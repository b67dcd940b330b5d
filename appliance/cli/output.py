"""What goes to the terminal: tables, JSON, and text of others with its control characters made visible (S-16)."""

from __future__ import annotations

import codecs
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Control characters, and those that reorder or break text on a screen. In a log, line feed and tab are meant.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_LOG = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def escape(text: str) -> str:
    """Text for one line of a terminal: what could move the cursor or change colours is written as ``\\x1b``."""
    return _UNSAFE.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


class LogEscaper:
    """Makes a log safe for a terminal piece by piece. Lines, tabs and CRLF stay; invalid UTF-8 becomes ``\\xff``."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""

    def feed(self, content: bytes, *, is_last: bool = False) -> str:
        """What can be shown by now. A carriage return at the end waits for what follows it."""
        text = self._held + self._decoder.decode(content, is_last)
        self._held = ""
        if text.endswith("\r") and not is_last:
            text, self._held = text[:-1], "\r"
        return _UNSAFE_IN_LOG.sub(_visible, text.replace("\r\n", "\n"))


def write_log(content: Iterable[bytes], *, is_raw: bool) -> None:
    """Copy a log to stdout as it comes: its exact bytes, but escaped where stdout is a terminal and not ``is_raw``."""
    out = sys.stdout.buffer
    escaper = LogEscaper() if sys.stdout.isatty() and not is_raw else None
    sys.stdout.flush()
    for piece in content:
        out.write(piece if escaper is None else escaper.feed(piece).encode("utf-8", "backslashreplace"))
        out.flush()
    if escaper is not None:
        out.write(escaper.feed(b"", is_last=True).encode("utf-8", "backslashreplace"))
        out.flush()


def text_pieces(content: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """A log as text for JSON, piece by piece with the byte at which each begins. What is no UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    begins = 0
    for piece in itertools.chain(content, (None,)):
        held = len(decoder.getstate()[0])  # bytes of a letter that is not whole yet
        text = decoder.decode(piece or b"", final=piece is None)
        if text:
            yield begins - held, text
        begins += len(piece or b"")


def say(text: str) -> None:
    """A line on stdout."""
    print(escape(text))


def notice(text: str) -> None:
    """A line for people on stderr, so that stdout stays what was asked for."""
    print(escape(text), file=sys.stderr, flush=True)


def done(as_json: bool, changed: Any, text: str) -> None:
    """What a command that only changes something answers: ``changed`` for programs, else a line for people."""
    if as_json:
        write_json(changed)
    else:
        notice(text)


def write_json(value: Any) -> None:
    """A JSON document on stdout, in ASCII."""
    print(json.dumps(value, indent=2))


def write_json_line(value: Any) -> None:
    """A JSON document on one line of stdout, at once: where more follow."""
    print(json.dumps(value), flush=True)


def write_json_log(run: Any, content: Iterable[bytes]) -> None:
    """``{"run": ..., "text": ...}``, written as the text comes, so that no log is too long for it."""
    print(f'{{"run": {json.dumps(run)}, "text": "', end="")
    for _, text in text_pieces(content):
        print(json.dumps(text)[1:-1], end="")
    print('"}')


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns. ``None`` and "" are shown as a dash."""
    lines = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def fields(values: dict[str, object]) -> None:
    """Names and values, one a line; what is empty is left out."""
    shown = {name: _cell(value) for name, value in values.items() if value not in (None, "", {}, [], ())}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        print(f"{name.ljust(width)}  {text}")


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return escape(value)
        case dict() | list():
            return escape(json.dumps(value, ensure_ascii=False))
        case _:
            return escape(str(value))
