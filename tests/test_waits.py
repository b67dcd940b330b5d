"""Why a pending run waits (W2): one sentence, from the same facts that the dispatcher goes by."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from appliance.clock import FakeClock
from appliance.db.memory import MemoryRepository
from appliance.db.repository import ProjectSet
from appliance.events import Events
from appliance.job_versions import JobVersions
from appliance.model.entities import Job, NewRun, Project, Run, Source
from appliance.model.run_state import Status
from appliance.waits import Waits
from appliance.workers import Nobody, Registration, Workers


class Seen(Nobody):
    """The presence of workers, as the test says: slots in use by the id of the worker."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def is_connected(self, worker_id: str) -> bool:
        return worker_id in self.of

    def used(self, worker_id: str) -> int:
        return self.of.get(worker_id, 0)


class Place:
    """A project with one job, and workers."""

    def __init__(self, requires: dict[str, Any] | None = None) -> None:
        self.repository = MemoryRepository()
        self.repository.open()
        self.clock = FakeClock()
        self.seen = Seen()
        self.workers = Workers(self.repository, self.clock, Events(), self.seen, random.Random(7).randbytes)
        self.document = {"identifier": "test", "definition": {"commands": ["true"]}, "requires": requires or {}}
        self.apply()
        versions = JobVersions(self.repository)
        self.waits = Waits(self.repository, self.workers, versions, self.clock)

    def apply(self, *, is_project_enabled: bool = True, is_job_enabled: bool = True) -> None:
        project = Project("website", "Website", {}, is_enabled=is_project_enabled)
        job = Job("website", "test", "Test", "", self.document, "v1", is_enabled=is_job_enabled)
        self.repository.projects.apply(ProjectSet((project,), (job,), ()), self.clock.now())

    def worker(self, name: str, used: int | None = 0, slots: int = 2, **properties: Any) -> None:
        """A worker with so many of its slots in use; ``None``: not connected."""
        worker, _ = self.workers.create(name, "ada")
        self.workers.register(worker.id, Registration("j" * 32, "0.1", slots, properties, 0.0))
        if used is not None:
            self.seen.of[worker.id] = used

    def run(self) -> Run:
        new = NewRun(
            id="00000000-0000-0000-0000-000000000001", project="website", job="test", parameters={},
            source=Source("user"), definition_version="v1", created_at=self.clock.now(), expires_at=self.clock.now(),
        )  # fmt: skip
        return self.repository.runs.add(new)[0]

    def why(self) -> str:
        run = self.run()
        return self.waits.reasons([run])[run.id]


def test_without_any_worker_it_says_so() -> None:
    assert Place().why() == "waits for a worker: there is none yet"


def test_req_W2_without_a_connected_one_it_names_the_one_or_counts_them() -> None:
    place = Place()
    place.worker("build-1", None)
    assert place.why() == "waits for a worker: build-1 is not connected"
    place.worker("build-2", None)
    assert place.waits.reasons([place.repository.runs.pending(None, 1)[0]]).popitem()[1] == (
        "waits for a worker: none of 2 is connected"
    )


def test_req_W2_a_job_that_fits_no_connected_worker_says_what_is_missing() -> None:
    place = Place({"os": "windows"})
    place.worker("build-1", os="linux")
    place.worker("windows-1", None, os="windows")
    assert place.why() == ("waits for a worker: build-1 does not fit (needs os = windows, the worker has linux)")
    place.worker("build-2", os="linux")
    (again,) = place.waits.reasons(place.repository.runs.pending(None, 9)).values()
    assert again == (
        "waits for a worker: none of 2 connected ones fits (build-1: needs os = windows, the worker has linux)"
    )


@pytest.mark.parametrize(
    ("slots", "sentence"),
    [
        ((1,), "waits for a free slot: the only slot of w1 is in use"),
        ((2, 3), "waits for a free slot: all 5 slots of w1 and w2 are in use"),
        ((1, 1, 1, 1, 1), "waits for a free slot: all 5 slots of w1, w2, w3 and 2 more are in use"),
    ],
)
def test_req_W2_when_all_slots_are_taken_it_says_whose(slots: tuple[int, ...], sentence: str) -> None:
    place = Place({"os": "linux"})
    for number, count in enumerate(slots, 1):
        place.worker(f"w{number}", count, count, os="linux")
    place.worker("other", 0, 9, os="windows")  # has room, and does not fit
    assert place.why() == sentence


def test_workers_that_take_nothing_new_are_named() -> None:
    place = Place()
    place.worker("w1")
    place.worker("w2")
    place.workers.enable("w1", False)
    place.workers.drain("w2", True)
    assert place.why() == "waits for a worker: w1 and w2 take nothing new (disabled or draining)"


def test_a_run_that_can_be_given_waits_for_its_turn() -> None:
    place = Place()
    place.worker("w1", 1)
    assert place.why() == "waits for its turn"


def test_req_D4_what_is_disabled_is_told_before_all_else() -> None:
    place = Place()
    place.apply(is_job_enabled=False)
    assert place.why() == "waits until its job is enabled"
    place.apply(is_project_enabled=False, is_job_enabled=False)
    assert (
        place.waits.reasons(place.repository.runs.pending(None, 9)).popitem()[1] == "waits until its project is enabled"
    )


def test_only_runs_that_wait_have_a_reason() -> None:
    place = Place()
    run = place.run()
    assert place.waits.reasons([]) == {}
    place.repository.runs.replace(_cancelled(run, place), run.version)
    assert place.waits.reasons([place.repository.runs.get(run.id) or run]) == {}


def _cancelled(run: Run, place: Place) -> Run:
    return msgspec.structs.replace(run, status=Status.CANCELLED, finished_at=place.clock.now())


# ---- silence (F10)


def test_fault_F10_a_run_of_a_silent_worker_says_so_long_before_it_is_lost() -> None:
    place = Place()
    place.worker("w1", used=None)
    (worker,) = place.repository.workers.list(None, 9)
    run = msgspec.structs.replace(place.run(), status=Status.RUNNING, worker_id=worker.id, worker="w1")
    ended = msgspec.structs.replace(run, status=Status.LOST)
    place.workers.heard({worker.id: place.clock.now()})
    place.clock.advance(30)
    said = place.waits.reasons([run, ended])
    assert said == {run.id: "w1 has been silent for 30.0 s; the run still counts as running"}
    place.clock.advance(3 * 3600)
    assert "silent for 3 h" in place.waits.reasons([run])[run.id]
    place.seen.of[worker.id] = 1
    assert place.waits.reasons([run]) == {}


def test_fault_F24_all_runs_that_a_restore_holds_say_so_and_the_reason_is_asked_for_once() -> None:
    place = Place()
    asked: list[str] = []

    def hold(run_id: str) -> str:
        asked.append(run_id)
        return "waits: restored from a backup"

    run = place.run()
    runs = [msgspec.structs.replace(run, id=f"held-{number}") for number in range(100)]
    versions = JobVersions(place.repository)
    waits = Waits(
        place.repository, place.workers, versions, place.clock, holds=lambda run_id: run_id != run.id, hold=hold
    )
    said = waits.reasons([run, *runs])
    assert said.pop(run.id) == "waits for a worker: there is none yet"
    assert set(said.values()) == {"waits: restored from a backup"} and len(said) == 100
    assert len(asked) == 1
