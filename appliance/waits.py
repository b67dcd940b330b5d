"""Why a pending run waits, in a sentence: what keeps it from a worker now (W2; promise 7 of the product).

What the dispatcher would find if it looked now, from what everybody may ask: flags, workers, their slots and what
``model.matching`` says. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.job_versions import JobVersions
from appliance.model import matching
from appliance.model.definitions import JobDocument
from appliance.model.entities import Run
from appliance.model.run_state import Status
from appliance.model.times import show_duration
from appliance.workers import Workers, WorkerState

WORKERS = 1000  # looked at; as many as one server is made for
NAMED = 3  # workers that a sentence names

Match = Callable[[JobDocument, WorkerState], list[str]]


def match(document: JobDocument, state: WorkerState) -> list[str]:
    """Why this worker cannot have runs of this job; empty = it can. To be replaced with the dispatcher's (X14)."""
    return matching.unmet(document.requires, document.properties, state.properties)


class Waits:
    """The use case: the reasons of runs that wait, and of those of which nothing is heard."""

    def __init__(
        self,
        repository: Repository,
        workers: Workers,
        versions: JobVersions,
        clock: Clock,
        match: Match = match,
        holds: Callable[[str], bool] = lambda _: False,
        hold: Callable[[str], str] = lambda _: "",
    ) -> None:
        """``holds``: the run is given to nobody after a restore; ``hold`` says why, of all such runs the same (F24)."""
        self._clock = clock
        self._projects = repository.projects
        self._workers = workers
        self._versions = versions
        self._match = match
        self._holds = holds
        self._hold = hold

    def reasons(self, runs: Iterable[Run]) -> dict[str, str]:
        """By the id of each run that is pending, or whose worker is silent: a sentence about it.

        Workers are looked at once, jobs once each.
        """
        runs = list(runs)
        silent = self._silent([run for run in runs if run.status in (Status.ASSIGNED, Status.RUNNING)])
        pending = [run for run in runs if run.status is Status.PENDING]
        if not pending:
            return silent
        states = self._workers.list(None, WORKERS)
        disabled = {one.identifier for one in self._projects.projects() if not one.is_enabled}
        said: dict[tuple[str, str, str], str] = {}
        for run in pending:
            key = (run.project, run.job, run.definition_version)
            if key not in said:
                said[key] = self._reason(run, states, run.project in disabled)
        held = {run.id for run in pending if self._holds(run.id)}
        why = self._hold(next(iter(held))) if held else ""
        reasons = {run.id: said[run.project, run.job, run.definition_version] for run in pending}
        return silent | reasons | (dict.fromkeys(held, why) if why else {})

    def _silent(self, runs: Sequence[Run]) -> dict[str, str]:
        """Runs whose worker is not connected: they go on there, and nobody hears of them (F10)."""
        since = {
            worker_id: self._workers.silent_since(self._workers.get(worker_id))
            for worker_id in {run.worker_id for run in runs if run.worker_id is not None}
            if not self._workers.presence.is_connected(worker_id)
        }
        said = {}
        for run in runs:
            if run.worker_id in since:
                at = since[run.worker_id]
                seconds = 0.0 if at is None else max(0.0, (self._clock.now() - at).total_seconds())
                for_ = f"for {show_duration(int(seconds))}" if seconds >= 1 else "for a moment"
                said[run.id] = f"{run.worker} has been silent {for_}; the run still counts as {run.status}"
        return said

    def _reason(self, run: Run, states: Sequence[WorkerState], is_project_disabled: bool) -> str:
        job = self._projects.job(run.project, run.job)
        if is_project_disabled:
            return "waits until its project is enabled"
        if job is not None and not job.is_enabled:
            return "waits until its job is enabled"
        if not states:
            return "waits for a worker: there is none yet"
        try:
            document = self._versions.get(run.definition_version)
        except LookupError:
            return "waits: its definition cannot be read"
        connected = [state for state in states if state.is_active]
        if not connected:
            one = states[0].worker.name
            who = f"{one} is not" if len(states) == 1 else f"none of {len(states)} is"
            return f"waits for a worker: {who} connected"
        unmet = {state.worker.name: self._match(document, state) for state in connected}
        fitting = [state for state in connected if not unmet[state.worker.name]]
        if not fitting:
            first = connected[0].worker.name
            who = f"{first} does not fit" if len(connected) == 1 else f"none of {len(connected)} connected ones fits"
            example = unmet[first][0] if len(connected) == 1 else f"{first}: {unmet[first][0]}"
            return f"waits for a worker: {who} ({example})"
        open_ = [state for state in fitting if state.worker.takes_work]
        if not open_:
            verb = "takes" if len(fitting) == 1 else "take"
            return f"waits for a worker: {_names(fitting)} {verb} nothing new (disabled or draining)"
        if all(state.used >= state.worker.slots for state in open_):
            slots = sum(state.worker.slots for state in open_)
            taken = "the only slot" if slots == 1 else f"all {slots} slots"
            return f"waits for a free slot: {taken} of {_names(open_)} {'is' if slots == 1 else 'are'} in use"
        return "waits for its turn"


def _names(states: Sequence[WorkerState]) -> str:
    names = [state.worker.name for state in states]
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
