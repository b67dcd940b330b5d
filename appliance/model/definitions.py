"""Reading projects: what can be used is used, and everything else becomes a finding.

A finding about one job or schedule never stops the others (reliability.md section 6, S7). Its severity says what
follows: the job runs all the same, the job cannot run, or the whole configuration must not be put in force.
"""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.model import documents, schema
from appliance.model.errors import Invalid, Malformed
from appliance.model.findings import Finding, Place, Severity, Sink
from appliance.model.job_rules import LISTS, check_job
from appliance.model.names import check_name, did_you_mean, taken
from appliance.model.parameters import resolve
from appliance.model.reading import take, take_list
from appliance.model.run_state import IMPORTED
from appliance.model.schema import (
    After,
    Command,
    Definition,
    Element,
    JobDocument,
    Parameter,
    ProjectDocument,
    ScheduleDocument,
    json_schema,
)
from appliance.model.times import parse_duration

__all__ = [
    "Finding",
    "JobDocument",
    "JobReading",
    "Parameter",
    "ProjectDocument",
    "ProjectReading",
    "ScheduleDocument",
    "ScheduleReading",
    "Severity",
    "commands_of",
    "job_of",
    "json_schema",
    "read_project",
]

ITEMS = 1000  # jobs, schedules or elements in one place


class JobReading(msgspec.Struct, frozen=True):
    """A job that was read. ``raw``: as it stands in the file, as JSON values; its digest is the definition version.

    ``place``: where it stands in its project.
    """

    document: JobDocument
    raw: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    place: Place = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """Why the job cannot run. Empty: it can."""
        return _sentences(self.findings, Severity.BLOCKING)


class ScheduleReading(msgspec.Struct, frozen=True):
    """A schedule that was read."""

    document: ScheduleDocument
    raw: dict[str, Any]
    findings: tuple[Finding, ...] = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """Why the schedule cannot fire. Empty: it can."""
        return _sentences(self.findings, Severity.BLOCKING)


