"""Reading projects: Job Orchestra's unchanged, ours in full, and a finding for everything else (D2, D3, S7)."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import documents
from appliance.model.definitions import (
    JobReading,
    ProjectReading,
    Severity,
    commands_of,
    job_of,
    json_schema,
    read_project,
)
from appliance.model.findings import show_place
from appliance.model.job_rules import JOB_LIMIT, find_cycle
from appliance.model.schema import ELEMENT_LATER, JOB_LATER, PROJECT_LATER, JobDocument, parse_size
from tests.model.job_orchestra import EXAMPLE


def project_of(*jobs: Any, **keys: Any) -> ProjectReading:
    return read_project({"identifier": "example", "jobs": list(jobs), **keys})


def job_with(**keys: Any) -> JobReading:
    """The reading of a job that has these keys."""
    return project_of({"identifier": "test", "definition": {"commands": []}, **keys}).jobs[0]


def told(reading: JobReading | ProjectReading) -> list[str]:
    """The findings as ``severity place: sentence``, places seen from the job."""
    cut = 2 if isinstance(reading, JobReading) else 0
    return [f"{one.severity} {show_place(one.place[cut:])}: {one.sentence}" for one in reading.findings]


# ---- Job Orchestra's own definitions


def test_req_D2_job_orchestras_project_loads_unchanged() -> None:
    raw = copy.deepcopy(EXAMPLE)
    reading = read_project(raw)
    assert raw == EXAMPLE, "reading changes nothing"
    assert reading.refusing == ()
    assert [job.document.identifier for job in reading.jobs] == [job["identifier"] for job in EXAMPLE["jobs"]]
    assert [job.raw for job in reading.jobs] == EXAMPLE["jobs"]
    assert reading.raw == {key: EXAMPLE[key] for key in ("identifier", "display_name", "services")}
    unknown = [finding for finding in reading.all_findings if "not a known key" in finding.sentence]
    assert unknown == []


@pytest.mark.parametrize(
    "name", ["success", "sleep", "failure", "exception", "controller_success", "parameters", "empty"]
)
def test_req_D2_job_orchestras_plain_jobs_may_run(name: str) -> None:
    job = {job.document.identifier: job for job in read_project(EXAMPLE).jobs}[name]
    assert job.blocking == ()
    assert commands_of(job.document.definition)["commands"] == job.raw["definition"]["commands"]


def test_req_X2_the_exception_job_is_marked_and_may_run_all_the_same() -> None:
    job = {job.document.identifier: job for job in read_project(EXAMPLE).jobs}["exception"]
    assert told(job) == [
        "warning definition.commands[0][2]: unknown name 'undefined' at position 7; runs end as errored"
    ]
    assert job.blocking == ()


def test_req_P1_job_orchestras_pipelines_are_read_in_full_and_say_that_they_cannot_run_yet() -> None:
    jobs = {job.document.identifier: job for job in read_project(EXAMPLE).jobs}
    pipeline = jobs["pipeline_success"]
    assert [sentence.split(": ", 1)[1] for sentence in pipeline.blocking] == [
        "pipeline jobs cannot run in this version"
    ]
    elements = pipeline.document.definition.elements
    assert [(element.identifier, element.job) for element in elements] == [
        ("s1j1", "success"),
        ("s1j2", "success"),
        ("s2j1", "success"),
        ("s2j2", "success"),
    ]
    assert [(link.element, link.status) for link in elements[2].after] == [("s1j1", ["succeeded"])]
    assert "warning definition.elements[2].job: there is no job 'unknown'" in told(jobs["pipeline_exception"])
    for name, size in (("complex_1", 10), ("complex_2", 14), ("complex_3", 9)):
        assert len(jobs[name].document.definition.elements) == size
        assert len(jobs[name].findings) == 1


def test_req_D2_a_schedule_is_read_and_says_that_it_does_not_fire_yet() -> None:
    schedule = read_project(EXAMPLE).schedules[0]
    assert (schedule.document.identifier, schedule.document.job) == ("success_nightly", "success")
    assert schedule.document.expression == "0 0 * * *"
    assert [finding.sentence for finding in schedule.findings] == ["schedules do not fire in this version"]


# ---- ours in full

CONTRACT_JOB: dict[str, Any] = {
    "identifier": "test",
    "display_name": "Test",
    "description": "Tests it",
    "definition": {
        "type": "job",
        "setup_commands": [["true"]],
        "commands": [
            ["git", "clone", "--depth=1", "--branch", "{parameters[branch]}", "{environment[origin]}", "src"],
            "cd src && make test",
            {"run": ["make", "report"], "name": "report", "timeout": "2m"},
            {"run": "make clean"},
        ],
        "teardown_commands": [["rm", "-rf", "src"]],
    },
    "parameters": [
        {
            "key": "branch",
            "description": "Branch to test",
            "type": "string",
            "default": "main",
            "pattern": "[\\w./-]+",
            "required": True,
        },
        {"key": "level", "type": "choice", "choices": ["fast", 2], "default": 2},
        {"key": "count", "type": "int"},
        {"key": "quick", "type": "bool", "default": False},
        {"key": "revision", "type": "ref", "max_length": 40},
    ],
    "properties": {"include_in_status": True, "is_controller": False},
    "requires": {"os": "linux", "python": ">=3.11", "arch": ["x86_64", "aarch64"]},
    "environment": {"CI": "1"},
    "timeout": "30m",
    "expires": "2h",
    "grace": "10s",
    "lost_after": "never",
    "log_limit": "10GB",
    "is_enabled": True,
}


def test_req_X1_a_job_with_every_key_of_this_version_has_no_finding() -> None:
    reading = project_of(CONTRACT_JOB)
    assert reading.all_findings == ()
    job = reading.jobs[0].document
    assert (job.timeout_seconds, job.expires_seconds, job.grace_seconds) == (1800.0, 7200.0, 10.0)
    assert (job.lost_after_seconds, job.log_limit_bytes) == (float("inf"), 10**10)
    assert commands_of(job.definition)["commands"][2:] == [
        {"run": ["make", "report"], "name": "report", "timeout": 120.0},
        {"run": "make clean"},
    ]
    assert job_of(reading.jobs[0].raw) == job


def test_what_a_job_does_not_say_is_left_to_the_settings() -> None:
    job = job_with().document
    assert (job.timeout_seconds, job.expires_seconds, job.grace_seconds) == (None, None, None)
    assert (job.lost_after_seconds, job.log_limit_bytes) == (None, None)


def test_a_key_that_is_null_counts_as_not_given() -> None:
    job = job_with(timeout=None, parameters=None, description=None, requires=None, retries=None)
    assert job.findings == () and job.document.parameters == []


def test_defect_J03_values_of_a_definition_are_never_reinterpreted() -> None:
    job = job_with(
        environment={"DAY": "2020-01-31", "FLAG": "yes", "CODE": "007"},
        parameters=[{"key": "day", "default": "2020-01-31"}],
    )
    assert job.document.environment == {"DAY": "2020-01-31", "FLAG": "yes", "CODE": "007"}
    assert job.document.parameters[0].default == "2020-01-31"


# ---- findings

LATER_SAYS = "is not supported by this version"


@pytest.mark.parametrize("key", sorted(JOB_LATER))
def test_nothing_of_the_contract_is_silently_ignored(key: str) -> None:
    (finding,) = job_with(**{key: {"any": "value"}}).findings
    assert finding.place == ("jobs", 0, key) and f"{key!r} {LATER_SAYS}" in finding.sentence


@pytest.mark.parametrize("key", ["pool", "locks", "concurrency", "secrets"])
def test_a_job_does_not_run_without_what_protects_it(key: str) -> None:
    (sentence,) = job_with(**{key: ["x"]}).blocking
    assert "and the job is not run without it" in sentence


@pytest.mark.parametrize("key", sorted(PROJECT_LATER))
def test_keys_of_projects_to_come_are_named(key: str) -> None:
    (finding,) = read_project({"identifier": "example", key: {}}).findings
    assert f"{key!r} {LATER_SAYS}" in finding.sentence and finding.severity is not Severity.REFUSING


@pytest.mark.parametrize("key", sorted(ELEMENT_LATER))
def test_keys_of_elements_to_come_are_named(key: str) -> None:
    job = job_with(definition={"type": "pipeline", "elements": [{"identifier": "a", "job": "test", key: "x"}]})
    assert f"warning definition.elements[0].{key}: {key!r} {LATER_SAYS}" in told(job)


PLAIN = [["true"]]
FOUND: list[tuple[dict[str, Any], str]] = [
    ({"timeot": "30m"}, "warning timeot: 'timeot' is not a known key; did you mean 'timeout'?"),
    ({"retrys": 3}, "warning retrys: 'retrys' is not a known key; did you mean 'retries'?"),
    ({"zzz": 3}, "warning zzz: 'zzz' is not a known key"),
    ({7: 3}, "warning 7: '7' is not a known key"),
    ({"display_name": 7}, "blocking display_name: must be a text, is a whole number; put it in quotes"),
    ({"description": ["x"]}, "blocking description: must be a text, is a list"),
    ({"description": "x" * 10_001}, "blocking description: expected `str` of length <= 10000"),
    ({"is_enabled": "yes"}, "blocking is_enabled: must be true or false, is a text"),
    ({"timeout": 30}, "blocking timeout: must be a text or nothing, is a whole number; put it in quotes"),
    ({"timeout": "30"}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w"),
    ({"timeout": "never"}, "blocking timeout: must be a duration: 90s, 30m, 2h, 1d, 1w"),
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
    ({"definition": {"commands": [[]]}}, "blocking definition.commands[0]: expected `array` of length >= 1"),
    (
        {"definition": {"commands": [{"name": "x"}]}},
        "blocking definition.commands[0]: object missing required field `run`",
    ),
    (
        {"definition": {"commands": [{"run": "x", "tiem": 1}]}},
        "blocking definition.commands[0]: 'tiem' is not a known key",
    ),
    (
        {"definition": {"commands": [["x" * 131_073]]}},
        "blocking definition.commands[0][0]: expected `str` of length <= 131072",
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


@pytest.mark.parametrize(
    "command", ["echo ${workspace}", "awk '{print $1}'", "echo {a,b}", "echo {{workspace}}", "f() { workspace; }"]
)
def test_a_shell_text_with_braces_of_its_own_is_no_finding(command: str) -> None:
    assert job_with(definition={"commands": [command]}).findings == ()


def test_req_S7_one_bad_job_never_stops_the_others() -> None:
    good = {"identifier": "good", "definition": {"commands": [["true"]]}}
    bad = {"identifier": "bad", "definition": 7, "timeout": "x", "requires": "x"}
    reading = project_of(None, 7, "x", [], {}, {"identifier": "latest"}, {"identifier": 7}, bad, good)
    assert [job.document.identifier for job in reading.jobs] == ["bad", "good"]
    assert reading.jobs[1].findings == () and len(reading.jobs[0].blocking) == 3
    assert reading.refusing == ()
    assert {finding.place[:2] for finding in reading.findings} == {("jobs", index) for index in range(7)}


@pytest.mark.parametrize("twin", ["test", "TEST"])
def test_fault_F40_two_jobs_of_one_name_refuse_the_whole_configuration(twin: str) -> None:
    reading = project_of(CONTRACT_JOB, {**CONTRACT_JOB, "identifier": twin})
    assert reading.refusing == ("jobs[1].identifier: there are two jobs 'test'; names may not differ only in case",)


@pytest.mark.parametrize("raw", [None, 7, "x", [], {}, {"identifier": None}, {"identifier": "a b"}, {"identifier": 7}])
def test_fault_F40_a_project_without_a_name_refuses_the_whole_configuration(raw: Any) -> None:
    assert read_project(raw).refusing != ()


def test_jobs_that_are_no_list_and_too_many_jobs_are_told() -> None:
    assert told(read_project({"identifier": "a", "jobs": {"x": 1}})) == ["blocking jobs: must be a list, is a map"]
    many = [{"identifier": f"j{number}"} for number in range(1001)]
    assert told(read_project({"identifier": "a", "jobs": many})) == ["blocking jobs: has 1001 items, 1000 are allowed"]


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
        assert all(after in graph[before] for before, after in zip(cycle, cycle[1:], strict=False))


def test_a_pipeline_of_a_thousand_elements_in_a_row_is_no_deep_recursion() -> None:
    graph = {f"e{number}": [f"e{number + 1}"] for number in range(100_000)}
    assert find_cycle(graph) == []
    assert len(find_cycle({**graph, "e100000": ["e99999"]})) == 3


SCHEDULES: list[tuple[dict[str, Any], str]] = [
    ({"job": "tset"}, "there is no job 'tset' in this project; did you mean 'test'?"),
    ({"expression": None}, "say when, by exactly one of expression, every and at"),
    ({"every": "15m"}, "say when, by exactly one of expression, every and at"),
    ({"parameters": {"branch": "a b"}}, "parameters.branch does not fit the pattern"),
    ({"parameters": {"brunch": "main"}}, "parameters.brunch is not declared by the job; did you mean 'branch'?"),
    ({"overlap": "maybe"}, "must be one of skip, queue, allow"),
    ({"expresion": "x"}, "'expresion' is not a known key; did you mean 'expression'?"),
]


@pytest.mark.parametrize(("keys", "sentence"), SCHEDULES, ids=[f"{number}" for number in range(len(SCHEDULES))])
def test_req_S7_what_is_wrong_with_a_schedule_is_told(keys: dict[str, Any], sentence: str) -> None:
    nightly = {"identifier": "nightly", "job": "test", "parameters": {"branch": "main"}, "expression": "30 2 * * *"}
    other = {**nightly, "identifier": "other"}
    reading = project_of(CONTRACT_JOB, schedules=[{**nightly, **keys}, other])
    assert any(finding.sentence.startswith(sentence) for finding in reading.schedules[0].findings)
    assert len(reading.schedules[0].findings) == 2 and len(reading.schedules[1].findings) == 1
    assert all(schedule.blocking for schedule in reading.schedules)


def test_fault_F40_two_schedules_of_one_name_refuse_the_whole_configuration() -> None:
    nightly = {"identifier": "nightly", "job": "test", "expression": "30 2 * * *"}
    reading = project_of(CONTRACT_JOB, schedules=[nightly, {**nightly, "identifier": "Nightly"}])
    assert len(reading.refusing) == 1 and "there are two schedules 'nightly'" in reading.refusing[0]


# ---- whatever comes in

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(
            st.sampled_from([*JobDocument.__struct_fields__, "commands", "key", "type", 7]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(anything, st.dictionaries(st.sampled_from(JobDocument.__struct_fields__), anything, max_size=5))
def test_req_S7_no_document_can_stop_the_reading(whole: Any, keys: dict[str, Any]) -> None:
    read_project(whole)
    reading = project_of({**keys, "identifier": "odd"}, CONTRACT_JOB)
    odd = reading.jobs[0]
    assert [job.document.identifier for job in reading.jobs] == ["odd", "test"]
    assert reading.jobs[1].findings == ()
    assert documents.strict_json(documents.canonical(odd.raw), JOB_LIMIT) == odd.raw, "it can be stored"
    assert job_of(odd.raw) == odd.document, "and is read back as the same job"


# ---- schema


def test_the_json_schema_accepts_the_contracts_job_and_names_every_key() -> None:
    schema = json_schema()
    job = schema["$defs"]["JobDocument"]["properties"]
    assert set(CONTRACT_JOB) == set(job)
    assert schema["$defs"]["JobDocument"]["additionalProperties"] is False
    assert not JOB_LATER & set(job)


def test_req_S_64_every_text_and_list_of_the_schema_has_a_bound() -> None:
    unbounded = []

    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            kind = node.get("type")
            if kind == "string" and not {"maxLength", "pattern", "enum"} & set(node):
                unbounded.append(where)
            if (kind == "array" and "maxItems" not in node) or (
                kind == "object" and "properties" not in node and "maxProperties" not in node
            ):
                unbounded.append(where)
            for key, value in node.items():
                if key != "default":
                    walk(value, f"{where}.{key}")
        elif isinstance(node, list):
            for item in node:
                walk(item, where)

    walk(json_schema(), "")
    assert unbounded == []


@pytest.mark.parametrize(("text", "size"), [("500kB", 500_000), ("64MiB", 64 << 20), ("10GB", 10**10), ("1KiB", 1024)])
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_documents_are_plain_values_that_can_be_compared_and_copied() -> None:
    job = project_of(CONTRACT_JOB).jobs[0].document
    assert msgspec.convert(msgspec.to_builtins(job), JobDocument) == job
