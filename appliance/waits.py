"""Why a run waits, as the dispatcher sees it: for lists, for one run with every worker, and the queue as a whole (W2;
promise 7 of the product).

What the dispatcher knows only of connected workers is added here for those that are away. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.model import waiting
from appliance.model.definitions import JobDocument
from appliance.model.entities import Run
from appliance.model.fitting import Applicant
from appliance.model.groups import Group, Key, group_of
from appliance.model.matching import Condition
from appliance.model.run_state import TERMINAL, Status
from appliance.model.times import show_duration, show_time
from appliance.model.waiting import Candidate, Need, Place, Stand, Wait, Why
from appliance.model.worker_states import WorkerState
from appliance.recoveries import Recoveries
from appliance.workers import Workers

WORKERS = 1000  # looked at that are away; as many as one server is made for


class Decider(Protocol):
    """What is asked of the dispatcher: ``master.outlook.Outlook``."""

    @property
    def look(self) -> Callable[[Group], Wait | JobDocument]: ...
    def now(self) -> Callable[[Group, JobDocument], list[Candidate]]: ...
    def connected(self, group: Group, document: JobDocument) -> list[Candidate]: ...
    def conditions(self, document: JobDocument, worker: Applicant) -> tuple[Condition, ...]: ...
    def places(self, run_ids: Collection[str]) -> dict[str, Place]: ...
    def sizes(self, *, held: bool) -> dict[Group, int]: ...
    def after(self, key: Key | None, limit: int, groups: Container[Group], held: Container[Group]) -> list[Key]: ...


class Absent(msgspec.Struct, frozen=True):
    """A worker that is not connected, as matching looks at it."""

    name: str
    properties: Mapping[str, Any]


class Explanation(msgspec.Struct, frozen=True):
    """All there is to say about why one run waits. ``wait`` is None for a run that waits for nothing, of which
    ``sentence`` tells what it does. ``needs``: the conditions of its job, and how many of ``candidates`` meet each.
    ``candidates``: all workers, those that come nearest first; empty when no worker is looked for."""

    sentence: str
    wait: Wait | None = None
    needs: tuple[Need, ...] = ()
    candidates: tuple[Candidate, ...] = ()


class QueueFilter(msgspec.Struct, frozen=True):
    """Which runs of the queue are shown; several values of one field are alternatives, none is any. ``visible``: the
    projects that the reader may see, None for all."""

    visible: frozenset[str] | None = None
    project: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    why: tuple[Why, ...] = ()

    def shows(self, group: Group) -> bool:
        """Whether it shows runs of this group, the reason aside."""
        return (
            (self.visible is None or group[0] in self.visible)
            and (not self.project or group[0] in self.project)
            and (not self.job or group[1] in self.job)
        )

    def shows_why(self, why: Why) -> bool:
        """Whether it shows runs that wait for this reason."""
        return not self.why or why in self.why


class Queue(msgspec.Struct, frozen=True):
    """A part of the queue, in the order in which runs are given out. ``counts``: how many runs wait for each reason, of
    those that the filter shows whatever their reason. ``after``: where the next part begins, None at the end."""

    rows: tuple[tuple[Run, Wait], ...]
    counts: Mapping[Why, int]
    after: Key | None


class Waits:
    """The use case: the reasons of runs that wait, and of those of which nothing is heard."""

    def __init__(
        self,
        repository: Repository,
        workers: Workers,
        clock: Clock,
        decider: Decider,
        recoveries: Recoveries,
    ) -> None:
        self._runs = repository.runs
        self._workers = workers
        self._clock = clock
        self._decider = decider
        self._recoveries = recoveries

    def reasons(self, runs: Iterable[Run]) -> dict[str, str]:
        """By the id of each run that is pending, or whose worker is silent: a sentence about it."""
        return {run_id: wait.sentence for run_id, wait in self.of(runs).items()}

    def of(self, runs: Iterable[Run]) -> dict[str, Wait]:
        """By the id of each run that is pending, or whose worker is silent: why. Jobs, workers are looked at once."""
        runs = list(runs)
        found = self._silent([run for run in runs if run.status in (Status.ASSIGNED, Status.RUNNING)])
        pending = [run for run in runs if run.status is Status.PENDING]
        if pending:
            found |= self._pending(pending, _Groups(self._decider, self._workers))
        return found

    def _pending(self, runs: Sequence[Run], groups: _Groups) -> dict[str, Wait]:
        held = {run.id for run in runs if self._recoveries.holds(run.id)}
        why = self._recoveries.why(next(iter(held))) if held else ""  # of all the same (F24)
        if not why:
            held.clear()  # it has ended meanwhile
        found = {run_id: Wait(Why.RESTORED, why) for run_id in held}
        others = [run for run in runs if run.id not in held]
        places = self._decider.places([run.id for run in others])
        for run in others:
            found[run.id] = msgspec.structs.replace(groups.wait(group_of(run)), place=places.get(run.id))
        return found

    def _silent(self, runs: Sequence[Run]) -> dict[str, Wait]:
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
                sentence = f"{run.worker} has been silent {for_}; the run still counts as {run.status}"
                said[run.id] = Wait(Why.SILENT, sentence)
        return said

    # ---- one run

    def explain(self, run: Run) -> Explanation:
        """Why a run waits, with how every worker stands to it."""
        groups = _Groups(self._decider, self._workers)
        wait = self._silent([run]).get(run.id)
        if run.status is Status.PENDING:
            wait = self._pending([run], groups)[run.id]
        if wait is None:
            return Explanation(_what_it_does(run))
        document = self._decider.look(group_of(run))
        if wait.why in (Why.RESTORED, Why.SILENT) or isinstance(document, Wait):
            return Explanation(wait.sentence, wait)
        candidates = [*self._decider.connected(group_of(run), document), *groups.absent(document)]
        ranked = tuple(sorted(candidates, key=lambda one: one.rank))
        return Explanation(wait.sentence, wait, waiting.needs_of(ranked), ranked)

    # ---- the queue

    def queue(self, where: QueueFilter, after: Key | None, limit: int) -> Queue:
        """A part of the queue: at most ``limit`` runs behind ``after``."""
        groups = _Groups(self._decider, self._workers)
        sizes = {group: size for group, size in self._decider.sizes(held=False).items() if where.shows(group)}
        held = {group: size for group, size in self._decider.sizes(held=True).items() if where.shows(group)}
        counts: dict[Why, int] = {Why.RESTORED: sum(held.values())} if held else {}
        shown = set()
        for group, size in sizes.items():
            why = groups.wait(group).why
            counts[why] = counts.get(why, 0) + size
            if where.shows_why(why):
                shown.add(group)
        keys = self._decider.after(after, limit + 1, shown, held if where.shows_why(Why.RESTORED) else ())
        found = [run for _, run_id in keys[:limit] if (run := self._runs.get(run_id)) is not None]
        pending = [run for run in found if run.status is Status.PENDING]
        waits = self._pending(pending, groups)
        return Queue(
            rows=tuple((run, waits[run.id]) for run in pending),
            counts={why: counts[why] for why in Why if why in counts},
            after=keys[limit - 1] if len(keys) > limit else None,
        )


class _Groups:
    """What was found about groups of runs, for one answer: each group, and who is away, is looked at once."""

    def __init__(self, decider: Decider, workers: Workers) -> None:
        self._decider = decider
        self._workers = workers
        self._fitting = decider.now()
        self._away: list[WorkerState] | None = None
        self._found: dict[Group, Wait] = {}

    def wait(self, group: Group) -> Wait:
        """Why runs of the group wait."""
        if group not in self._found:
            self._found[group] = self._look(group)
        return self._found[group]

    def _look(self, group: Group) -> Wait:
        document = self._decider.look(group)
        if isinstance(document, Wait):
            return document
        if fitting := self._fitting(group, document):
            return waiting.of_fitting(fitting)
        away = self.absent(document)
        if fitting := [one for one in away if one.stand is not Stand.UNFIT]:
            return waiting.of_fitting(fitting)
        return waiting.of_unfit([*self._decider.connected(group, document), *away])

    def absent(self, document: JobDocument) -> list[Candidate]:
        """All workers that are not connected."""
        if self._away is None:
            self._away = [state for state in self._workers.list(None, WORKERS) if not state.is_active]
        return [self._candidate(document, state) for state in self._away]

    def _candidate(self, document: JobDocument, state: WorkerState) -> Candidate:
        worker = state.worker
        conditions = self._decider.conditions(document, Absent(worker.name, state.properties))
        is_new = worker.journal_id is None
        # Of one that never came nothing is known but what its token says: what it does not say it may still have.
        fits = all(one.is_met or (is_new and not one.has) for one in conditions)
        return Candidate(
            name=worker.name,
            stand=_stand(state) if fits else Stand.UNFIT,
            slots=worker.slots,
            used=state.used,
            note=_note(state) if fits else "",
            is_away=True,
            conditions=conditions,
        )


def _stand(state: WorkerState) -> Stand:
    """Of a worker that is not connected."""
    worker = state.worker
    if state.trouble:
        return Stand.REFUSED
    if worker.is_disconnected:
        return Stand.DISCONNECTED
    if not worker.is_enabled:
        return Stand.DISABLED
    if worker.is_draining:
        return Stand.DRAINING
    return Stand.NEW if worker.journal_id is None else Stand.AWAY


def _note(state: WorkerState) -> str:
    if state.trouble:
        return state.trouble
    return f"silent since {show_time(state.silent_since)}" if state.silent_since else ""


def _what_it_does(run: Run) -> str:
    if run.status in TERMINAL:
        return f"it does not wait: it has ended as {run.status}"
    if run.status is Status.ASSIGNED:
        return f"it does not wait any more: {run.worker} was given it"
    if run.status is Status.LOST:
        return f"it does not wait: it is lost until {run.worker} is back"
    return f"it does not wait: it runs on {run.worker}"