class ProjectReading(msgspec.Struct, frozen=True):
    """A project that was read. ``raw``: its part without jobs and schedules. ``findings``: of the project itself."""

    document: ProjectDocument
    raw: dict[str, Any]
    jobs: tuple[JobReading, ...] = ()
    schedules: tuple[ScheduleReading, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def refusing(self) -> tuple[str, ...]:
        """Why the whole configuration must not be put in force. Empty: it may."""
        return _sentences(self.all_findings, Severity.REFUSING)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Of the project, its jobs and its schedules, in this order."""
        of_parts = [part.findings for part in self.jobs] + [part.findings for part in self.schedules]
        return sum(of_parts, self.findings)


def read_project(raw: Any) -> ProjectReading:
    """Read one entry of ``projects``. Never raises; what is wrong is in the findings.

    Places of findings are relative to the entry, as ``("jobs", 2, "timeout")``.
    """
    sink = Sink()
    own = raw
    if isinstance(raw, dict):
        own = {key: value for key, value in raw.items() if key not in ("jobs", "schedules")}
    document = take(ProjectDocument, own, (), sink, later=schema.PROJECT_LATER)
    if document is None or not _is_name("project", document.identifier, ("identifier",), sink):
        # Whose jobs these are is not known: whatever is wrong here refuses the whole.
        refusing = [msgspec.structs.replace(finding, severity=Severity.REFUSING) for finding in sink.findings]
        return ProjectReading(ProjectDocument(""), {}, findings=tuple(refusing))
    jobs = _jobs(raw.get("jobs"), sink)
    by_name = {job.document.identifier: job.document for job in jobs}
    schedules = _schedules(raw.get("schedules"), by_name, sink)
    return ProjectReading(
        msgspec.structs.replace(
            document, jobs=[job.document for job in jobs], schedules=[schedule.document for schedule in schedules]
        ),
        _plain(own),
        tuple(jobs),
        tuple(schedules),
        tuple(sink.findings),
    )


def job_of(document: dict[str, Any]) -> JobDocument:
    """A stored job document as a Struct. What it says that cannot be read is left out, as when it was loaded."""
    return _read_job(document, (), Sink()) or JobDocument("")


def commands_of(definition: Definition) -> dict[str, list[Any]]:
    """The three lists of commands as a worker gets them; durations become seconds.

    A command is a text for the shell, a list of arguments to fill in, or ``{"run", "name"?, "timeout"?}``.
    """
    return {name: [_command(command) for command in getattr(definition, name)] for name in LISTS}


def _command(command: str | list[str] | Command) -> Any:
    if not isinstance(command, Command):
        return command
    said: dict[str, Any] = {"run": command.run}
    if command.name is not None:
        said["name"] = command.name
    if command.timeout is not None:
        said["timeout"] = parse_duration(command.timeout)
    return said


def _jobs(raw: Any, sink: Sink) -> list[JobReading]:
    read: dict[str, tuple[JobDocument, dict[str, Any], Place, Sink]] = {}
    for index, item in enumerate(_items(raw, ("jobs",), sink)):
        place: Place = ("jobs", index)
        own = Sink()
        document = _read_job(item, place, own)
        if document is None or not _is_name("job", document.identifier, (*place, "identifier"), own):
            sink.findings += own.findings  # what has no name cannot be kept; the other jobs are
        elif (other := taken(read, document.identifier)) is not None:
            sink.refuse((*place, "identifier"), f"there are two jobs {other!r}; names may not differ only in case")
        else:
            clean = _plain(item)
            if clean.keys() != item.keys():  # what cannot be stored is not run either
                document = job_of(clean)
            read[document.identifier] = (document, clean, place, own)
    for document, clean, place, own in read.values():
        check_job(document, clean, read, place, own)
    return [JobReading(document, clean, tuple(own.findings), place) for document, clean, place, own in read.values()]


def _read_job(raw: Any, place: Place, sink: Sink) -> JobDocument | None:
    if isinstance(raw, dict) and raw.get("definition") is None:
        sink.block(place, "'definition' is missing: say what the job does")
    readers = {"definition": _definition, "parameters": take_list(_parameter, 100)}
    return take(JobDocument, raw, place, sink, readers=readers, later=schema.JOB_LATER)


def _definition(raw: Any, place: Place, sink: Sink) -> Definition:
    return take(Definition, raw, place, sink, readers={"elements": take_list(_element, ITEMS)}) or Definition()


def _parameter(raw: Any, place: Place, sink: Sink) -> Parameter | None:
    return take(Parameter, raw, place, sink)


def _element(raw: Any, place: Place, sink: Sink) -> Element | None:
    return take(Element, raw, place, sink, readers={"after": take_list(_after, ITEMS)}, later=schema.ELEMENT_LATER)


def _after(raw: Any, place: Place, sink: Sink) -> After | None:
    link = take(After, raw, place, sink)
    return link and After(link.element, [str(IMPORTED.get(status, status)) for status in link.status])


def _schedules(raw: Any, jobs: dict[str, JobDocument], sink: Sink) -> list[ScheduleReading]:
    found: list[ScheduleReading] = []
    for index, item in enumerate(_items(raw, ("schedules",), sink)):
        place: Place = ("schedules", index)
        own = Sink()
        document = take(ScheduleDocument, item, place, own)
        if document is None or not _is_name("schedule", document.identifier, (*place, "identifier"), own):
            sink.findings += own.findings
            continue
        other = taken((schedule.document.identifier for schedule in found), document.identifier)
        if other is not None:
            sink.refuse((*place, "identifier"), f"there are two schedules {other!r}; names may not differ only in case")
            continue
        _check_schedule(document, jobs, place, own)
        found.append(ScheduleReading(document, _plain(item), tuple(own.findings)))
    return found


def _check_schedule(schedule: ScheduleDocument, jobs: dict[str, JobDocument], place: Place, sink: Sink) -> None:
    sink.block(place, "schedules do not fire in this version")
    said = [name for name in ("expression", "every", "at") if getattr(schedule, name) is not None]
    if len(said) != 1:
        sink.block(place, "say when, by exactly one of expression, every and at")
    if schedule.job not in jobs:
        hint = did_you_mean(schedule.job, jobs)
        sink.block((*place, "job"), f"there is no job {schedule.job!r} in this project{hint}")
        return
    try:
        resolve(jobs[schedule.job].parameters, schedule.parameters)
    except Invalid as error:
        sink.block((*place, "parameters"), str(error))


def _items(raw: Any, place: Place, sink: Sink) -> list[Any]:
    if raw is None:
        return []
    items: list[Any] = take_list(lambda item, _place, _sink: {} if item is None else item, ITEMS)(raw, place, sink)
    return items


def _is_name(kind: str, name: str, place: Place, sink: Sink) -> bool:
    try:
        check_name(kind, name)
    except Invalid as error:
        sink.block(place, str(error))
        return False
    return True


def _plain(raw: dict[str, Any]) -> dict[str, Any]:
    """The document as JSON values, without the keys that have none (each of them has a finding)."""
    clean: dict[str, Any] = {}
    for key, value in raw.items():
        try:
            clean |= documents.plain({key: value})
        except Malformed:
            continue
    return clean


def _sentences(findings: tuple[Finding, ...], severity: Severity) -> tuple[str, ...]:
    return tuple(str(finding) for finding in findings if finding.severity is severity)
