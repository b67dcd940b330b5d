"""What the clock brings: the silent are called lost, beats written, what waits too long cancelled."""

from __future__ import annotations

import pytest

from appliance.master.roster import Seat
from appliance.master.sweeper import ANSWER_WITHIN
from appliance.model.entities import Run, Worker
from appliance.model.requests import Limits
from appliance.model.run_state import Reason, Status
from appliance.wire import messages as m
from tests.lease_place import JOURNAL, Ear, Place, job

HOUR = 3600.0


@pytest.fixture
def place() -> Place:
    return begun(Place(job(), job("impatient", lost_after="10m"), job("patient", lost_after="never")))


def begun(place: Place) -> Place:
    """The sweeper knows since when this master lives; its loops have ended, and the test does their work."""
    place.sweeper.start()
    place.sweeper.stop()
    return place


def silent_run(place: Place, worker: Worker, name: str = "work") -> Run:
    """A run whose worker was last heard now."""
    run = place.assign(worker, place.trigger(name))
    place.leases.accepted(place.holder(worker), run.id)
    place.roster.heard(worker.id, place.clock.now())
    return place.now(run)


def test_defect_J05_fault_F10_a_run_is_lost_when_its_worker_was_silent_for_longer_than_its_job_bears(
    place: Place,
) -> None:
    worker = place.worker(slots=9)
    runs = [silent_run(place, worker, name) for name in ("work", "impatient", "patient")]
    seen = []
    for seconds in (599, 2, HOUR - 602, 2, 365 * 86_400):
        place.clock.advance(seconds)
        place.sweeper.look_for_lost()
        seen.append([place.now(run).status.value for run in runs])
    assert seen == [
        ["running", "running", "running"],
        ["running", "lost", "running"],
        ["running", "lost", "running"],
        ["lost", "lost", "running"],
        ["lost", "lost", "running"],
    ]
    after = place.now(runs[0])
    assert (after.reason, after.finished_at) == (Reason.WORKER_LOST, None)
    assert after.sentence.startswith("no contact with w1 for 1 h")


def test_an_assigned_run_is_lost_as_well(place: Place) -> None:
    run = place.assign(place.worker())
    place.clock.advance(HOUR + 1)
    assert place.sweeper.look_for_lost() == 1
    assert place.now(run).status is Status.LOST


def test_a_run_of_a_connected_worker_is_never_lost(place: Place) -> None:
    worker = place.worker()
    run = silent_run(place, worker)
    place.roster.sit(Seat(worker, Ear(), JOURNAL), {run.id: 0})
    place.clock.advance(1000 * HOUR)
    assert place.sweeper.look_for_lost() == 0


def test_a_beat_counts_from_when_it_was_heard(place: Place) -> None:
    worker = place.worker()
    run = silent_run(place, worker)
    place.clock.advance(HOUR - 1)
    place.roster.heard(worker.id, place.clock.now())
    place.sweeper.write_beats()
    place.clock.advance(HOUR - 1)
    assert place.sweeper.look_for_lost() == 0
    place.clock.advance(2)
    assert place.sweeper.look_for_lost() == 1
    assert place.now(run).status is Status.LOST


def test_fault_F10_time_in_which_the_master_was_down_does_not_count(place: Place) -> None:
    run = silent_run(place, place.worker())
    place.clock.advance(1000 * HOUR)
    place.restart()
    begun(place)
    assert place.sweeper.look_for_lost() == 0
    place.clock.advance(HOUR - 1)
    assert place.sweeper.look_for_lost() == 0
    place.clock.advance(2)
    assert place.sweeper.look_for_lost() == 1
    assert place.now(run).status is Status.LOST


def test_defect_J18_fault_F11_a_worker_that_does_not_say_whether_it_takes_a_run_must_come_again(place: Place) -> None:
    place.dispatcher.load()
    worker = place.worker()
    _, ear, _ = place.connect(worker)
    run = place.trigger()
    place.dispatcher.step()
    assert place.now(run).status is Status.ASSIGNED
    assert place.sweeper.look_for_unanswered() == 0  # each sweep looks; its time begins with the first
    for seconds, expected in ((ANSWER_WITHIN - 1, 0), (2, 1)):
        place.clock.advance(seconds)
        assert place.sweeper.look_for_unanswered() == expected
        assert (ear.closed is not None) == bool(expected)
    assert ear.closed is not None and ear.closed[0] == 1012

    talk, ear, _ = place.connect(worker)  # it has its time again
    assert place.sweeper.look_for_unanswered() == 0
    place.clock.advance(ANSWER_WITHIN - 1)
    assert place.sweeper.look_for_unanswered() == 0
    talk.take(m.Accepted(id=2, run=run.id))
    place.clock.advance(1000)
    assert place.sweeper.look_for_unanswered() == 0 and ear.closed is None


def test_the_appliances_own_limit_holds_where_a_job_says_nothing() -> None:
    place = begun(Place(limits=Limits(lost_after=5.0)))
    run = silent_run(place, place.worker())
    place.clock.advance(6)
    place.sweeper.look_for_lost()
    assert place.now(run).status is Status.LOST


def test_defect_J12_a_job_that_cannot_be_read_any_more_keeps_no_other_run_from_being_lost(place: Place) -> None:
    worker = place.worker()
    broken, sound = silent_run(place, worker, "impatient"), silent_run(place, worker)
    place.restart()
    place.repository.projects._definitions.pop("impatient-v1")  # type: ignore[attr-defined]  # damage, made to happen
    begun(place)
    place.clock.advance(HOUR + 1)
    assert place.sweeper.look_for_lost() == 2
    assert [place.now(run).status for run in (broken, sound)] == [Status.LOST, Status.LOST]


def test_a_sweep_cancels_all_that_waited_too_long(place: Place) -> None:
    runs = [place.trigger() for _ in range(250)]
    place.clock.advance(86_401)
    place.sweeper.sweep()
    assert {place.now(run).reason for run in runs} == {Reason.EXPIRED}


def test_a_stop_writes_what_was_heard_and_makes_durable_what_arrived(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker, b"output")
    place.sweeper.start()
    place.clock.advance(1)
    place.roster.heard(worker.id, place.clock.now())
    place.sweeper.stop()
    assert place.workers.get(worker.id).last_contact_at == place.clock.now()
    assert [one.size for one in place.repository.runs.streams(run.id)] == [6]
