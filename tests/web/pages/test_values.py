"""Any JSON as a page shows it."""

from __future__ import annotations

import pytest

from appliance.web.pages import values
from appliance.web.pieces import Value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", Value("key", "plain")),
        ("2026-01-31", Value("key", "2026-01-31")),
        ("2026-01-31T10:00:00Z", Value("key", "2026-01-31T10:00:00Z")),
        ("1.2.3", Value("key", "1.2.3")),
        ("zażółć 日本 😀", Value("key", "zażółć 日本 😀")),
        (1, Value("key", "1", kind="number")),
        (1.5, Value("key", "1.5", kind="number")),
        (2**53, Value("key", "9007199254740992", kind="number")),
        (True, Value("key", "true", kind="word")),
        (None, Value("key", "null", kind="word")),
        ("1", Value("key", '"1"', kind="quoted")),
        ("1.10", Value("key", '"1.10"', kind="quoted")),
        ("true", Value("key", '"true"', kind="quoted")),
        ("null", Value("key", '"null"', kind="quoted")),
        ("", Value("key", '""', kind="quoted")),
        (" ", Value("key", '" "', kind="quoted")),
        ('{"a": 1}', Value("key", '"{\\"a\\": 1}"', kind="quoted")),
        ([], Value("key", "[]", kind="items")),
        ([1, "a", None], Value("key", '1,"a",null'.replace(",", ", "), kind="items")),
        ("two\nlines", Value("key", "two\nlines", is_block=True)),
        ("é" * 300, Value("key", "é" * 300, is_block=True)),
    ],
    ids=ascii,
)
def test_req_D5_values_are_shown_as_they_are_and_never_reinterpreted(value: object, expected: Value) -> None:
    assert values.shown({"key": value}) == (expected,)


def test_objects_and_lists_are_shown_by_what_is_inside() -> None:
    (outer,) = values.shown({"outer": {"inner": {"n": 1}, "list": [["a"], {"b": []}]}})
    inner, several = outer.inside
    assert (outer.kind, inner.kind, inner.inside) == ("object", "object", (Value("n", "1", kind="number"),))
    assert several.kind == "list"
    assert [one.kind for one in several.inside] == ["items", "object"]


def test_an_array_of_objects_is_a_table() -> None:
    (found,) = values.shown(
        {"tests": [{"name": "a", "seconds": 1.5}, {"name": "b", "why": ["x"], "link": "https://h/x"}]}
    )
    assert found.table is not None and found.table.more == 0
    assert found.table.columns == ("name", "seconds", "why", "link")
    first, second = found.table.rows
    assert [cell.text for cell in first] == ["a", "1.5", "", ""]
    assert [cell.kind for cell in second] == ["text", "none", "items", "text"]
    assert second[3].href == "https://h/x"


def test_a_table_has_bounds_and_says_what_it_leaves_out() -> None:
    (found,) = shown = values.shown({"rows": [{"a": n, "b": "x" * 400} for n in range(500)]})
    assert found.table is not None
    assert len(found.table.rows) == 200 and found.table.more == 300
    assert len(found.table.rows[0][1].text) == values.CELL + 1
    assert values.is_cut(shown)
    (wide,) = values.shown({"rows": [{f"c{n}": n for n in range(20)}]})
    assert wide.kind == "list"


def test_however_deep_or_many_values_are_a_page_stays_bounded() -> None:
    deep: object = "end"
    for _ in range(60):
        deep = {"down": deep}
    (found,) = values.shown({"deep": deep})
    depth = 0
    while found.inside:
        (found,) = found.inside
        depth += 1
    assert depth == values.DEPTH and found.is_block and "end" in found.text
    many = {f"k{n}": {f"l{m}": "text " * 20 for m in range(190)} for n in range(190)}
    shown = values.shown(many)
    assert values.is_cut(shown)
    assert count(shown) < values.NODES + 300
    long_names = values.shown({"n" * 100_000 + str(n): 1 for n in range(20)})
    assert all(len(one.name) <= 201 for one in long_names)


def count(shown: tuple[Value, ...]) -> int:
    """All values, those inside of others too."""
    return sum(1 + count(one.inside) for one in shown)


@pytest.mark.parametrize("link", ["https://ci.example.org/a?b=c#d", "http://host", "HTTPS://HOST/x"])
def test_defect_J40_links_of_http_and_https_can_be_followed(link: str) -> None:
    assert values.shown({"link": link})[0].href == link


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        " https://x",
        "https://x\n",
        "https://",
        "https:// x",
        'https://x"onclick=',
        "//host",
        "/local",
        "vbscript:x",
        "java\tscript:alert(1)",
        "https://x\\@y",
        ["https://x"],
    ],
)
def test_defect_J40_nothing_else_becomes_a_link(link: object) -> None:
    assert values.shown({"link": link})[0].href is None


def test_secret_parameters_are_never_shown() -> None:
    (value,) = values.shown({"key": "hunter2"}, frozenset({"key"}))
    assert value.text == "(secret)"


def test_very_many_and_very_long_values_are_bounded_and_say_so() -> None:
    shown = values.shown({f"k{n}": "x" for n in range(300)})
    assert len(shown) == values.VALUES + 1 and "100 more" in shown[-1].text
    shown = values.shown({f"k{n}": "x" * 30_000 for n in range(300)})
    assert len(shown[0].text) < 21_000 and "10000 characters more" in shown[0].text
    assert sum(len(one.text) for one in shown) < values.CHARACTERS + 10_000 and values.is_cut(shown)
