"""Projects, jobs and schedules: loaded from files as one set, looked up, switched on and off (D1-D4).

A set is put in force whole or not at all. Files that cannot be read, or that leave open what is meant, refuse the set
and the old one stays (F40). A finding about one job or schedule stays with it and never stops the others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.clock import Clock
from appliance.db.repository import ProjectSet, Repository, RunFilter
from appliance.events import Events, ProjectsChanged
from appliance.model import definitions, documents
from appliance.model.changes import KeyChange, key_changes
from appliance.model.entities import Job, Project, Run, Schedule
from appliance.model.errors import NotFound
from appliance.model.findings import Finding, Severity, show_place
from appliance.model.names import taken
from appliance.model.set_rules import Key, check_set
from appliance.project_files import RawProject, read_files
from appliance.settings_text import ConfigurationError

_log = logging.getLogger(__name__)


class FoundInFile(msgspec.Struct, frozen=True):
    """One thing that is wrong with the configuration. ``line`` is 0 when no line is known.

    ``subject`` is the project, or ``project/job``; "" for a file. ``severity``: what follows from it.
    """

    file: str
    line: int
    subject: str
    sentence: str
    severity: Severity

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.subject, self.sentence) if part)


class Loaded(msgspec.Struct, frozen=True):
    """A configuration that was read: the set, and all findings in the order of the files."""

    configuration: ProjectSet
    findings: tuple[FoundInFile, ...]

    @property
    def refusing(self) -> tuple[FoundInFile, ...]:
        """The findings that keep the set from being put in force. Empty: it may be."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSING)


class RanWith(msgspec.Struct, frozen=True):
    """The definition a run was triggered with, and what became of the job since.

    ``in_force``: the version of the job now, None when it was removed. ``changed``: what differs in it.
    """

    version: str
    document: dict[str, Any]
    in_force: str | None
    changed: tuple[KeyChange, ...]


def definition_version(document: dict[str, object]) -> str:
    """Names a version of a job: 16 hex digits of the SHA-256 of its document in canonical JSON."""
    return hashlib.sha256(documents.canonical(document).encode()).hexdigest()[:16]


class Projects:
    """The use cases of the configuration."""

    def __init__(self, repository: Repository, clock: Clock, events: Events) -> None:
        self._store = repository.projects
        self._runs = repository.runs
        self._clock = clock
        self._events = events

    def read(self, paths: Iterable[Path]) -> Loaded:
        """Read project files and directories of them, without putting anything in force (``config check``)."""
        raws, unusable = read_files(paths)
        findings = [FoundInFile(one.file, one.line, "", one.sentence, Severity.REFUSING) for one in unusable]
        readings = [(raw, definitions.read_project(raw.document)) for raw in raws]
        reader = _Reader(findings, check_set(reading for _, reading in readings))
        for raw, reading in readings:
            reader.add(raw, reading)
        return Loaded(ProjectSet(tuple(reader.projects), tuple(reader.jobs), tuple(reader.schedules)), tuple(findings))

    def load(self, paths: Iterable[Path]) -> Loaded:
        """Read the files and put them in force in one transaction; flags set at run time survive.

        Raises ConfigurationError, and changes nothing, when a file cannot be read or is ambiguous. Other findings are
        in the answer, and stay with their jobs.
        """
        loaded = self.read(paths)
        self.put_in_force(loaded)
        return loaded

    def put_in_force(self, loaded: Loaded) -> None:
        """Make what was read the configuration; else as ``load``."""
        for finding in loaded.findings:
            _log.warning("configuration: %s", finding)
        if loaded.refusing:
            first = loaded.refusing[0]
            more = f" (and {len(loaded.refusing) - 1} more)" if len(loaded.refusing) > 1 else ""
            raise ConfigurationError(first.file, first.line, first.subject, first.sentence + more)
        self._store.apply(loaded.configuration, self._clock.now())
        self._events.publish(ProjectsChanged())

    def in_force(self) -> ProjectSet:
        """The whole configuration as it is now."""
        projects = self._store.projects()
        return ProjectSet(
            tuple(projects),
            tuple(job for one in projects for job in self._store.jobs(one.identifier)),
            tuple(schedule for one in projects for schedule in self._store.schedules(one.identifier)),
        )

    def is_known(self, project: str) -> bool:
        """Whether the project is in force, or was removed and left runs behind (D3)."""
        is_in_force = any(one.identifier == project for one in self._store.projects())
        return is_in_force or bool(self._runs.find(RunFilter(project=(project,)), None, 1))

    def ran_with(self, run: Run) -> RanWith:
        """The definition of a run, also when its job has changed or is gone (D3). Raises NotFound."""
        document = self._store.definition(run.definition_version)
        if document is None:
            raise NotFound(f"the definition {run.definition_version} of this run is not known")
        now = self._store.job(run.project, run.job)
        changed = () if now is None else tuple(key_changes(document, now.document))
        return RanWith(run.definition_version, document, None if now is None else now.definition_version, changed)

    def projects(self, visible: frozenset[str] | None = None) -> list[Project]:
        """All in force that ``visible`` allows (None = all), in the order of the files."""
        return [one for one in self._store.projects() if visible is None or one.identifier in visible]

    def project(self, project: str) -> Project:
        """One that is in force. Raises NotFound."""
        for one in self._store.projects():
            if one.identifier == project:
                return one
        raise _no_project(project)

    def jobs(self, project: str) -> list[Job]:
        """All in force of a project, in the order of its file. Raises NotFound."""
        self.project(project)
        return self._store.jobs(project)

    def job_counts(self) -> dict[str, int]:
        """How many jobs in force each project has; one without any is left out."""
        return self._store.job_counts()

    def job(self, project: str, job: str) -> Job:
        """One that is in force. Raises NotFound."""
        found = self._store.job(project, job)
        if found is None:
            raise _no_job(project, job)
        return found

    def schedules(self, project: str) -> list[Schedule]:
        """All in force of a project, in the order of its file. Raises NotFound."""
        self.project(project)
        return self._store.schedules(project)

    def enable_project(self, project: str, is_enabled: bool, by: str) -> Project:
        """Switch a project on or off; this survives every reload (D2). Raises NotFound."""
        if not self._store.enable_project(project, is_enabled):
            raise _no_project(project)
        _log.info("project %s was %s by %s", project, _switched(is_enabled), by)
        self._events.publish(ProjectsChanged())
        return self.project(project)

    def enable_job(self, project: str, job: str, is_enabled: bool, by: str) -> Job:
        """Switch a job on or off; this survives every reload (D2). Raises NotFound."""
        if not self._store.enable_job(project, job, is_enabled):
            raise _no_job(project, job)
        _log.info("job %s/%s was %s by %s", project, job, _switched(is_enabled), by)
        self._events.publish(ProjectsChanged())
        return self.job(project, job)


