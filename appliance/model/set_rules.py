"""What the projects of a configuration must hold to together: jobs of other projects, and pipelines that meet again."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from appliance.model.definitions import JobReading, ProjectReading
from appliance.model.findings import Finding, Severity
from appliance.model.job_rules import find_cycle
from appliance.model.names import did_you_mean

Key = tuple[str, str]
"""Project and job."""


def check_set(projects: Iterable[ProjectReading]) -> dict[Key, list[Finding]]:
    """The findings that only all projects together show, of each job; places are relative to the job's project."""
    jobs = {(one.document.identifier, job.document.identifier): job for one in projects for job in one.jobs}
    found: dict[Key, list[Finding]] = {}
    for key, job in jobs.items():
        strange = _strange_jobs(job, jobs)
        if strange:
            found[key] = strange
    links = {show(key): [show(to) for to in targets(key, job)] for key, job in jobs.items()}
    by_name = {show(key): key for key in jobs}
    while cycle := find_cycle(links):
        key = by_name[cycle[0]]
        sentence = "the pipelines start each other without end: " + " starts ".join(cycle)
        place = (*jobs[key].place, "definition", "elements")
        found.setdefault(key, []).append(Finding(place, sentence, Severity.BLOCKING))
        links[cycle[0]] = []  # it never runs, so this way is closed; there may be others
    return found


def targets(key: Key, job: JobReading) -> list[Key]:
    """The jobs that a pipeline starts."""
    definition = job.document.definition
    elements = definition.elements if definition.type == "pipeline" else []
    return [(element.project or key[0], element.job) for element in elements]


def show(key: Key) -> str:
    """``website/test``."""
    return "/".join(key)


def _strange_jobs(job: JobReading, jobs: Collection[Key]) -> list[Finding]:
    """Elements that name a job of a project, where there is no such job or project."""
    if job.document.definition.type != "pipeline":
        return []
    found = []
    for index, element in enumerate(job.document.definition.elements):
        wanted = (element.project, element.job)
        if element.project is None or wanted in jobs:
            continue
        place = (*job.place, "definition", "elements", index)
        names = {project for project, _ in jobs}
        if element.project not in names:
            sentence = f"there is no project {element.project[:64]!r}{did_you_mean(element.project, names)}"
            found.append(Finding((*place, "project"), sentence))
        else:
            siblings = {name for project, name in jobs if project == element.project}
            hint = did_you_mean(element.job, siblings)
            sentence = f"there is no job {element.job[:64]!r} in project {element.project!r}{hint}"
            found.append(Finding((*place, "job"), sentence))
    return found
