"""Names of workers, projects, jobs, users (S-21)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.names import RESERVED, check_name, nearest, taken

GOOD = [
    "a",
    "A",
    "7",
    "_",
    "website",
    "Website",
    "build-linux",
    "test_unit",
    "release-1.2.3",
    "1-1",
    "s1j1",
    "large-log",
    "x.y.z",
    "a-",
    "a.",
    "log-with-html",
    "logs",
    "newer",
    "latest2",
    "json",
    "a.json.gz",
    "text.txt2",
    "environment",
    "parameters",
    "empty",
    "test",
    "deploy",
    "a" * 64,
]
BAD = [
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a\n",
    "\na",
    "a\r",
    "a\0",
    "a\tb",
    "a" * 65,
    "a" * 1_000_000,
    ".",
    "..",
    "...",
    ".a",
    "-a",
    "-",
    "--upload-pack=x",
    "a..b",
    "a..",
    "a/b",
    "a\\b",
    "../a",
    "a#7",
    "a:b",
    "a@b",
    "a%2fb",
    "a?b",
    "a&b",
    "a+b",
    "a*",
    "a'b",
    'a"b',
    "a<b",
    "a`b`",
    "$(a)",
    "{a}",
    "é",
    "ａ",
    "١",
    "a\u200b",
    "a\u202eb",
    "👍",
    "latest",
    "LATEST",
    "last-success",
    "Last-Success",
    "log",
    "artifacts",
    "new",
    "runs",
    "me",
    "api",
    "static",
    "a.json",
    "a.JSON",
    "a.txt",
    "a.svg",
    "badge.svg",
]


@pytest.mark.parametrize("name", GOOD)
def test_req_S_21_a_good_name_is_kept_as_it_is(name: str) -> None:
    assert check_name("job", name) == name


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_req_S_21_a_bad_name_is_refused_with_a_short_sentence_about_it(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_name("job", name)
    sentence = str(caught.value)
    assert "cannot name a job: " in sentence
    assert len(sentence) < 600 and sentence.isascii() and sentence.isprintable()
    assert caught.value.errors == {"name": sentence}


def test_req_S_21_there_are_at_least_60_names_in_this_table() -> None:
    assert len(set(GOOD + BAD)) >= 60


@pytest.mark.parametrize("kind", ["worker", "project", "job", "user", "schedule", "pool"])
def test_req_S_21_the_words_of_addresses_are_reserved_for_every_kind_that_has_one(kind: str) -> None:
    for word in RESERVED:
        with pytest.raises(Invalid, match="reserved"):
            check_name(kind, word)


def test_parameters_and_elements_have_no_address_and_may_use_the_words() -> None:
    assert check_name("parameter", "log") == "log"
    assert check_name("element", "latest") == "latest"
    with pytest.raises(Invalid):
        check_name("parameter", "-x")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9_.-]{1,66}", fullmatch=True))
def test_req_S_21_what_passes_can_stand_in_an_address_and_on_a_command_line(name: str) -> None:
    try:
        check_name("worker", name)
    except Invalid:
        return
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name)
    assert ".." not in name and name.lower() not in RESERVED
    assert not name.lower().endswith((".json", ".txt", ".svg"))


def test_req_S_21_two_names_may_not_differ_only_in_case() -> None:
    assert taken(["Website", "api2"], "website") == "Website"
    assert taken(["Website"], "Website") == "Website"
    assert taken(["Website"], "websites") is None
    assert taken([], "website") is None


def test_the_nearest_name_is_the_one_that_was_meant() -> None:
    assert nearest("timeot", ["commands", "timeout", "expires"]) == "timeout"
    assert nearest("zzz", ["commands", "timeout"]) is None
    assert nearest("x" * 10_000, ["commands"]) is None
