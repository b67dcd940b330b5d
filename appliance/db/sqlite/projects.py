# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Projects, jobs and schedules, in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import apsw
import msgspec

from appliance.db.repository import ProjectSet, ProjectStore
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.rows import Rows, to_json
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Job, Project, Schedule
from appliance.model.times import to_millis

_T = TypeVar("_T", Project, Job, Schedule)

_PROJECTS, _JOBS, _SCHEDULES = Rows(Project), Rows(Job), Rows(Schedule)


def _select(table: str, rows: Rows[Any]) -> str:
    return f"SELECT {rows.names}, is_enabled_set FROM {table} WHERE removed_at IS NULL"


def _upsert(table: str, rows: Rows[Any], key: str) -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in rows.columns if name not in key.split(", "))
    return (
        f"INSERT INTO {table} ({rows.names}, place) VALUES ({rows.places}, ?) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changed}, place = excluded.place, removed_at = NULL"
    )


_SELECT_PROJECTS = f"{_select('project', _PROJECTS)} ORDER BY place"
_SELECT_JOBS = f"{_select('job', _JOBS)} AND project = ? ORDER BY place"
_COUNT_JOBS = "SELECT project, count(*) FROM job WHERE removed_at IS NULL GROUP BY project"
_SELECT_JOB = f"{_select('job', _JOBS)} AND project = ? AND identifier = ?"
_SELECT_SCHEDULES = f"{_select('schedule', _SCHEDULES)} AND project = ? ORDER BY place"
_UPSERT_PROJECT = _upsert("project", _PROJECTS, "identifier")
_UPSERT_JOB = _upsert("job", _JOBS, "project, identifier")
_UPSERT_SCHEDULE = _upsert("schedule", _SCHEDULES, "project, identifier")


class SqliteProjects(ProjectStore):
    """See :class:`~appliance.db.repository.ProjectStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def apply(self, configuration: ProjectSet, at: datetime) -> None:
        """See the interface."""
        millis = to_millis(at)

        def verb(connection: apsw.Connection) -> None:
            for table in ("schedule", "job", "project"):
                connection.execute(f"UPDATE {table} SET removed_at = ? WHERE removed_at IS NULL", (millis,))
            for place, project in enumerate(_in_order(configuration.projects)):
                connection.execute(_UPSERT_PROJECT, (*_PROJECTS.to_row(project), place))
            for place, job in enumerate(_in_order(configuration.jobs)):
                connection.execute(
                    "INSERT INTO definition (version, document, first_seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (job.definition_version, to_json(job.document), millis),
                )
                connection.execute(_UPSERT_JOB, (*_JOBS.to_row(job), place))
            for place, schedule in enumerate(_in_order(configuration.schedules)):
                connection.execute(_UPSERT_SCHEDULE, (*_SCHEDULES.to_row(schedule), place))

        self._writer.do(verb)

    def projects(self) -> list[Project]:
        """See the interface."""
        return self._list(_PROJECTS, _SELECT_PROJECTS)

    def jobs(self, project: str) -> list[Job]:
        """See the interface."""
        return self._list(_JOBS, _SELECT_JOBS, project)

    def job_counts(self) -> dict[str, int]:
        """See the interface."""

        def query(connection: apsw.Connection) -> dict[str, int]:
            rows: list[Any] = connection.execute(_COUNT_JOBS).fetchall()
            return dict(rows)

        return self._readers.read(query)

    def job(self, project: str, job: str) -> Job | None:
        """See the interface."""
        return next(iter(self._list(_JOBS, _SELECT_JOB, project, job)), None)

    def schedules(self, project: str) -> list[Schedule]:
        """See the interface."""
        return self._list(_SCHEDULES, _SELECT_SCHEDULES, project)

    def definition(self, version: str) -> dict[str, Any] | None:
        """See the interface."""
        sql = "SELECT document FROM definition WHERE version = ?"
        text = self._readers.read(lambda connection: connection.execute(sql, (version,)).get)
        document: dict[str, Any] | None = None if text is None else msgspec.json.decode(text)
        return document

    def enable_project(self, project: str, is_enabled: bool) -> bool:
        """See the interface."""
        return self._set_flag("project", "identifier = ?", is_enabled, project)

    def enable_job(self, project: str, job: str, is_enabled: bool) -> bool:
        """See the interface."""
        return self._set_flag("job", "project = ? AND identifier = ?", is_enabled, project, job)

    def _set_flag(self, table: str, where: str, is_enabled: bool, *key: str) -> bool:
        sql = f"UPDATE {table} SET is_enabled_set = ? WHERE removed_at IS NULL AND {where}"

        def verb(connection: apsw.Connection) -> bool:
            connection.execute(sql, (int(is_enabled), *key))
            return connection.changes() > 0

        return self._writer.do(verb)

    def _list(self, rows: Rows[_T], sql: str, *bindings: str) -> list[_T]:
        def query(connection: apsw.Connection) -> list[_T]:
            return [_flagged(rows.from_row(row), row[-1]) for row in connection.execute(sql, bindings)]

        return self._readers.read(query)


def _in_order(things: Sequence[_T]) -> list[_T]:
    return sorted(things, key=lambda one: one.position)


def _flagged(one: _T, is_enabled_set: int | None) -> _T:
    return one if is_enabled_set is None else msgspec.structs.replace(one, is_enabled=bool(is_enabled_set))