class _Reader:
    """Collects the set from one entry of ``projects`` after the other."""

    def __init__(self, findings: list[FoundInFile], together: Mapping[Key, list[Finding]]) -> None:
        """``together``: what is wrong with jobs in the light of all projects."""
        self.projects: list[Project] = []
        self.jobs: list[Job] = []
        self.schedules: list[Schedule] = []
        self._findings = findings
        self._together = together
        self._places: dict[str, str] = {}  # of each project, for the finding about its double

    def add(self, raw: RawProject, reading: definitions.ProjectReading) -> None:
        """Take one entry."""
        name = reading.document.identifier
        self._note(raw, name, reading.findings)
        place = f"{raw.file}:{raw.line(('identifier',))}"
        other = taken(self._places, name) if name else None
        if other is not None:
            sentence = (
                f"there is a project {other!r} already, in {self._places[other]}; names may not differ only in case"
            )
            self._findings.append(FoundInFile(raw.file, raw.line(("identifier",)), name, sentence, Severity.REFUSING))
            return
        self._places[name] = place
        self.projects.append(
            Project(
                identifier=name,
                display_name=reading.document.display_name or name,
                document=reading.raw,
                is_enabled=reading.document.is_enabled,
                position=len(self.projects),
            )
        )
        for job in reading.jobs:
            more = self._together.get((name, job.document.identifier), ())
            job = msgspec.structs.replace(job, findings=(*job.findings, *more))
            self._note(raw, f"{name}/{job.document.identifier}", job.findings)
            self.jobs.append(self._job(name, job))
        for schedule in reading.schedules:
            self._note(raw, f"{name}/{schedule.document.identifier}", schedule.findings)
            self.schedules.append(
                Schedule(
                    project=name,
                    identifier=schedule.document.identifier,
                    display_name=schedule.document.display_name or schedule.document.identifier,
                    document=schedule.raw,
                    is_enabled=schedule.document.is_enabled,
                    findings=_within(schedule.findings),
                    position=len(self.schedules),
                )
            )

    def _job(self, project: str, job: definitions.JobReading) -> Job:
        return Job(
            project=project,
            identifier=job.document.identifier,
            display_name=job.document.display_name or job.document.identifier,
            description=job.document.description,
            document=job.raw,
            definition_version=definition_version(job.raw),
            is_enabled=job.document.is_enabled,
            findings=_within(job.findings),
            blocking=_within(one for one in job.findings if one.severity is not Severity.WARNING),
            position=len(self.jobs),
        )

    def _note(self, raw: RawProject, subject: str, findings: Iterable[Finding]) -> None:
        for finding in findings:
            where = show_place(finding.place)
            sentence = f"{where}: {finding.sentence}" if where else finding.sentence
            self._findings.append(FoundInFile(raw.file, raw.line(finding.place), subject, sentence, finding.severity))


def _within(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Findings as they are shown with their job or schedule: places are seen from there."""
    return tuple(str(msgspec.structs.replace(finding, place=finding.place[2:])) for finding in findings)


def _switched(is_enabled: bool) -> str:
    return "enabled" if is_enabled else "disabled"


def _no_project(project: str) -> NotFound:
    return NotFound(f"there is no project {project!r}")


def _no_job(project: str, job: str) -> NotFound:
    return NotFound(f"there is no job {job!r} in project {project!r}")
