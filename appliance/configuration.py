"""The configured project files as a whole: put in force, compared with what is in force, refused (D3, F40).

One change at a time: SIGHUP and ``config apply`` wait for each other. Runs are never touched, but for those that wait
for a job that is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.db.repository import ProjectSet
from appliance.model.changes import Change, changes
from appliance.model.errors import Invalid
from appliance.projects import FoundInFile, Loaded, Projects
from appliance.runs import Runs

_log = logging.getLogger(__name__)


class Applied(msgspec.Struct, frozen=True):
    """What a configuration changed, or would change. ``cancelled``: runs that waited for a job that was removed."""

    is_applied: bool
    changes: tuple[Change, ...]
    findings: tuple[FoundInFile, ...]
    cancelled: int


class Configuration:
    """The use cases of whoever administers the project files. ``paths``: files and directories of them."""

    def __init__(self, projects: Projects, runs: Runs, paths: Sequence[Path]) -> None:
        self._projects = projects
        self._runs = runs
        self._paths = tuple(paths)
        self._lock = threading.Lock()

    def load(self) -> Applied:
        """Put the files in force as a starting server does: jobs with findings are marked, and stop no other.

        Raises ConfigurationError, and changes nothing, when it cannot be told what is meant.
        """
        with self._lock:
            before = as_file(self._projects.in_force())
            loaded = self._projects.load(self._paths)
            return self._applied(before, loaded)

    def apply(self, by: str, *, with_findings: bool = False) -> Applied:
        """Put the files in force if nothing is wrong with them; ``with_findings``: as ``load`` does.

        Raises Invalid, and changes nothing. Its ``errors`` have a text for each place.
        """
        with self._lock:
            loaded = self._projects.read(self._paths)
            if refusing := loaded.refusing if with_findings else loaded.findings:
                raise refusal(refusing)
            before = as_file(self._projects.in_force())
            self._projects.put_in_force(loaded)
            applied = self._applied(before, loaded)
        _log.info("the configuration was applied by %s; %d changes", by, len(applied.changes))
        return applied

    def preview(self) -> Applied:
        """What ``apply`` would change; the findings do not keep it from telling. Raises Invalid for unusable files."""
        with self._lock:
            loaded = self._projects.read(self._paths)
            if loaded.refusing:
                raise refusal(loaded.refusing)
            before = as_file(self._projects.in_force())
        return Applied(False, tuple(changes(before, as_file(loaded.configuration))), loaded.findings, 0)

    def in_force(self) -> dict[str, Any]:
        """All that is in force, as one project file. Flags that were set at run time are no part of it."""
        with self._lock:
            return as_file(self._projects.in_force())

    def _applied(self, before: dict[str, Any], loaded: Loaded) -> Applied:
        cancelled = self._runs.cancel_removed()
        return Applied(True, tuple(changes(before, as_file(loaded.configuration))), loaded.findings, cancelled)


def as_file(configuration: ProjectSet) -> dict[str, Any]:
    """A configuration as the one project file that would bring it about."""
    return {
        "projects": [
            {
                **project.document,
                "jobs": [job.document for job in configuration.jobs if job.project == project.identifier],
                "schedules": [one.document for one in configuration.schedules if one.project == project.identifier],
            }
            for project in configuration.projects
        ]
    }


def refusal(findings: Sequence[FoundInFile]) -> Invalid:
    """Why nothing was changed: ``errors`` maps each place, as ``file:line``, to what is wrong there."""
    errors: dict[str, str] = {}
    for finding in findings:
        place = f"{finding.file}:{finding.line}" if finding.line else finding.file
        sentence = ": ".join(part for part in (finding.subject, finding.sentence) if part)
        errors[place] = f"{errors[place]}; {sentence}" if place in errors else sentence
    count = f"{len(findings)} things are wrong" if len(findings) > 1 else "something is wrong"
    return Invalid(f"{count} with the project files, and nothing was changed", errors)
