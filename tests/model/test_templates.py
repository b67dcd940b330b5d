"""The grammar of command templates, exactly (reliability.md section 6, S-30)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.model.templates import (
    ARGUMENT_LIMIT,
    COMMAND_LIMIT,
    COMMAND_NAMES,
    NAMES,
    TemplateError,
    check,
    expand,
    expand_command,
    fields,
)

CONTEXT: dict[str, Any] = {
    "environment": {"python3_executable": "/usr/bin/python3", "HOME": "/root", "odd key": "spaces", "é": "accent"},
    "parameters": {
        "branch": "main",
        "number": 7,
        "ratio": 1.5,
        "yes": True,
        "no": False,
        "empty": "",
        "tricky": "{parameters[branch]}; rm -rf / {{}} {0}",
        "nul": "a\0b",
        "date": "2020-01-31",
        "none": None,
        "a.b": "dotted",
        "huge": 10**5000,
        "k" * 128: "long key",
    },
    "results": {
        "revision_control": {"revision": "abc123"},
        "tests": [{"name": "unit"}, {"name": "web"}],
        "0": "zero",
        "deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": "bottom", "h": {"i": "too far"}}}}}}}},
    },
    "project_identifier": "website",
    "job_identifier": "test",
    "run_identifier": "0d3f8a3e-0000-4000-8000-000000000000",
    "result_file_path": "../results.json",
    "workspace": "/work",
}

FILLED = {
    "": "",
    "plain text": "plain text",
    "%s %(a)s $HOME `id` $(id) ~ @file": "%s %(a)s $HOME `id` $(id) ~ @file",
    "é ² √ 👍": "é ² √ 👍",
    "line\nline": "line\nline",
    "{parameters[branch]}": "main",
    "{parameters.branch}": "main",
    "a{parameters[branch]}b{parameters.branch}c": "amainbmainc",
    "{environment[python3_executable]}": "/usr/bin/python3",
    "{environment.HOME}": "/root",
    "{environment[odd key]}": "spaces",
    "{environment[é]}": "accent",
    "{results[revision_control][revision]}": "abc123",
    "{results.revision_control.revision}": "abc123",
    "{results[revision_control].revision}": "abc123",
    "{results.revision_control[revision]}": "abc123",
    "{results.tests.0.name}": "unit",
    "{results[tests][1][name]}": "web",
    "{results[tests].1[name]}": "web",
    "{results.0}": "zero",
    "{results[0]}": "zero",
    "{results.tests.00.name}": "unit",
    "{results.deep.a.b.c.d.e.f.g}": "bottom",
    "{parameters.number}": "7",
    "{parameters.ratio}": "1.5",
    "{parameters.yes}{parameters.no}": "TrueFalse",
    "{parameters.empty}": "",
    "{parameters.date}": "2020-01-31",
    "{parameters[a.b]}": "dotted",
    "{parameters[" + "k" * 128 + "]}": "long key",
    "{parameters.tricky}": "{parameters[branch]}; rm -rf / {{}} {0}",
    "{project_identifier}/{job_identifier}": "website/test",
    "{run_identifier}": "0d3f8a3e-0000-4000-8000-000000000000",
    "{result_file_path}": "../results.json",
    "{workspace}": "/work",
    "{{}}": "{}",
    "{{": "{",
    "}}": "}",
    "{{parameters[branch]}}": "{parameters[branch]}",
    "{{{parameters[branch]}}}": "{main}",
    "{{{{": "{{",
    "print({{'a': 1}})": "print({'a': 1})",
    "{parameters.branch}}}": "main}",
}

REFUSED = {
    "{undefined}": "unknown name 'undefined' at position 0",
    "print('{undefined}')": "unknown name 'undefined' at position 7",
    "{parameters[missing]}": "'parameters' has no 'missing'",
    "{parameters.Branch}": "'parameters' has no 'Branch'",
    "{results.tests.2.name}": "'results[tests]' is a list of 2",
    "{results.tests.-1.name}": "is a list of 2",
    "{results[tests][²]}": "is a list of 2",
    "{results[tests][١]}": "is a list of 2",
    "{results[tests][name]}": "is a list of 2",
    "{parameters.branch.upper}": "'parameters[branch]' has no parts",
    "{parameters.branch[0]}": "'parameters[branch]' has no parts",
    "{parameters.number.real}": "has no parts",
    "{parameters.__class__}": "'parameters' has no '__class__'",
    "{parameters.branch.__class__.__mro__}": "has no parts",
    "{parameters[__class__]}": "'parameters' has no '__class__'",
    "{results.tests.append}": "is a list of 2",
    "{__import__}": "unknown name '__import__'",
    "{self}": "unknown name 'self'",
    "{secrets[KEY]}": "unknown name 'secrets[KEY]'",
    "{parameters}": "it is a dict",
    "{results.tests}": "it is a list",
    "{results.tests.0}": "it is a dict",
    "{parameters.none}": "it is null",
    "{parameters.nul}": "holds the character NUL",
    "{parameters.huge}": "the number is too long",
    "{}": "fields are named",
    "{0}": "fields are named",
    "{parameters[branch]!r}": "conversions",
    "{parameters.branch!s:>9}": "conversions",
    "{parameters.ratio:.2f}": "format specifications",
    "{parameters.ratio:}": "format specifications",
    "{parameters[branch]:{parameters[number]}}": "unmatched '{' at position 0",
    "{": "unmatched '{' at position 0",
    "}": "unmatched '}' at position 0",
    "a}b": "unmatched '}' at position 1",
    "{{}": "unmatched '}' at position 2",
    "{parameters[branch]": "unmatched '{' at position 0",
    "{parameters[branch": "unmatched '{' at position 0",
    "{parameters{branch}}": "unmatched '{' at position 0",
    "x {parameters[branch}": "is not a field",
    "{parameters[]}": "is not a field",
    "{parameters.}": "is not a field",
    "{.branch}": "is not a field",
    "{parameters..branch}": "is not a field",
    "{parameters[branch]x}": "is not a field",
    "{parameters branch}": "is not a field",
    "{ parameters.branch }": "is not a field",
    "{parameters['branch']}": "has no \"'branch'\"",
    "{parameters[a[b]]}": "is not a field",
    "{parameters[a\nb]}": "is not a field",
    "{parameters[a\x7fb]}": "is not a field",
    "{parameters.é}": "is not a field",
    "{paramètres}": "is not a field",
    "{parameters[" + "k" * 129 + "]}": "is not a field",
    "{parameters." + "k" * 65 + "}": "is not a field",
    "{" + "n" * 65 + "}": "is not a field",
    "{results.deep.a.b.c.d.e.f.h.i}": "is not a field",
    "{results" + ".a" * 5000 + "}": "unmatched '{'",
    "a\0b": "the character NUL at position 1",
    "{parameters()}": "is not a field",
    "{parameters+1}": "is not a field",
}


@pytest.mark.parametrize(("text", "filled"), FILLED.items(), ids=ascii)
def test_req_S_30_a_template_is_filled(text: str, filled: str) -> None:
    assert expand(text, CONTEXT) == filled


@pytest.mark.parametrize(("text", "sentence"), REFUSED.items(), ids=lambda text: ascii(text)[:60])
def test_req_S_30_anything_else_is_refused_with_position_and_field(text: str, sentence: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(text, CONTEXT)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 600
    assert 0 <= caught.value.position < len(text)
    there = text[caught.value.position :]
    assert there.startswith((caught.value.field, "{" + caught.value.field)) or caught.value.field.endswith("...}")


def test_req_S_30_there_are_at_least_80_templates_in_these_tables() -> None:
    assert len(FILLED) + len(REFUSED) >= 80


# An oracle written in another way: a recursive descent over characters, no regular expression.

ASCII = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"


def oracle(text: str, context: dict[str, Any]) -> str | None:
    """What ``expand`` must answer; None: it must refuse."""
    out, at = "", 0
    while at < len(text):
        two = text[at : at + 2]
        if two in ("{{", "}}"):
            out, at = out + two[0], at + 2
        elif text[at] == "{":
            end = text.find("}", at)
            path = steps_of(text[at + 1 : end]) if end > 0 else None
            if path is None:
                return None
            value: Any = context
            for step in path:
                if isinstance(value, dict) and step in value:
                    value = value[step]
                elif isinstance(value, list) and step and all(c in DIGITS for c in step) and int(step) < len(value):
                    value = value[int(step)]
                else:
                    return None
            if not isinstance(value, str | int | float) or "\0" in str(value):
                return None
            out, at = out + str(value), end + 1
        elif text[at] in "}\0":
            return None
        else:
            out, at = out + text[at], at + 1
    return out


def steps_of(inner: str) -> list[str] | None:
    at = 0
    while at < len(inner) and inner[at] in ASCII + DIGITS + "_":
        at += 1
    if at == 0 or at > 64 or inner[0] in DIGITS:
        return None
    path = [inner[:at]]
    while at < len(inner):
        begin = at + 1
        if inner[at] == "[":
            end = inner.find("]", begin)
            key = inner[begin:end] if end > 0 else ""
            if not 1 <= len(key) <= 128 or any(c in "[]{}" or ord(c) < 32 or 127 <= ord(c) < 160 for c in key):
                return None
            at = end + 1
        elif inner[at] == ".":
            at = begin
            while at < len(inner) and inner[at] in ASCII + DIGITS + "_-":
                at += 1
            key = inner[begin:at]
            if not 1 <= len(key) <= 64:
                return None
        else:
            return None
        path.append(key)
    return path if len(path) <= 9 else None


PIECES = ["{", "}", "[", "]", ".", "!", ":", "r", "0", "1", "-", "_", " ", "é", "\n", "\0", "a", "b", "x", "{{", "}}"]
WORDS = ["{a}", "{a.b}", "{a[b]}", "{a.x.0}", "{a[x][1]}", "{b}", "{a.b.a}", "a.b", "[b]", "{x}"]
SMALL: dict[str, Any] = {
    "a": {"b": "{a}", "x": [1, True], "-": 1.5, " ": "s", "é": None, "0": "z"},
    "b": "text",
    "_": {},
    "r": "n\0",
}


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES + WORDS), max_size=12).map("".join))
@example("{a" + ".x" * 8 + "}")
@example("{a" + ".x" * 9 + "}")
def test_req_S_30_every_text_means_what_the_grammar_says(text: str) -> None:
    expected = oracle(text, SMALL)
    try:
        filled: str | None = expand(text, SMALL)
    except TemplateError as error:
        filled = None
        assert 0 <= error.position < len(text) and error.field
    assert filled == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_req_S_30_text_that_came_from_a_value_is_never_looked_at_again(value: str) -> None:
    if "\0" in value:
        with pytest.raises(TemplateError):
            expand("{v[x]}", {"v": {"x": value}})
    else:
        assert expand("<{v[x]}{v.x}>", {"v": {"x": value}}) == f"<{value}{value}>"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\0"), max_size=200))
def test_any_text_can_be_written_with_its_braces_doubled(text: str) -> None:
    assert expand(text.replace("{", "{{").replace("}", "}}"), {}) == text


class Sly(str):
    """A text with an opinion of its own about what it is."""

    def __str__(self) -> str:
        raise AssertionError("was asked")


@pytest.mark.parametrize("value", [Sly("x"), type("Map", (dict,), {})(), type("List", (list,), {})(), object(), b"x"])
def test_req_S_30_types_are_compared_exactly(value: object) -> None:
    with pytest.raises(TemplateError):
        expand("{v}", {"v": value})
    with pytest.raises(TemplateError):
        expand("{v.0}", {"v": value})


def test_an_argument_is_at_most_128_kibibytes_of_utf_8() -> None:
    assert len(expand("{v}", {"v": "x" * ARGUMENT_LIMIT})) == ARGUMENT_LIMIT
    for value in ("x" * (ARGUMENT_LIMIT + 1), "é" * (ARGUMENT_LIMIT // 2 + 1)):
        with pytest.raises(TemplateError, match="over 131072 bytes"):
            expand("{v}", {"v": value})
    with pytest.raises(TemplateError, match="over 131072 bytes"):
        expand("{v}" * 1000, {"v": "x" * 1000})


def test_a_command_is_at_most_2_mebibytes() -> None:
    context: dict[str, object] = {"v": "x" * ARGUMENT_LIMIT}
    most = COMMAND_LIMIT // ARGUMENT_LIMIT
    assert len(expand_command(["{v}"] * most, context)) == most
    with pytest.raises(TemplateError, match="over 2097152 bytes"):
        expand_command(["{v}"] * most + ["y"], context)


def test_errors_of_size_and_long_fields_show_only_the_beginning() -> None:
    long = "y" * 100
    with pytest.raises(TemplateError) as caught:
        expand(long, {}, limit=10)
    assert (caught.value.position, caught.value.field) == (0, "y" * 80)
    with pytest.raises(TemplateError) as caught:
        expand_command(["x" * ARGUMENT_LIMIT] * 16 + [long], {})
    assert (caught.value.position, caught.value.field) == (0, "y" * 80)
    assert [error.field for error in check("{" + " " * 80 + "}")] == ["{" + " " * 80 + "}"]
    assert [error.field for error in check("{" + " " * 81 + "}")] == ["{" + " " * 80 + "...}"]


def test_fields_are_listed_with_name_steps_and_position() -> None:
    found = fields("a{parameters[branch]}{{x}}{results.tests[0].name}{workspace}")
    assert [(field.name, field.steps, field.position) for field in found] == [
        ("parameters", ("branch",), 1),
        ("results", ("tests", "0", "name"), 26),
        ("workspace", (), 49),
    ]
    assert found[1].text == "results.tests[0].name"
    assert [field.steps for field in fields("{a[b.c].d}")] == [("b.c", "d")]


def test_req_S_30_what_is_wrong_for_sure_is_found_before_any_value_is_known() -> None:
    assert check("{parameters[branch]} {environment.X} {results.a.0} {workspace} {result_file_path}") == []
    assert [str(error) for error in check("{undefined} {other.x}")] == [
        "unknown name 'undefined' at position 0",
        "unknown name 'other.x' at position 12",
    ]
    assert "unmatched" in str(check("{")[0])
    assert "say which one, as {parameters[key]}" in str(check("{parameters}")[0])
    assert "'workspace' is a text" in str(check("{workspace.x}")[0])


def test_parameters_of_elements_know_no_workspace_and_no_result_file() -> None:
    assert {"workspace", "result_file_path"} == COMMAND_NAMES - NAMES
    assert [error.field for error in check("{workspace}{result_file_path}{run_identifier}", NAMES)] == [
        "workspace",
        "result_file_path",
    ]


def test_an_executor_can_import_templates_without_anything_heavy() -> None:
    code = (
        "from __future__ import annotations; import sys, re; before = set(sys.modules); "
        "import appliance.model.templates; "
        "print(sorted(set(sys.modules) - before))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['appliance', 'appliance.model', 'appliance.model.templates']"
