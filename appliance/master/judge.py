"""What the dispatcher decides by: whether runs of a job may be given to anybody now, and which workers fit them.

Dispatcher and explanation ask the same methods, so that what is told is what was decided (W2).
"""

from __future__ import annotations

import threading

from appliance.db.repository import Repository
from appliance.job_versions import JobVersions
from appliance.master.roster import Seat
from appliance.model.definitions import JobDocument
from appliance.model.errors import ApplianceError, Unavailable
from appliance.model.fitting import Applicant, Match
from appliance.model.groups import Group
from appliance.model.matching import Condition
from appliance.model.waiting import Candidate, Stand, Wait, Why

REMEMBERED = 100  # job versions of which a seat keeps whether it fits

_OFF = {
    Why.PROJECT_DISABLED: Wait(Why.PROJECT_DISABLED, "waits until its project is enabled"),
    Why.JOB_DISABLED: Wait(Why.JOB_DISABLED, "waits until its job is enabled"),
    Why.JOB_REMOVED: Wait(Why.JOB_REMOVED, "waits: its job was removed from the project files"),
}


class Judge:
    """Every method may be called from any thread."""

    def __init__(self, repository: Repository, versions: JobVersions, match: Match) -> None:
        self._projects = repository.projects
        self._versions = versions
        self._match = match
        self._lock = threading.Lock()
        self._off: dict[tuple[str, str], Wait | None] = {}
        self._configurations = 0  # how often what _off holds was forgotten

    def forget(self) -> None:
        """The configuration, or a flag of it, is another one now."""
        with self._lock:
            self._off.clear()
            self._configurations += 1

    def off(self, group: Group) -> Wait | None:
        """Why runs of a job are given to nobody, by the job itself (D4); None: they may be."""
        key = group[:2]
        with self._lock:
            if key in self._off:
                return self._off[key]
            seen = self._configurations
        found = self._look(*key)
        with self._lock:
            if seen == self._configurations:  # else it changed while we looked, and this may be old
                self._off[key] = found
        return found

    def _look(self, project_name: str, job_name: str) -> Wait | None:
        project = next((one for one in self._projects.projects() if one.identifier == project_name), None)
        job = self._projects.job(project_name, job_name)
        if project is None or job is None:
            return _OFF[Why.JOB_REMOVED]
        if not project.is_enabled:
            return _OFF[Why.PROJECT_DISABLED]
        return None if job.is_enabled else _OFF[Why.JOB_DISABLED]

    def document(self, group: Group) -> JobDocument | Wait:
        """What the runs of a group execute, or why they wait. Raises Unavailable."""
        try:
            return self._versions.get(group[2])
        except Unavailable:
            raise
        except (LookupError, ApplianceError) as error:
            return Wait(Why.UNREADABLE, f"waits: its definition cannot be read: {error}")

    def fits(self, version: str, document: JobDocument, seat: Seat) -> bool:
        """Whether the worker may have runs of the job, its slots and flags aside."""
        known = seat.fits.get(version)
        if known is None:
            if len(seat.fits) >= REMEMBERED:
                seat.fits.clear()
            known = seat.fits[version] = all(one.is_met for one in self._match(document, seat))
        return known

    def conditions(self, document: JobDocument, worker: Applicant) -> tuple[Condition, ...]:
        """All conditions of the job, held against a worker: it fits if all are met."""
        return tuple(self._match(document, worker))


def candidate(seat: Seat, conditions: tuple[Condition, ...] = (), *, fits: bool = True) -> Candidate:
    """A connected worker as it stands to a run now."""
    stand = seat.stand if fits else Stand.UNFIT
    return Candidate(
        name=seat.name,
        stand=stand,
        slots=seat.slots,
        used=len(seat.slot_of),
        note=seat.declined_why if stand is Stand.DECLINED else "",
        conditions=conditions,
    )
