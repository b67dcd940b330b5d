"""Patterns mean what they mean in Python, and cost no more than their size times the value's (S-31, S-64)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.patterns import PATTERN_LIMIT, compile_pattern

SAME = {
    r"[\w./-]+": ["main", "feature/x-1", "a b", "", "a\n", "é", "-x"],
    r"^v?\d+\.\d+(\.\d+)?$": ["1.2", "v1.2.3", "1", "1.2.", "v1.2\n", "١.٢"],
    r"a{2}b{1,}c{0,2}": ["aab", "aabbcc", "aabccc", "ab", "aac"],
    r"(?:yes|no|)": ["yes", "no", "", "yesno"],
    r"(a|b)*c": ["c", "abac", "ab", "abca"],
    r".": ["x", "\n", "", "xy", "👍"],
    r"[^a-c]": ["d", "a", "\n", ""],
    r"[]x]": ["]", "x", "y"],
    r"[\]\[-]": ["]", "[", "-", "\\"],
    r"\{\}\[\]\(\)\*\+\?\.\|\^\$\\": ["{}[]()*+?.|^$\\", "x"],
    r"\s\S\d\D\w\W": [" x1xx ", "xxxxxx"],
    r"\t\n": ["\t\n", "tn"],
    "": ["", "a"],
    r"((((a))))?": ["", "a", "aa"],
    r"x*": ["", "x", "xxxxx", "xy"],
    r"}]": ["}]", "}"],
}


@pytest.mark.parametrize("pattern", SAME)
def test_req_S_31_a_pattern_matches_the_whole_value_as_python_does(pattern: str) -> None:
    for value in SAME[pattern]:
        assert compile_pattern(pattern).matches(value) == (re.fullmatch(pattern, value) is not None), value


REFUSED = {
    r"(a)\1": "the escape",
    r"(?P<name>a)": "of groups only",
    r"(?=a)a": "of groups only",
    r"(?!a)b": "of groups only",
    r"(?<=a)b": "of groups only",
    r"(?i)a": "of groups only",
    r"(?i:a)": "of groups only",
    r"(?>a)": "of groups only",
    r"a*?": "quantifier of a quantifier",
    r"a++": "quantifier of a quantifier",
    r"(a*)**": "quantifier of a quantifier",
    r"a{1}{2}": "quantifier of a quantifier",
    r"*a": "without something to repeat",
    r"a|*": "without something to repeat",
    r"{1}": "without something to repeat",
    r"a{": "begins a count",
    r"a{,3}": "begins a count",
    r"a{1,2": "begins a count",
    r"a{12345}": "begins a count",
    r"a{3,2}": "ends before it begins",
    r"(a": "unmatched '('",
    r"a)": "unmatched ')'",
    r"[a": "does not end",
    r"[a[b]": "does not end",
    r"[b-a]": "cannot be read",
    r"[a--b]": "cannot be read",
    r"a^b": "anchors",
    r"a$b": "anchors",
    r"(a$)": "anchors",
    r"\bword\b": "the escape",
    r"a\Z": "the escape",
    r"[\b]": "the escape",
    r"\x41": "the escape",
    r"\u0041": "the escape",
    "\\": "the escape",
    "(" * 30 + "a" + ")" * 30: "groups inside each other",
    "a" * (PATTERN_LIMIT + 1): "longer than",
    "(a{100}){100}": "too large",
    "((a{9999}){9999}){9999}": "too large",
    "((((){9999}){9999}){9999}){9999}": "too large",
    ".{0,9999}": "too large",
}


@pytest.mark.parametrize(("pattern", "sentence"), REFUSED.items(), ids=lambda text: text[:20])
def test_req_S_31_what_could_not_be_matched_in_linear_time_is_no_pattern(pattern: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=re.escape(sentence)):
        compile_pattern(pattern)


SLOW_ELSEWHERE = [
    (r"(a+)+b", False),
    (r"(a*)*b", False),
    (r"(a|a)*b", False),
    (r"(a|aa)+b", False),
    (r"a*a*a*a*a*a*a*a*b", False),
    (r"(.*)(.*)(.*)(.*)(.*)[^a]", False),
    (r"(a?){150}a{150}", False),
    (r"((a{0,5}){0,5}){0,5}", False),
    (r"([a-z]+)*", True),
]


@pytest.mark.parametrize(("pattern", "fits"), SLOW_ELSEWHERE)
def test_req_S_64_patterns_that_stop_a_backtracking_engine_for_years_are_answered(pattern: str, fits: bool) -> None:
    assert compile_pattern(pattern).matches("a" * 4096) is fits


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\.", "", "(?:)"])
trees = st.recursive(
    atoms,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + "|".join(parts) + ")")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"])).map(
            lambda part: f"({part[0]}){part[1]}"
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(trees, st.lists(st.text(alphabet="ab.\n", max_size=6), min_size=1, max_size=6))
def test_req_S_31_every_pattern_agrees_with_python(pattern: str, values: list[str]) -> None:
    mine = compile_pattern(pattern)
    for value in values:
        assert mine.matches(value) == (re.fullmatch(pattern, value) is not None), value


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=r"ab()[]{}|*+?.^$\,-12:=!<wd", max_size=14), st.text(alphabet="ab12.", max_size=5))
def test_req_S_31_any_text_is_refused_or_agrees_with_python(pattern: str, value: str) -> None:
    try:
        mine = compile_pattern(pattern)
    except Invalid:
        return
    assert mine.matches(value) == (re.fullmatch(pattern, value) is not None)
