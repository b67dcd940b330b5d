"""JSON from outside: read strictly, never reinterpreted, whatever the text (S-63)."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.documents import DEPTH, INTEGER_LIMIT, canonical, nesting, plain, strict_json
from appliance.model.errors import Invalid, Malformed, TooLarge

LIMIT = 1 << 20

# security.md section 6, rows 8 to 10: structure, numbers, text.
REFUSED: dict[str, bytes] = {
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets closed": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "one level too deep": b"[" * 17 + b"]" * 17,
    "a deep one behind a text with brackets": b'["]]]]]]]]]]",' + b"[" * 17 + b"]" * 18,
    "NaN": b"NaN",
    "NaN inside": b'{"a": NaN}',
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "duplicate keys": b'{"a": 1, "a": 2}',
    "equal duplicate keys": b'{"a": 1, "a": 1}',
    "duplicate keys deep inside": b'{"x": [{"a": 1, "b": 2, "a": 3}]}',
    "duplicate keys, one escaped": b'{"a": 1, "\\u0061": 2}',
    "a high surrogate": b'"\\ud800"',
    "a low surrogate": b'"\\udfff"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "a surrogate in a key": b'{"\\ud800": 1}',
    "a surrogate in raw bytes": b'"\xed\xa0\x80"',
    "NUL escaped": b'"a\\u0000b"',
    "NUL in a key": b'{"\\u0000": 1}',
    "NUL raw": b'"a\x00b"',
    "NUL behind": b"1\x00",
    "a newline in a text": b'"a\nb"',
    "a byte order mark": b"\xef\xbb\xbf1",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": b'"\xe9"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "nothing": b"",
    "space": b" \n\t ",
    "two values": b"1 2",
    "a comma too many": b"[1,]",
    "a comma too many in an object": b'{"a": 1,}',
    "a comment": b"1 // one",
    "single quotes": b"{'a': 1}",
    "a key without quotes": b"{a: 1}",
    "a key that is a number": b"{1: 1}",
    "an unclosed text": b'"abc',
    "an unclosed object": b'{"a": 1',
    "a bad escape": b'"\\x41"',
    "a short escape": b'"\\u12"',
    "True": b"True",
    "undefined": b"undefined",
    "2^53 + 1": b"9007199254740993",
    "-2^53 - 1": b"-9007199254740993",
    "2^63": b"9223372036854775808",
    "2^64": b"18446744073709551616",
    "5,000 nines": b"9" * 5000,
    "10,000 digits inside": b"[" + b"1" * 10_000 + b"]",
    "500,000 digits": b"7" * 500_000,
    "a leading zero": b"01",
    "a plus": b"+1",
    "a bare point": b".5",
    "a point at the end": b"1.",
    "hexadecimal": b"0x10",
    "underscores": b"1_000",
    "Arabic digits": "١٢".encode(),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_req_S_63_what_is_not_strict_json_is_refused_with_one_short_sentence(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        strict_json(raw, LIMIT)
    sentence = str(caught.value)
    assert 5 < len(sentence) < 200 and "\n" not in sentence


ACCEPTED: dict[str, tuple[bytes, Any]] = {
    "null": (b"null", None),
    "true": (b" true ", True),
    "an empty object": (b"{}", {}),
    "2^53": (b"9007199254740992", 2**53),
    "-2^53": (b"-9007199254740992", -(2**53)),
    "-5": (b"-5", -5),
    "-0": (b"-0", 0),
    "a large fraction": (b"1e300", 1e300),
    "a tiny fraction": (b"1e-999", 0.0),
    "an emoji": (b'"\\ud83d\\udc4d"', "👍"),
    "an emoji raw": ('"👨‍👩‍👧"'.encode(), "👨‍👩‍👧"),
    "NFC and NFD are two keys": ('{"é": 1, "e\u0301": 2}'.encode(), {"é": 1, "e\u0301": 2}),
    "brackets in a text": (b'"' + b"[{" * 5000 + b'"', "[{" * 5000),
    "escaped quotes and brackets": (b'"\\"[[[[[[[[[[[[[[[[[[\\\\"', '"[[[[[[[[[[[[[[[[[[\\'),
    "16 levels": (b"[" * 16 + b"]" * 16, json.loads("[" * 16 + "]" * 16)),
    "a key called __proto__": (b'{"__proto__": {"a": 1}}', {"__proto__": {"a": 1}}),
    "an operator of a database": (b'{"$gt": ""}', {"$gt": ""}),
    "lines": (b'{"a":\r\n\t1}', {"a": 1}),
}


@pytest.mark.parametrize(("raw", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_req_S_63_strict_json_is_read(raw: bytes, value: Any) -> None:
    assert strict_json(raw, LIMIT) == value
    assert strict_json(raw.decode(), LIMIT) == value


def test_req_S_63_a_text_with_a_lone_surrogate_is_refused_as_bytes_would_be() -> None:
    with pytest.raises(Malformed, match="surrogate"):
        strict_json('"\ud800"', LIMIT)


def test_req_S_63_the_limit_counts_bytes() -> None:
    assert strict_json('"éé"', 6) == "éé"
    with pytest.raises(TooLarge):
        strict_json('"ééé"', 6)
    with pytest.raises(TooLarge):
        strict_json(b"[" * 100, 99)


def test_req_S_63_a_million_keys_and_texts_that_never_end_take_one_pass() -> None:
    many = "{" + ",".join(f'"{number}":0' for number in range(70_000)) + "}"
    assert len(strict_json(many, LIMIT)) == 70_000
    for tail in ("", "\\"):
        text = '[[[[[[[[[[[[[[[[[["' + '\\"' * 400_000 + tail
        assert nesting(text) == 18
        with pytest.raises(Malformed):
            strict_json(text, LIMIT)


DATE_LIKE = [
    "2020-01-31",
    "2020-01-31T09:15:00",
    "2020-01-31T09:15:00Z",
    "2020-01-31 09:15:00.123456+02:00",
    "20200131",
    "09:15",
    "1e5",
    "007",
    "true",
    "null",
    "NaN",
    " x ",
]


@pytest.mark.parametrize("text", DATE_LIKE)
def test_defect_J03_a_text_that_looks_like_something_else_stays_that_text(text: str) -> None:
    value = {"results": [text], text: text}
    assert strict_json(canonical(value), LIMIT) == value
    assert plain(value) == value


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
integers = st.integers(-INTEGER_LIMIT, INTEGER_LIMIT)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def depth_of(value: object) -> int:
    """The plain recursive definition, as an oracle."""
    if isinstance(value, dict):
        return 1 + max((depth_of(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(item) for item in value), default=0)
    return 0


@settings(max_examples=200, deadline=None)
@given(values, st.booleans())
def test_every_value_comes_back_from_its_text_and_its_depth_is_known(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert nesting(text) == depth_of(value)
    if depth_of(value) <= DEPTH:
        assert repr(strict_json(text, LIMIT)) == repr(value)  # repr tells 1 from 1.0 and True
        assert plain(value) == value


@settings(max_examples=200, deadline=None)
@given(values)
def test_equal_values_have_one_canonical_text(value: Any) -> None:
    shuffled = json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert canonical(shuffled) == canonical(value)
    assert json.loads(canonical(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\u0d8 1eE.-NaNtrue', max_size=60))
def test_req_S_63_any_input_is_read_or_refused_and_what_is_read_is_strict(raw: bytes | str) -> None:
    try:
        value = strict_json(raw, LIMIT)
    except Invalid:
        return
    assert plain(value) == value
    assert strict_json(canonical(value), LIMIT) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: 2, "a": 3}, {"a": date(2020, 1, 1)}, object(), b"x"])
def test_what_has_no_json_form_has_no_canonical_text(value: Any) -> None:
    with pytest.raises(Malformed):
        canonical(value)


def test_plain_makes_lists_of_tuples_and_keeps_types() -> None:
    assert plain({"a": (1, (2.0, True), None)}) == {"a": [1, [2.0, True], None]}
    assert repr(plain({"a": (1, (2.0, True), None)})) == "{'a': [1, [2.0, True], None]}"


NOT_PLAIN: dict[str, tuple[Any, str]] = {
    "a date of YAML": ({"a": [{"b": date(2020, 1, 31)}]}, r"a\[0\]\.b: a date is no JSON value"),
    "an instant": ({"at": datetime(2020, 1, 31)}, "at: a datetime"),  # noqa: DTZ001  # what YAML makes has no zone
    "bytes": ({"a": b"x"}, "a: a bytes"),
    "a set": ({"a": {1}}, "a: a set"),
    "a key that is a number": ({"a": {1: 2}}, "a: the key 1 is no text"),
    "a key that is null": ({None: 2}, "the document: the key None"),
    "a large integer": ({"a": 2**53 + 1}, "a: the integer is beyond"),
    "not a number": ({"a": math.nan}, "a: nan is no JSON number"),
    "NUL": ({"a": "x\0"}, "a: a text holds the character NUL"),
    "half a pair": ({"a": "x\ud800"}, "half a surrogate pair"),
    "half a pair in a key": ({"\udc00": 1}, "half a surrogate pair"),
    "an enum-like text": ({"a": type("Word", (str,), {})("x")}, "a: a Word"),
}


@pytest.mark.parametrize(("value", "sentence"), NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_req_S_63_values_from_files_are_held_to_the_same_rules_and_the_place_is_named(
    value: Any, sentence: str
) -> None:
    with pytest.raises(Malformed, match=sentence):
        plain(value)


def test_req_S_63_values_that_contain_themselves_or_grow_by_aliases_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Malformed, match="nested deeper"):
        plain(endless)
    bomb: list[Any] = ["x"]
    for _ in range(12):
        bomb = [bomb] * 10
    with pytest.raises(Malformed, match="more than"):
        plain(bomb)
