"""JSON from outside, read strictly (S-63), and the one text form of a value that digests are made of.

Values are never reinterpreted: a string that looks like a date stays that string (D5, J03). Standard library only,
because the executor reads results files with it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from appliance.model.errors import Malformed, TooLarge

DEPTH = 16  # arrays and objects inside each other
INTEGER_LIMIT = 1 << 53  # beyond it JavaScript and others lose digits
NODES = 1_000_000  # values in one document; reached only by YAML aliases, as JSON text is limited by its size

# Possessive, and an unclosed string reaches to the end: every text is scanned once.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def strict_json(raw: bytes | str, limit: int) -> Any:
    """The value of JSON text of at most ``limit`` bytes.

    Refused as S-63 says: nesting deeper than 16, NaN and Infinity (also as 1e999), duplicate keys, lone surrogates,
    NUL, integers beyond 2^53, a byte order mark, bytes that are not UTF-8. Raises TooLarge or Malformed.
    """
    text = _decoded(raw, limit)
    if text.count("[") + text.count("{") > DEPTH and nesting(text) > DEPTH:
        raise Malformed(f"the JSON is nested deeper than {DEPTH} levels")
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if "\\u" in text:  # the only way to NUL and to half a surrogate pair in text that is valid UTF-8
        _check_texts(value)
    return value


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, not escaped to ASCII. Equal values have equal texts.

    Raises Malformed when the value has no JSON form (NaN, a date, a key that is no text).
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"not a JSON value: {error}") from None


def plain(value: Any) -> Any:
    """A copy of a value that did not come from JSON text (YAML, Python) as strict JSON values; tuples become lists.

    Held to the rules of :func:`strict_json`. Raises Malformed naming the place, as ``jobs[2].timeout``.
    """
    budget = [NODES]
    return _plain(value, "", DEPTH, budget)


def nesting(text: str) -> int:
    """How deep arrays and objects are inside each other in JSON text. Linear in its length, whatever the text."""
    depth = deepest = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first != '"':
            depth -= 1
    return deepest


def _decoded(raw: bytes | str, limit: int) -> str:
    try:
        encoded = raw.encode() if isinstance(raw, str) else raw
    except UnicodeEncodeError:
        raise Malformed("the text holds half a surrogate pair") from None
    if len(encoded) > limit:
        raise TooLarge(f"over the limit of {limit} bytes")
    try:
        text = raw if isinstance(raw, str) else raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"the key {_short(key)} appears twice in one object")
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    number = int(digits) if len(digits) <= 17 else None  # 2^53 has 16 digits; int() of very many is slow
    if number is None or abs(number) > INTEGER_LIMIT:
        raise Malformed(f"the integer {digits[:24]} is beyond 2^53; send it as text")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed(f"the number {digits[:24]} is too large")
    return number


def _constant(word: str) -> NoReturn:
    raise Malformed(f"{word} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)


def _check_texts(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is str:
            _check_text(item, "")
        elif type(item) is list:
            waiting.extend(item)
        elif type(item) is dict:
            waiting.extend(item)
            waiting.extend(item.values())


def _check_text(text: str, where: str) -> None:
    place = f"{where}: " if where else ""
    if "\0" in text:
        raise Malformed(f"{place}a text holds the character NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Malformed(f"{place}a text holds half a surrogate pair") from None


def _plain(value: Any, where: str, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise Malformed(f"the document has more than {NODES} values")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        _check_text(value, where)
        return value
    if kind is int:
        if abs(value) > INTEGER_LIMIT:
            raise Malformed(f"{where or 'the value'}: the integer is beyond 2^53; write it as text")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise Malformed(f"{where or 'the value'}: {value} is no JSON number")
        return value
    if kind not in (dict, list, tuple):
        raise Malformed(f"{where or 'the value'}: a {kind.__name__} is no JSON value; put it in quotes if it is text")
    if depth == 0:
        raise Malformed(f"{where[:100]}: nested deeper than {DEPTH} levels")
    if kind is not dict:
        return [_plain(item, f"{where}[{index}]", depth - 1, budget) for index, item in enumerate(value)]
    for key in value:
        if type(key) is not str:
            raise Malformed(f"{where or 'the document'}: the key {_short(key)} is no text; put it in quotes")
        _check_text(key, where)
    return {key: _plain(item, f"{where}.{key}" if where else key, depth - 1, budget) for key, item in value.items()}


def _short(key: object) -> str:
    shown = repr(key)
    return shown if len(shown) <= 60 else shown[:60] + "..."
