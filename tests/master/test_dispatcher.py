"""Who gets which run, and when nobody does."""

from __future__ import annotations

import msgspec
import pytest

from appliance.events import ProjectsChanged, WorkerChanged
from appliance.master.dispatcher import RETRY_AFTER
from appliance.master.roster import Seat
from appliance.model.entities import Run, Worker
from appliance.model.errors import Unavailable
from appliance.model.run_state import Status
from appliance.wire import messages as m
from appliance.workers import Registration
from tests.lease_place import OTHER_JOURNAL, Ear, Place, job


@pytest.fixture
def place() -> Place:
    made = Place(job(), job("other"), job("mac", requires={"os": "macos"}))
    made.dispatcher.load()
    return made


def sit(place: Place, worker: Worker) -> Ear:
    """The worker is connected and has nothing."""
    ear = Ear()
    place.roster.sit(Seat(worker, ear, worker.journal_id or ""), {})
    return ear


def given(ear: Ear) -> list[str]:
    return [one.run for one in ear.heard(m.Assign)]


# ---- giving


def test_a_run_is_given_with_its_request_its_cap_and_a_token(place: Place) -> None:
    worker = place.worker()
    ear = sit(place, worker)
    run = place.trigger(branch="dev")
    place.dispatcher.step()
    (assign,) = ear.heard(m.Assign)
    lease = place.repository.runs.lease(run.id)
    assert lease is not None
    assert (assign.run, assign.cap, assign.request) == (run.id, lease.cap, lease.request)
    assert assign.secrets == {"ORCHESTRA_TOKEN": f"token of {run.id}"}
    assert "token of" not in assign.request  # secrets are no part of it
    assert place.now(run).status is Status.ASSIGNED
    assert place.dispatcher.waiting == 0


def test_the_oldest_run_comes_first_over_all_jobs(place: Place) -> None:
    runs = [place.trigger(name) for name in ("work", "other", "work", "other")]
    ear = sit(place, place.worker(slots=4))
    place.dispatcher.step()
    assert given(ear) == [run.id for run in runs]


def test_no_worker_gets_more_than_it_has_slots(place: Place) -> None:
    worker = place.worker(slots=2)
    ear = sit(place, worker)
    runs = [place.trigger() for _ in range(5)]
    place.dispatcher.step()
    assert given(ear) == [run.id for run in runs[:2]]
    assert [place.now(run).slot for run in runs[:2]] == [0, 1]
    place.end(worker, place.now(runs[0]))
    place.dispatcher.step()
    assert given(ear)[2:] == [runs[2].id]
    assert place.now(runs[2]).slot == 0


def test_the_least_loaded_worker_gets_the_next_run(place: Place) -> None:
    ears = [sit(place, place.worker(name, slots=slots)) for name, slots in (("w1", 2), ("w2", 4))]
    for _ in range(6):
        place.trigger()
    place.dispatcher.step()
    assert [len(given(ear)) for ear in ears] == [2, 4]


def test_a_run_waits_for_a_worker_that_matches_and_holds_up_no_other(place: Place) -> None:
    ear = sit(place, place.worker(properties={"os": "linux"}))
    picky, plain = place.trigger("mac"), place.trigger()
    place.dispatcher.step()
    assert given(ear) == [plain.id]
    mac = sit(place, place.worker("w2", OTHER_JOURNAL, properties={"os": "macos"}))
    place.dispatcher.step()
    assert given(mac) == [picky.id]


# ---- not giving


@pytest.mark.parametrize("why", ["disabled", "draining", "wants no more", "declined"])
def test_fault_F43_a_worker_that_takes_no_work_gets_none(place: Place, why: str) -> None:
    worker = place.worker()
    if why == "disabled":
        worker = place.workers.enable("w1", is_enabled=False).worker
    elif why == "draining":
        worker = place.workers.drain("w1").worker
    ear = sit(place, worker)
    seat = place.roster.seat(worker.id)
    assert seat is not None
    seat.wants_drain, seat.has_declined = why == "wants no more", why == "declined"
    run = place.trigger()
    place.dispatcher.step()
    assert given(ear) == [] and place.now(run) == run
    assert place.dispatcher.waiting == 1


@pytest.mark.parametrize("what", ["job", "project"])
def test_runs_of_what_is_disabled_wait_until_it_is_enabled(place: Place, what: str) -> None:
    def switch(is_enabled: bool) -> None:
        if what == "job":
            place.repository.projects.enable_job("p", "work", is_enabled)
        else:
            place.repository.projects.enable_project("p", is_enabled)
        place.events.publish(ProjectsChanged())

    ear = sit(place, place.worker())
    switch(False)
    run = place.trigger()
    place.dispatcher.step()
    assert given(ear) == []
    switch(True)
    place.dispatcher.step()
    assert given(ear) == [run.id]


