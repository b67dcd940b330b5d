"""What is wrong with a job is told, with its place and what follows from it (D3, P1)."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.job_rules import find_cycle
from tests.model.definition_texts import job_with, project_of, told

FOUND: list[tuple[dict[Any, Any], str]] = [
    ({"timeot": "30m"}, "warning timeot: 'timeot' is not a known key; did you mean 'timeout'?"),
    ({"retrys": 3}, "warning retrys: 'retrys' is not a known key; did you mean 'retries'?"),
    ({"zzz": 3}, "warning zzz: 'zzz' is not a known key"),
    ({7: 3}, "warning 7: '7' is not a known key"),
    ({"display_name": 7}, "blocking display_name: must be a text, is a whole number; put it in quotes"),
    ({"description": ["x"]}, "blocking description: must be a text, is a list"),
    ({"description": "x" * 10_001}, "blocking description: must have at most 10000 characters"),
    ({"is_enabled": "yes"}, "blocking is_enabled: must be true or false, is a text"),
    ({"timeout": 30}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w; write 30s or 30m"),
    ({"timeout": "30"}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w; write 30s or 30m"),
    ({"lost_after": 2}, "blocking lost_after: must be a duration such as 2h, or never; write 2s or 2m"),
    ({"log_limit": 10}, "blocking log_limit: must be a size: 500kB, 64MiB, 10GB; write 10kB or 10MiB"),
    (
        {"definition": {"commands": [{"run": "x", "timeout": 90}]}},
        "blocking definition.commands[0].timeout: must be a duration: 90s, 30m, 2h, 1d, 1w; write 90s or 90m",
    ),
    ({"definition": {}}, "warning definition: there is no command: its runs do nothing and succeed; say commands: []"),
    ({"definition": {"type": "job", "commands": None}}, "warning definition: there is no command"),
    ({"timeout": "never"}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w"),
    ({"timeout": True}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w"),
    ({"timeout": -1.5}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w"),
    ({"timeout": "9999w"}, "blocking timeout: is longer than ten years"),
    ({"lost_after": "sometimes"}, "blocking lost_after: must be a duration such as 2h, or never"),
    ({"log_limit": "10"}, "blocking log_limit: must be a size: 500kB, 64MiB, 10GB"),
    ({"environment": {"CI": 1}}, "blocking environment: must be a text, is a whole number; put it in quotes"),
    ({"environment": {"A-B": "1"}}, "blocking environment: must be the name of a variable"),
    ({"environment": {"A": "x\0"}}, "blocking environment: A: a text holds the character NUL"),
    (
        {"environment": {"ORCHESTRA_TOKEN": "x"}},
        "blocking environment.ORCHESTRA_TOKEN: names that begin with ORCHESTRA_",
    ),
    ({"environment": {"PARAM_X": "x"}}, "blocking environment.PARAM_X: names that begin with ORCHESTRA_ or PARAM_"),
    ({"requires": {"python": ">=x"}}, "blocking requires.python: requires python: '>=x' is no comparison"),
    ({"requires": {"day": date(2020, 1, 1)}}, "blocking requires: day: a date is no JSON value"),
    ({"properties": {"is_controller": "yes"}}, "blocking properties.is_controller: must be true or false"),
    ({"properties": []}, "blocking properties: must be a map, is a list"),
    ({"definition": None}, "blocking : 'definition' is missing"),
    ({"definition": "make"}, "blocking definition: must be a map of keys, is a text"),
    ({"definition": {"type": "jobs"}}, "blocking definition.type: must be one of job, pipeline"),
    (
        {"definition": {"comands": []}},
        "warning definition.comands: 'comands' is not a known key; did you mean 'commands'?",
    ),
    ({"definition": {"commands": "make"}}, "blocking definition.commands: must be a list, is a text"),
    ({"definition": {"commands": [["a", 3]]}}, "blocking definition.commands[0][1]: must be a text, is a whole number"),
    ({"definition": {"commands": [[]]}}, "blocking definition.commands[0]: must have at least 1 item"),
    (
        {"definition": {"commands": [{"name": "x"}]}},
        "blocking definition.commands[0]: object missing required field `run`",
    ),
    (
        {"definition": {"commands": [{"run": "x", "tiem": 1}]}},
        "blocking definition.commands[0]: 'tiem' is not a known key",
    ),
    (
        {"definition": {"commands": [{"run": "x", "timeout": "9999w"}]}},
        "blocking definition.commands[0].timeout: is longer",
    ),
    ({"definition": {"commands": [["echo", "{"]]}}, "warning definition.commands[0][1]: unmatched '{' at position 0"),
    (
        {"definition": {"commands": [["{parameters}"]]}},
        "warning definition.commands[0][0]: 'parameters' at position 0 is no",
    ),
    (
        {"definition": {"teardown_commands": [["{nmae}"]]}},
        "warning definition.teardown_commands[0][0]: unknown name 'nmae'",
    ),
    (
        {"definition": {"setup_commands": [{"run": ["{x}"]}]}},
        "warning definition.setup_commands[0].run[0]: unknown name 'x'",
    ),
    (
        {"definition": {"commands": [["{parameters.x}"]]}},
        "warning definition.commands[0][0]: the job declares no parameter 'x'",
    ),
    (
        {"definition": {"commands": ["echo {parameters[x]}"]}},
        "warning definition.commands[0]: use a list of arguments, or a",
    ),
    (
        {"definition": {"commands": [["/bin/sh", "-ec", "ls {workspace}"]]}},
        "warning definition.commands[0][2]: the value of a field becomes text of the shell here",
    ),
    (
        {"definition": {"elements": [{"identifier": "a", "job": "test"}]}},
        "warning definition.elements: only a pipeline has",
    ),
    ({"parameters": {"key": "x"}}, "blocking parameters: must be a list, is a map"),
    ({"parameters": [{"key": f"k{n}"} for n in range(101)]}, "blocking parameters: has 101 items, 100 are allowed"),
    ({"parameters": ["branch"]}, "blocking parameters[0]: must be a map of keys, is a text"),
    ({"parameters": [{"description": "x"}]}, "blocking parameters[0]: 'key' is missing"),
    ({"parameters": [{"key": "a b"}]}, "blocking parameters[0].key: 'a b' cannot name a parameter"),
    ({"parameters": [{"key": "a"}, {"key": "a"}]}, "blocking parameters[1].key: 'a' is declared twice"),
    (
        {"parameters": [{"key": "a-b"}, {"key": "a_b"}]},
        "warning parameters[1].key: 'a-b' and 'a_b' share the variable PARAM_A_B",
    ),
    (
        {"parameters": [{"key": "a", "type": "text"}]},
        "blocking parameters[0].type: must be one of string, int, bool, choice",
    ),
    (
        {"parameters": [{"key": "a", "type": "secret"}]},
        "blocking parameters[0].type: secret parameters are not supported",
    ),
    ({"parameters": [{"key": "a", "type": "choice"}]}, "blocking parameters[0].choices: a choice needs choices"),
    ({"parameters": [{"key": "a", "choices": ["x"]}]}, "warning parameters[0].choices: has no effect here"),
    (
        {"parameters": [{"key": "a", "type": "int", "pattern": "x"}]},
        "warning parameters[0].pattern: has no effect here",
    ),
    ({"parameters": [{"key": "a", "pattern": "(x"}]}, "blocking parameters[0].pattern: the pattern cannot be used"),
    (
        {"parameters": [{"key": "a", "pattern": "x+", "default": "y"}]},
        "blocking parameters[0].default: the default does not fit",
    ),
    (
        {"parameters": [{"key": "a", "type": "int", "default": "1"}]},
        "blocking parameters[0].default: the default must be a whole",
    ),
    ({"definition": {"commands": [["x" * 100_000], ["y" * 100_000]]}}, "blocking : the job has 200"),
]


@pytest.mark.parametrize(("keys", "sentence"), FOUND, ids=[f"{number}" for number in range(len(FOUND))])
def test_req_D3_what_is_wrong_with_a_job_is_told_with_its_place(keys: dict[str, Any], sentence: str) -> None:
    job = (
        job_with(**keys)
        if all(isinstance(key, str) for key in keys)
        else project_of({"identifier": "test", "definition": {"commands": []}, **keys}).jobs[0]
    )
    assert len(told(job)) == 1 and told(job)[0].startswith(sentence), told(job)
    assert len(told(job)[0]) < 500
    assert (job.blocking != ()) is sentence.startswith("blocking")


def test_an_argument_that_no_system_could_start_is_told() -> None:
    sentences = told(job_with(definition={"commands": [["x" * 131_073]]}))
    assert sentences[0] == "blocking definition.commands[0][0]: must have at most 131072 characters"


@pytest.mark.parametrize(
    "command", ["echo ${workspace}", "awk '{print $1}'", "echo {a,b}", "echo {{workspace}}", "f() { workspace; }"]
)
def test_a_shell_text_with_braces_of_its_own_is_no_finding(command: str) -> None:
    assert job_with(definition={"commands": [command]}).findings == ()


def pipeline(*elements: dict[str, Any]) -> list[str]:
    job = job_with(definition={"type": "pipeline", "elements": list(elements)})
    return [one for one in told(job) if "cannot run in this version" not in one]


def test_req_P1_links_of_a_pipeline_are_checked() -> None:
    def after(element: str, *status: str) -> list[dict[str, Any]]:
        return [{"element": element, "status": list(status)}]

    one = {"identifier": "one", "job": "test"}
    two = {"identifier": "two", "job": "test", "after": after("one", "succeeded", "failed", "exception", "skipped")}
    assert pipeline(one, two) == []
    place = "blocking definition.elements"
    assert pipeline(one, {**two, "after": after("oen", "failed")}) == [
        f"{place}[1].after[0].element: there is no element 'oen'; did you mean 'one'?"
    ]
    (status,) = pipeline(one, {**two, "after": after("one", "succeded")})
    assert status.startswith(f"{place}[1].after[0].status: 'succeded' is no status an element ends with: use aborted")
    assert pipeline({**one, "after": after("two", "failed")}, two) == [
        f"{place}: the elements wait for each other: one after two after one"
    ]
    assert pipeline({**one, "after": after("one", "failed")}) == [
        f"{place}: the elements wait for each other: one after one"
    ]
    assert pipeline(one, {**one, "identifier": "ONE"}) == [f"{place}[1].identifier: there are two elements 'ONE'"]
    assert pipeline({**one, "project": "other", "job": "deploy"}) == []
    assert pipeline({**one, "parameters": {"a": "{workspace}", "b": "{results[x][y]}", "c": 7}}) == [
        "warning definition.elements[0].parameters.a: unknown name 'workspace' at position 0; runs end as errored"
    ]


def test_req_P1_exception_in_a_link_is_read_as_errored_and_kept_as_written() -> None:
    element = {"identifier": "b", "job": "test", "after": [{"element": "a", "status": ["exception"]}]}
    job = job_with(definition={"type": "pipeline", "elements": [{"identifier": "a", "job": "test"}, element]})
    assert job.document.definition.elements[1].after[0].status == ["errored"]
    assert job.raw["definition"]["elements"][1]["after"][0]["status"] == ["exception"]


links = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefx"), max_size=3))


@settings(max_examples=300, deadline=None)
@given(links)
def test_req_P1_a_circle_is_found_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    reach = {name: set(onward) & set(graph) for name, onward in graph.items()}
    for middle in graph:  # Warshall
        for start in graph:
            if middle in reach[start]:
                reach[start] |= reach[middle]
    cycle = find_cycle(graph)
    assert bool(cycle) is any(name in reach[name] for name in graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[before] for before, after in itertools.pairwise(cycle))


def test_a_pipeline_of_a_thousand_elements_in_a_row_is_no_deep_recursion() -> None:
    graph = {f"e{number}": [f"e{number + 1}"] for number in range(100_000)}
    assert find_cycle(graph) == []
    assert len(find_cycle({**graph, "e100000": ["e99999"]})) == 3
