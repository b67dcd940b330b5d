"""Reading projects: Job Orchestra's unchanged, ours in full, and a finding for everything else (D2, D3, S7)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import documents
from appliance.model.definitions import (
    Severity,
    commands_of,
    job_of,
    read_project,
)
from appliance.model.job_rules import JOB_LIMIT
from appliance.model.schema import ELEMENT_LATER, JOB_LATER, PROJECT_LATER, JobDocument
from tests.model.definition_texts import CONTRACT_JOB, job_with, project_of, told
from tests.model.job_orchestra import EXAMPLE

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
    for name, size in (("complex_1", 8), ("complex_2", 11), ("complex_3", 9)):
        assert len(jobs[name].document.definition.elements) == size
        assert len(jobs[name].findings) == 1


def test_req_D2_a_schedule_is_read_and_says_that_it_does_not_fire_yet() -> None:
    schedule = read_project(EXAMPLE).schedules[0]
    assert (schedule.document.identifier, schedule.document.job) == ("success_nightly", "success")
    assert schedule.document.expression == "0 0 * * *"
    assert [finding.sentence for finding in schedule.findings] == ["schedules do not fire in this version"]


# ---- ours in full


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


def test_a_key_that_cannot_be_stored_is_not_run_either() -> None:
    reading = project_of({"identifier": "odd", "parameters": [{"key": "a", "default": float("inf")}]}, CONTRACT_JOB)
    odd = reading.jobs[0]
    assert "parameters" not in odd.raw and odd.document.parameters == []
    assert any("parameters" in str(finding) for finding in odd.findings)


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
