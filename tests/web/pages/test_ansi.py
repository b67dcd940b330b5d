from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.pages import ansi
from appliance.web.static_files import PACKAGED as STATIC
from tests.web.pages.coloured import LINES

STYLES = [
    ansi.Style(ink, paper, *marks)
    for ink, paper in product((None, *range(16)), repeat=2)
    for marks in ((False,) * 4, (True,) * 4)
]


def test_there_are_at_least_forty_sequences_with_what_is_seen_of_them() -> None:
    assert sum("\x1b" in written for written, _ in LINES) >= 40


@pytest.mark.parametrize(("written", "shown"), LINES)
def test_req_S_16_a_line_shows_what_was_said_and_nothing_in_it_acts(
    written: str, shown: tuple[tuple[str, str], ...]
) -> None:
    spans, _ = ansi.spans(written)
    assert tuple((span.text, span.style) for span in spans) == shown


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\x1b[]m0;:\r")))
def test_req_S_16_no_control_character_but_the_tab_is_left(text: str) -> None:
    spans, _ = ansi.spans(text)
    left = "".join(span.text for span in spans)
    assert not [one for one in left if one != "\t" and (one < " " or "\x7f" <= one < "\xa0")]
    assert all(span.text for span in spans)


@given(st.lists(st.sampled_from(["\x1b[31m", "\x1b[m", "\x1b[1;44m", "x", "\r", "\x1b]0;t\x07", "yz"]), max_size=20))
def test_req_L3_a_line_in_two_pieces_has_the_colours_of_the_whole(pieces: list[str]) -> None:
    whole, after = ansi.spans("".join(pieces).replace("\r", ""))
    first, between = ansi.spans("".join(pieces[:10]).replace("\r", ""))
    second, last = ansi.spans("".join(pieces[10:]).replace("\r", ""), between)
    assert last == after
    joined = [(letter, span.style) for span in (*first, *second) for letter in span.text]
    assert joined == [(letter, span.style) for span in whole for letter in span.text]


def test_req_S_16_the_pattern_never_looks_back() -> None:
    assert re.findall(r"[*+](?!\+)", re.sub(r"\[[^\]]*\]|[*+]\+", "", ansi.ESCAPE.pattern)) == []


@pytest.mark.parametrize("unit", ["\x1b[", "\x1b]", "\x1b[0;", "\x1b[m", "\x1b[0", "\x1b", "\x1bP", "\r", "0;", "38;"])
def test_req_S_16_a_megabyte_of_sequences_comes_to_an_end(unit: str) -> None:
    spans, _ = ansi.spans("\x1b[" + unit * (1_000_000 // len(unit)))
    assert all("\x1b" not in span.text for span in spans)


def test_every_class_that_a_line_can_have_is_in_the_style_sheet() -> None:
    css = (STATIC / "orchestra.css").read_text()
    names = {name for style in STYLES for name in style.classes.split()}
    assert len(names) == 16 + 8 + 3
    for name in names:
        assert re.search(rf"\.{name}\b", css), name


def test_a_style_is_written_for_the_scripts() -> None:
    assert ansi.PLAIN.written == ",,"
    assert ansi.Style(1, 12, True, False, True, True).written == "1,12,buv"
    assert len({style.written for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize("name", ["escapes", "unseen"])
def test_the_scripts_have_the_same_patterns(name: str) -> None:
    """Written for both languages: possessive repeats, look-ahead and joined runs are the page's alone."""
    script = (Path(STATIC) / "ansi.js").read_text()
    found = re.search(rf"^const {name} = /(.*)/g;$", script, re.MULTILINE)
    assert found is not None
    theirs = re.sub(r"\\u([0-9a-f]{4})", lambda point: chr(int(point[1], 16)), found[1])
    ours = {"escapes": ansi.ESCAPE, "unseen": ansi.UNSEEN}[name].pattern.replace("\\x1b", "\x1b")
    ours = ours.replace("*+", "*").replace("|(?:\x1b(?!\\[[0-9;:]*m)", "|\x1b").removesuffix(")++")
    assert ours == theirs
