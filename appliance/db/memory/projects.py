"""Projects, jobs and schedules, in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from appliance.db.repository import ProjectSet, ProjectStore
from appliance.model.entities import Job, Project, Schedule

_T = TypeVar("_T", Project, Job, Schedule)


def _own(document: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing with the caller's, as JSON would keep it."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return copy


class MemoryProjects(ProjectStore):
    """See :class:`~appliance.db.repository.ProjectStore`. ``_flags`` holds what was set at run time; it wins."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._projects: list[Project] = []
        self._jobs: dict[str, list[Job]] = {}
        self._schedules: dict[str, list[Schedule]] = {}
        self._definitions: dict[str, dict[str, Any]] = {}
        self._flags: dict[tuple[str, ...], bool] = {}

    def apply(self, configuration: ProjectSet, at: datetime) -> None:
        """See the interface."""
        with self._lock:
            self._projects = _in_order(configuration.projects)
            self._jobs = {one.identifier: [] for one in self._projects}
            self._schedules = {one.identifier: [] for one in self._projects}
            for job in _in_order(configuration.jobs):
                self._jobs[job.project].append(job)
                self._definitions.setdefault(job.definition_version, job.document)
            for schedule in _in_order(configuration.schedules):
                self._schedules[schedule.project].append(schedule)

    def projects(self) -> list[Project]:
        """See the interface."""
        with self._lock:
            return [self._flagged(one, (one.identifier,)) for one in self._projects]

    def jobs(self, project: str) -> list[Job]:
        """See the interface."""
        with self._lock:
            return [self._flagged(one, (project, one.identifier)) for one in self._jobs.get(project, ())]

    def job_counts(self) -> dict[str, int]:
        """See the interface."""
        with self._lock:
            return {project: len(jobs) for project, jobs in self._jobs.items() if jobs}

    def job(self, project: str, job: str) -> Job | None:
        """See the interface."""
        return next((one for one in self.jobs(project) if one.identifier == job), None)

    def schedules(self, project: str) -> list[Schedule]:
        """See the interface."""
        with self._lock:
            return list(self._schedules.get(project, ()))

    def definition(self, version: str) -> dict[str, Any] | None:
        """See the interface."""
        with self._lock:
            return self._definitions.get(version)

    def enable_project(self, project: str, is_enabled: bool) -> bool:
        """See the interface."""
        with self._lock:
            found = any(one.identifier == project for one in self._projects)
            if found:
                self._flags[(project,)] = is_enabled
            return found

    def enable_job(self, project: str, job: str, is_enabled: bool) -> bool:
        """See the interface."""
        with self._lock:
            found = self.job(project, job) is not None
            if found:
                self._flags[(project, job)] = is_enabled
            return found

    def _flagged(self, one: _T, key: tuple[str, ...]) -> _T:
        return msgspec.structs.replace(one, is_enabled=self._flags.get(key, one.is_enabled))


def _in_order(things: Sequence[_T]) -> list[_T]:
    ordered = sorted(things, key=lambda one: one.position)
    return [msgspec.structs.replace(one, document=_own(one.document)) for one in ordered]
