"""Findings that only all projects together show: elements of other projects, and pipelines that start each other."""

from __future__ import annotations

from typing import Any

from appliance.model.definitions import ProjectReading, read_project
from appliance.model.findings import Severity
from appliance.model.set_rules import check_set


def project(name: str, **pipelines: list[str]) -> ProjectReading:
    """A project with a job ``work`` and these pipelines, whose elements are ``job`` or ``project/job``."""
    jobs: list[dict[str, Any]] = [{"identifier": "work", "definition": {"commands": ["make"]}}]
    for identifier, wanted in pipelines.items():
        elements = []
        for number, target in enumerate(wanted):
            where, _, job = target.rpartition("/")
            elements.append({"identifier": f"e{number}", "job": job} | ({"project": where} if where else {}))
        jobs.append({"identifier": identifier, "definition": {"type": "pipeline", "elements": elements}})
    return read_project({"identifier": name, "jobs": jobs})


def told(*projects: ProjectReading) -> dict[str, list[str]]:
    return {"/".join(key): [str(one) for one in found] for key, found in check_set(projects).items()}


def test_pipelines_over_projects_that_end_have_no_findings() -> None:
    assert told(project("a", every=["work", "b/work", "b/every"]), project("b", every=["work", "work"])) == {}


def test_elements_name_jobs_and_projects_that_there_are() -> None:
    found = told(project("a", every=["b/wrok", "bb/work"]), project("b"))
    assert found == {
        "a/every": [
            "jobs[1].definition.elements[0].job: there is no job 'wrok' in project 'b'; did you mean 'work'?",
            "jobs[1].definition.elements[1].project: there is no project 'bb'; did you mean 'b'?",
        ]
    }


def test_each_circle_of_pipelines_is_told_once_with_its_way_and_blocks_a_job_of_it() -> None:
    projects = [project("a", one=["b/two"], own=["own"], fine=["work"]), project("b", two=["work", "a/one"])]
    assert told(*projects) == {
        "a/one": [
            "jobs[1].definition.elements: the pipelines start each other without end: a/one starts b/two starts a/one"
        ],
        "a/own": ["jobs[2].definition.elements: the pipelines start each other without end: a/own starts a/own"],
    }
    severities = {finding.severity for found in check_set(projects).values() for finding in found}
    assert severities == {Severity.BLOCKING}


def test_elements_of_a_job_that_is_no_pipeline_start_nothing() -> None:
    job = {"identifier": "j", "definition": {"commands": ["x"], "elements": [{"identifier": "e", "job": "j"}]}}
    assert told(read_project({"identifier": "p", "jobs": [job]})) == {}
