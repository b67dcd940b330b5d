"""Typed parameters: one set of rules for service, form and command line (C1, S-31)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.parameters import DASHES, TOTAL_LIMIT, as_text, from_text, resolve, resolve_text, variable
from appliance.model.schema import Parameter

STRING = Parameter("value")
BRANCH = Parameter("value", pattern=r"[\w./-]+")
SHORT = Parameter("value", max_length=5)
INT = Parameter("value", type="int")
BOOL = Parameter("value", type="bool")
CHOICE = Parameter("value", type="choice", choices=["fast", "slow", "-O2", 1, True])
REF = Parameter("value", type="ref")
SECRET = Parameter("value", type="secret")

ACCEPTED: list[tuple[Parameter, Any]] = [
    (STRING, "main"),
    (STRING, ""),
    (STRING, "a b; $(c) `d` | e"),
    (STRING, "$(x)"),
    (STRING, "a-b"),
    (STRING, "é ² √ 👍"),
    (STRING, "@file"),
    (STRING, "~root"),
    (STRING, "$HOME"),
    (STRING, "2020-01-31"),
    (STRING, "007"),
    (STRING, "x" * 4096),
    (BRANCH, "feature/x-1"),
    (BRANCH, "-x"),  # the pattern was written to allow it
    (SHORT, "12345"),
    (INT, 0),
    (INT, -7),
    (INT, 2**53),
    (BOOL, True),
    (BOOL, False),
    (CHOICE, "fast"),
    (CHOICE, "-O2"),  # a literal of the configuration
    (CHOICE, 1),
    (CHOICE, True),
    (REF, "main"),
    (REF, "feature/é-1"),
    (REF, "v1.2.3"),
    (REF, "0123456789abcdef"),
    (REF, "refs/heads/main"),
]
REFUSED: list[tuple[Parameter, Any, str]] = [
    (STRING, "--upload-pack=x", "dash"),
    (STRING, "-oProxyCommand=x", "dash"),
    (STRING, "-", "dash"),
    *((STRING, dash + "x", "dash") for dash in DASHES),
    (STRING, "a\nb", "control"),
    (STRING, "a\rb", "control"),
    (STRING, "a\tb", "control"),
    (STRING, "a\x1b[31m", "control"),
    (STRING, "a\x7f", "control"),
    (STRING, "a\x85", "control"),
    (STRING, "a\0b", "NUL"),
    (STRING, "a\ud800", "surrogate"),
    (STRING, "x" * 4097, "longer than 4096"),
    (STRING, 7, "text"),
    (STRING, True, "text"),
    (STRING, ["a"], "text"),
    (STRING, {"a": 1}, "text"),
    (BRANCH, "a b", "pattern"),
    (BRANCH, "a\n", "pattern"),
    (BRANCH, "", "pattern"),
    (BRANCH, "$(x)", "pattern"),
    (SHORT, "123456", "longer than 5"),
    (INT, True, "whole number"),
    (INT, 1.0, "whole number"),
    (INT, "7", "whole number"),
    (INT, 2**53 + 1, "2^53"),
    (BOOL, 1, "true or false"),
    (BOOL, "true", "true or false"),
    (CHOICE, "medium", "one of fast, slow"),
    (CHOICE, "FAST", "one of"),
    (CHOICE, 1.0, "one of"),
    (CHOICE, False, "one of"),
    (REF, "", "empty"),
    (REF, "--upload-pack=x", "dash"),
    (REF, "\u2014x", "dash"),
    (REF, "a..b", "branch"),
    (REF, "a b", "branch"),
    (REF, "a\n", "branch"),
    (REF, "a~1", "branch"),
    (REF, "a^", "branch"),
    (REF, "a:b", "branch"),
    (REF, "@{-1}", "branch"),
    (REF, "@", "branch"),
    (REF, "/a", "branch"),
    (REF, "a/", "branch"),
    (REF, "a//b", "branch"),
    (REF, "a.lock", "branch"),
    (REF, "a.lock/b", "branch"),
    (REF, "a/.b", "branch"),
    (REF, "a.", "branch"),
    (SECRET, "x", "not supported"),
]


@pytest.mark.parametrize(("parameter", "value"), ACCEPTED, ids=ascii)
def test_req_S_31_a_good_value_is_kept_with_its_type(parameter: Parameter, value: Any) -> None:
    resolved = resolve([parameter], {"value": value})["value"]
    assert resolved == value and type(resolved) is type(value)


@pytest.mark.parametrize(("parameter", "value", "sentence"), REFUSED, ids=ascii)
def test_req_S_31_a_bad_value_is_refused_under_its_key(parameter: Parameter, value: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        resolve([parameter], {"value": value})
    assert sentence in caught.value.errors["parameters.value"]
    assert list(caught.value.errors) == ["parameters.value"]


def test_req_S_31_there_are_at_least_40_values_in_these_tables() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 40


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=20))
def test_req_S_31_no_text_without_a_pattern_can_be_taken_for_an_option_or_a_second_line(text: str) -> None:
    try:
        resolve([STRING], {"value": text})
    except Invalid:
        return
    assert text[:1] == "" or text[0] not in DASHES
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)


def test_req_C1_defaults_fill_what_is_not_given_and_the_rest_is_absent() -> None:
    declared = [
        Parameter("branch", default="main"),
        Parameter("count", type="int", default=0),
        Parameter("quick", type="bool", default=False),
        Parameter("note"),
    ]
    assert resolve(declared, {}) == {"branch": "main", "count": 0, "quick": False}
    assert resolve(declared, {"branch": "x", "note": None}) == {"branch": "x", "count": 0, "quick": False}


def test_req_S_31_literal_values_of_the_configuration_may_begin_with_a_dash() -> None:
    assert resolve([Parameter("option", default="--all")], {}) == {"option": "--all"}
    with pytest.raises(Invalid):
        resolve([Parameter("option", default="--all")], {"option": "--all"})


def test_req_C1_all_that_is_wrong_is_told_at_once() -> None:
    declared = [Parameter("branch", required=True), INT, Parameter("other", type="bool")]
    with pytest.raises(Invalid) as caught:
        resolve(declared, {"value": "x", "brunch": "main", "other": 3})
    assert caught.value.errors == {
        "parameters.brunch": "is not declared by the job; did you mean 'branch'?",
        "parameters.branch": "is required",
        "parameters.value": "must be a whole number",
        "parameters.other": "must be true or false",
    }
    assert str(caught.value) == "parameters.brunch is not declared by the job; did you mean 'branch'?"


def test_req_C1_a_job_without_parameters_takes_none() -> None:
    assert resolve([], {}) == {}
    with pytest.raises(Invalid, match="the job has no parameters"):
        resolve([], {"branch": "main"})
    with pytest.raises(Invalid, match="it has value"):
        resolve([INT], {"zzz": "main"})


def test_all_values_together_fit_a_message() -> None:
    declared = [Parameter(f"p{number}") for number in range(20)]
    with pytest.raises(Invalid, match=f"over {TOTAL_LIMIT} bytes"):
        resolve(declared, {parameter.key: "é" * 2000 for parameter in declared})


TEXTS: list[tuple[Parameter, str, Any]] = [
    (STRING, "main", "main"),
    (STRING, "", ""),
    (STRING, "true", "true"),
    (STRING, "2020-01-31", "2020-01-31"),
    (INT, "42", 42),
    (INT, "-0", 0),
    (INT, "007", 7),
    (BOOL, "true", True),
    (BOOL, "False", False),
    (BOOL, "on", True),
    (BOOL, "0", False),
    (CHOICE, "fast", "fast"),
    (CHOICE, "1", 1),
    (CHOICE, "true", True),
    (REF, "main", "main"),
]


@pytest.mark.parametrize(("parameter", "text", "value"), TEXTS, ids=ascii)
def test_req_C1_text_of_a_form_becomes_a_value_of_the_declared_type(
    parameter: Parameter, text: str, value: Any
) -> None:
    converted = from_text([parameter], {"value": text})["value"]
    assert converted == value and type(converted) is type(value)
    assert resolve([parameter], {"value": converted}) == {"value": value}


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (INT, "x"),
        (INT, "1.0"),
        (INT, "+1"),
        (INT, "1_000"),
        (INT, " 1"),
        (INT, "1\n"),
        (INT, "١"),
        (INT, "0x10"),
        (INT, "9" * 5000),
        (BOOL, "maybe"),
        (BOOL, "2"),
        (CHOICE, "FAST"),
        (CHOICE, "False"),
    ],
    ids=ascii,
)
def test_req_C1_text_of_another_type_is_refused_under_its_key(parameter: Parameter, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        from_text([parameter], {"value": text})
    assert list(caught.value.errors) == ["parameters.value"]


def test_req_C1_a_form_is_told_all_that_is_wrong_at_once_in_its_own_order() -> None:
    branch = Parameter("branch", pattern="[a-z]+")
    ticket = Parameter("ticket", required=True)
    given = {"branch": "a b", "value": "many", "ticket": "", "brunch": "x"}
    with pytest.raises(Invalid) as caught:
        resolve_text([branch, INT, ticket], given)
    assert list(caught.value.errors) == [f"parameters.{key}" for key in ("brunch", "branch", "value", "ticket")]
    assert resolve_text([branch, INT, ticket], {"branch": "main", "value": "7", "ticket": "A"}) == {
        "branch": "main", "value": 7, "ticket": "A",
    }  # fmt: skip


def test_an_empty_field_of_a_form_is_a_value_only_where_it_can_be_one() -> None:
    assert from_text([INT], {"value": ""}) == {}
    assert from_text([CHOICE], {"value": ""}) == {}
    assert from_text([Parameter("value", default="main")], {"value": ""}) == {}
    with pytest.raises(Invalid, match="is required"):
        resolve([Parameter("value", required=True)], from_text([Parameter("value", required=True)], {"value": ""}))
    assert from_text([], {"other": "x"}) == {"other": "x"}


@pytest.mark.parametrize("value", ["text", "", 7, -1, True, False, "true", "1"])
def test_what_a_form_shows_is_read_back_as_the_same_value(value: Any) -> None:
    parameter = Parameter("value", type={str: "string", int: "int", bool: "bool"}[type(value)])  # type: ignore[arg-type]  # one of the three words
    again = from_text([parameter], {"value": as_text(value)})["value"]
    assert again == value and type(again) is type(value)


def test_the_variable_of_a_parameter_is_its_key_in_upper_case() -> None:
    assert variable("branch") == "PARAM_BRANCH"
    assert variable("text_to-print.2") == "PARAM_TEXT_TO_PRINT_2"
    assert variable("é") == "PARAM__"
