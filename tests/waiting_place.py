"""A master whose dispatcher listens, and what is said of runs that wait there."""

from __future__ import annotations

from typing import Any

from appliance.events import ProjectsChanged
from appliance.master.roster import Seat
from appliance.model.entities import Run, Worker
from appliance.model.waiting import Why
from appliance.waits import QueueFilter
from tests.lease_place import JOURNAL, Ear, Place, job


class Site(Place):
    """A master whose dispatcher listens, with shorthands for workers."""

    def __init__(self, requires: dict[str, Any] | None = None) -> None:
        super().__init__(job(requires=requires or {}), job("plain"))
        self.dispatcher.load()

    def add(self, name: str, used: int | None = 0, slots: int = 2, **properties: Any) -> Worker:
        """A worker with so many of its slots in use; ``None``: not connected."""
        worker = self.worker(name, JOURNAL, slots=slots, reported=properties)
        if used is not None:
            self.sit(worker, used)
        return worker

    def sit(self, worker: Worker, used: int = 0) -> Seat:
        """It connects."""
        seat = Seat(worker, Ear(), worker.journal_id or "")
        self.roster.sit(seat, {f"run {number} of {worker.name}": number for number in range(used)})
        return seat

    def seat(self, name: str) -> Seat:
        seat = self.roster.seat(self.worker_named(name).id)
        assert seat is not None
        return seat

    def switch(self, *, is_enabled: bool, job: str = "") -> None:
        """The job, or the project."""
        store = self.repository.projects
        assert store.enable_job("p", job, is_enabled) if job else store.enable_project("p", is_enabled)
        self.events.publish(ProjectsChanged())

    def update(self, worker: Worker) -> None:
        """What the messenger does when a worker was switched."""
        self.roster.update(self.workers.get(worker.id))

    def why(self, run: Run | None = None) -> str:
        """The sentence about a run, which must be the same to all who ask."""
        run = run or next(iter(self.repository.runs.pending(None, 1)), None) or self.trigger()
        said = self.waits.reasons([run])[run.id]
        explained = self.waits.explain(run)
        assert explained.wait is not None and said == explained.sentence == explained.wait.sentence
        (row,) = [wait for one, wait in self.waits.queue(QueueFilter(), None, 1000).rows if one.id == run.id]
        assert row == explained.wait
        return said

    def kind(self, run: Run) -> Why | None:
        wait = self.waits.explain(run).wait
        return None if wait is None else wait.why