def test_a_run_that_was_cancelled_while_it_waited_is_given_to_nobody(place: Place) -> None:
    run = place.trigger()
    place.runs.cancel(run.id, "bob")
    ear = sit(place, place.worker())
    place.dispatcher.step()
    assert given(ear) == [] and place.dispatcher.waiting == 0


def test_a_worker_that_was_removed_or_superseded_is_given_nothing_and_the_run_waits(place: Place) -> None:
    worker = place.worker()
    ear = sit(place, worker)
    place.workers.register(worker.id, Registration(OTHER_JOURNAL, "", 2, {}, 0.0))
    run = place.trigger()
    place.dispatcher.step()
    assert given(ear) == [] and place.now(run).status is Status.PENDING
    assert place.dispatcher.waiting == 1
    fresh = sit(place, place.workers.get(worker.id))
    place.dispatcher.step()
    assert given(fresh) == [run.id]


def test_defect_J12_a_job_that_cannot_be_read_holds_up_no_other(place: Place) -> None:
    broken = place.trigger("other")
    place.restart()
    place.dispatcher.load()
    place.repository.projects._definitions.pop("other-v1")  # type: ignore[attr-defined]  # damage, made to happen
    ear = sit(place, place.worker())
    sound = place.trigger()
    place.dispatcher.step()
    assert given(ear) == [sound.id]
    assert place.now(broken).status is Status.PENDING


def test_defect_J02_a_run_that_could_not_be_given_waits_and_is_given_later(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = place.worker()
    ear = sit(place, worker)
    store = place.repository.runs
    grant = store.grant

    def hiccup(*_: object) -> bool:
        raise Unavailable("the database is away")

    store.grant = hiccup  # type: ignore[assignment, method-assign]  # a fault, made to happen
    run = place.trigger()
    assert place.dispatcher.step() == RETRY_AFTER  # nobody will wake it when the storage is back
    assert given(ear) == [] and place.dispatcher.waiting == 1
    assert place.roster.used(worker.id) == 0
    assert "could not be given" in caplog.text
    store.grant = grant  # type: ignore[method-assign]  # the fault is over
    place.dispatcher.step()
    assert given(ear) == [run.id]


def test_fault_F16_nothing_is_given_while_the_servers_disk_is_full(place: Place) -> None:
    ear = sit(place, place.worker())
    run = place.trigger()
    place.has_room = False
    assert place.dispatcher.step() is None
    assert given(ear) == [] and place.dispatcher.waiting == 1
    place.has_room = True
    place.dispatcher.step()
    assert given(ear) == [run.id]


# ---- coming back


def test_a_run_that_comes_back_is_given_again(place: Place) -> None:
    worker = place.worker()
    ear = sit(place, worker)
    run = place.trigger()
    place.dispatcher.step()
    place.leases.unknown(place.holder(worker), run.id)
    assert place.roster.used(worker.id) == 0
    place.dispatcher.step()
    assert given(ear) == [run.id, run.id]


def test_fault_F01_what_waited_is_found_again_by_the_next_life_of_the_master(place: Place) -> None:
    runs = [place.trigger() for _ in range(3)]
    place.restart()
    place.dispatcher.load()
    assert place.dispatcher.waiting == 3
    ear = sit(place, place.worker(slots=3))
    place.dispatcher.step()
    assert given(ear) == [run.id for run in runs]


def test_a_queue_longer_than_a_page_is_found_whole(place: Place) -> None:
    for _ in range(1205):
        place.trigger()
    place.restart()
    place.dispatcher.load()
    assert place.dispatcher.waiting == 1205


@pytest.mark.parametrize("why", ["trigger", "worker", "end"])
def test_the_loop_is_woken_by_what_happens_and_polls_nothing(place: Place, why: str) -> None:
    """A step answers no time at which to look again: only an event makes the next one."""
    worker = place.worker(slots=1)
    ear = sit(place, worker)
    assert place.dispatcher.step() is None
    first = None if why != "end" else _given(place, ear)
    if why == "worker":
        place.roster.update(msgspec.structs.replace(worker, is_enabled=False))
        place.trigger()
    place.dispatcher.start()
    try:
        if why == "trigger":
            place.trigger()
        elif why == "worker":
            place.roster.update(worker)
            place.events.publish(WorkerChanged(worker.id))
        else:
            place.trigger()
            assert first is not None
            place.end(worker, first)
        assert ear.wait_for(m.Assign, 2 if why == "end" else 1)
    finally:
        place.dispatcher.stop()


def _given(place: Place, ear: Ear) -> Run:
    run = place.trigger()
    place.dispatcher.step()
    assert given(ear) == [run.id]
    return place.now(run)
