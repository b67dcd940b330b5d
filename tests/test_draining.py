"""Workers that are taken out of service: drained, disabled, disconnected, and put to work again."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from appliance.events import WorkerChanged, WorkerDisconnected
from appliance.master.messenger import Messenger
from appliance.model.entities import Worker
from appliance.model.errors import Disconnected, NotFound
from appliance.model.run_state import Status
from appliance.model.worker_states import Duty, Vitals
from appliance.wire import Close
from appliance.wire import messages as m
from appliance.workers import Registration, Workers
from tests.lease_place import JOURNAL, Place

Switch = Callable[[Workers], object]
SWITCHES: dict[str, Switch] = {
    "enabled": lambda workers: workers.enable("w1", True, "ada"),
    "disabled": lambda workers: workers.enable("w1", False, "ada"),
    "drained": lambda workers: workers.drain("w1", by="ada"),
    "disconnected": lambda workers: workers.disconnect("w1", "ada"),
}


@pytest.fixture
def place() -> Place:
    made = Place()
    made.events.subscribe(Messenger(made.repository, made.roster).hear)
    made.dispatcher.load()
    return made


def flags(worker: Worker) -> tuple[bool, bool, bool]:
    return worker.is_enabled, worker.is_draining, worker.is_disconnected


# ---- one switch


@pytest.mark.parametrize("first", SWITCHES)
@pytest.mark.parametrize("then", SWITCHES)
def test_req_W6_the_last_word_about_a_worker_counts_whatever_was_said_before(
    place: Place, first: str, then: str
) -> None:
    place.worker()
    SWITCHES[first](place.workers)
    SWITCHES[then](place.workers)
    meant = {
        "enabled": (True, False, False),
        "disabled": (False, False, False),
        "drained": (True, True, False),
        "disconnected": (False, False, True),
    }
    worker = place.worker_named("w1")
    assert flags(worker) == meant[then]
    assert worker.takes_work == (then == "enabled")


@pytest.mark.parametrize("what", ["disabled", "drained", "disconnected"])
def test_fault_F43_who_did_it_and_when_is_kept_and_logged_once(
    place: Place, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place.worker()
    at = place.clock.now()
    SWITCHES[what](place.workers)
    place.clock.advance(60)
    SWITCHES[what](place.workers)
    worker = place.worker_named("w1")
    assert (worker.switched_by, worker.switched_at) == ("ada", at)
    told = [record.message for record in caplog.records if record.name == "appliance.workers"]
    assert told == [f"worker w1 was {what} by ada"]


@pytest.mark.parametrize("what", ["disabled", "drained", "disconnected"])
def test_fault_F43_it_survives_a_restart_of_the_server_and_of_the_worker(place: Place, what: str) -> None:
    worker = place.worker()
    run = place.running(worker)
    SWITCHES[what](place.workers)
    place.restart()
    assert not place.worker_named("w1").takes_work
    _, ear, welcomes = place.connect(worker, place.held(run))
    waiting = place.trigger()
    place.dispatcher.load()
    place.dispatcher.step()
    assert place.now(waiting).status is Status.PENDING and ear.heard(m.Assign) == []
    assert place.now(run).status is Status.RUNNING
    assert (ear.closed is not None and ear.closed[0] == Close.DISCONNECTED) == (what == "disconnected")
    assert len(welcomes) == (what != "disconnected")


def test_a_worker_that_does_not_exist_is_not_found(place: Place) -> None:
    for switch in SWITCHES.values():
        with pytest.raises(NotFound):
            switch(place.workers)


# ---- draining


def test_req_W6_a_draining_worker_finishes_what_it_has_and_then_is_drained(place: Place) -> None:
    worker = place.worker()
    first, second = place.running(worker), place.running(worker)
    place.connect(worker, place.held(first), place.held(second))
    assert place.workers.drain("w1", by="ada").left == 2
    waiting = place.trigger()
    place.dispatcher.step()
    assert place.now(waiting).status is Status.PENDING
    place.end(worker, first)
    state = place.workers.named("w1")
    assert (state.duty, state.left, state.is_drained) == (Duty.DRAINING, 1, False)
    assert "1 run left" in state.sentence
    place.end(worker, second)
    state = place.workers.named("w1")
    assert (state.duty, state.left, state.is_drained) == (Duty.DRAINED, 0, True)


def test_fault_F43_an_assignment_that_is_under_way_is_finished_and_counted(place: Place) -> None:
    worker = place.worker()
    talk, ear, _ = place.connect(worker)
    run = place.trigger()
    place.dispatcher.step()
    assert [one.run for one in ear.heard(m.Assign)] == [run.id]
    assert place.workers.drain("w1").left == 1  # the worker has not answered yet
    talk.take(m.Accepted(id=2, run=run.id))
    assert place.now(run).status is Status.RUNNING and not place.workers.named("w1").is_drained
    talk.take(place.exited(run))
    assert place.workers.named("w1").is_drained


def test_fault_F43_an_assignment_that_was_lost_on_its_way_goes_to_another_worker(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.workers.drain("w1")
    place.connect(worker)  # its inventory does not list the run
    assert place.now(run).status is Status.PENDING
    assert place.workers.named("w1").is_drained


def test_fault_F43_a_slot_that_is_taken_and_not_yet_leased_counts_as_left(place: Place) -> None:
    place.connect(place.worker())
    seat = place.roster.seats()[0]
    place.roster.take_slot(seat, "a run that is being given")
    assert place.workers.drain("w1").left == 1 and not place.workers.named("w1").is_drained


def test_fault_F43_a_draining_worker_that_is_away_is_not_drained_while_it_has_runs(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.workers.drain("w1")
    state = place.workers.named("w1")
    assert (state.duty, state.left) == (Duty.SILENT, 1) and "It drains: 1 run left." in state.sentence
    place.leases.lose(run, "no contact")
    assert not place.workers.named("w1").is_drained
    place.lost_runs.declare(run.id, "ada")
    assert place.workers.named("w1").is_drained


def test_req_W6_a_draining_worker_that_is_enabled_gets_work_at_once(place: Place) -> None:
    worker = place.worker()
    _, ear, _ = place.connect(worker)
    place.workers.drain("w1")
    run = place.trigger()
    place.dispatcher.step()
    place.workers.enable("w1", True)
    place.dispatcher.step()
    assert [one.run for one in ear.heard(m.Assign)] == [run.id]
    assert [one.on for one in ear.heard(m.Drain)] == [True, False]


def test_fault_F43_of_two_changes_the_later_counts_though_it_is_told_first(place: Place) -> None:
    worker = place.worker()
    place.connect(worker)
    seat = place.roster.seats()[0]
    drained = place.workers.drain("w1").worker
    enabled = place.workers.enable("w1", True).worker
    place.roster.update(enabled)
    place.roster.update(drained)  # whoever drained it read the worker before it was enabled, and comes late
    assert seat.free == 2


def test_fault_F43_a_worker_that_is_drained_while_it_says_hello_gets_nothing(place: Place) -> None:
    worker = place.worker()
    sit = place.roster.sit

    def drained_meanwhile(*arguments: object) -> object:
        place.workers.drain("w1")  # nobody sits there yet who could be told
        return sit(*arguments)  # type: ignore[arg-type]  # as they came

    place.roster.sit = drained_meanwhile  # type: ignore[method-assign,assignment]  # the moment that is looked for
    _, ear, welcomes = place.connect(worker)
    run = place.trigger()
    place.dispatcher.step()
    assert place.now(run).status is Status.PENDING and len(welcomes) == 1
    assert [one.on for one in ear.heard(m.Drain)] == [True]


def test_a_worker_is_told_once_that_it_drains_and_again_when_it_is_back(place: Place) -> None:
    worker = place.worker()
    _, ear, _ = place.connect(worker)
    place.workers.drain("w1")
    place.workers.drain("w1")
    place.workers.enable("w1", False)
    assert [one.on for one in ear.heard(m.Drain)] == [True]
    _, again, _ = place.connect(worker)
    assert [one.on for one in again.heard(m.Drain)] == [True]


# ---- disconnecting


def test_req_W6_a_disconnected_worker_is_sent_away_and_let_in_when_it_is_enabled(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    _, ear, _ = place.connect(worker, place.held(run))
    place.seen.clear()
    place.workers.disconnect("w1", "ada")
    assert place.seen == [WorkerChanged(worker.id), WorkerDisconnected(worker.id)]
    assert ear.is_retired
    assert ear.closed == (Close.DISCONNECTED, "disconnected by ada; let in again once it is enabled")
    assert place.now(run).status is Status.RUNNING  # a mistake must not kill a release
    _, refused, welcomes = place.connect(worker, place.held(run))
    assert (refused.closed, welcomes) == (ear.closed, [])
    with pytest.raises(Disconnected):
        place.workers.check_standing(worker.id)
    state = place.workers.named("w1")
    assert state.duty is Duty.DISCONNECTED
    place.workers.enable("w1", True, "ada")
    _, back, welcomes = place.connect(worker, place.held(run))
    assert back.closed is None and len(welcomes) == 1 and back.heard(m.Drain) == []


@pytest.mark.parametrize("switch", ["disabled", "drained"])
def test_req_W6_a_disconnected_worker_may_come_back_to_hand_in_its_runs_without_getting_new_ones(
    place: Place, switch: str
) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.workers.disconnect("w1")
    SWITCHES[switch](place.workers)
    talk, ear, welcomes = place.connect(worker, place.held(run))
    waiting = place.trigger()
    place.dispatcher.step()
    talk.take(place.exited(run))
    assert len(welcomes) == 1 and place.now(run).status is Status.SUCCEEDED
    assert ear.heard(m.Assign) == [] and place.now(waiting).status is Status.PENDING


def test_a_worker_that_is_disconnected_while_it_says_hello_is_sent_away(place: Place) -> None:
    worker = place.worker()
    sit = place.roster.sit

    def disconnected_meanwhile(*arguments: object) -> object:
        place.workers.disconnect("w1")
        return sit(*arguments)  # type: ignore[arg-type]  # as they came

    place.roster.sit = disconnected_meanwhile  # type: ignore[method-assign,assignment]  # the moment that is looked for
    _, ear, welcomes = place.connect(worker)
    assert ear.closed is not None and ear.closed[0] == Close.DISCONNECTED and welcomes == []


def test_a_worker_that_is_enabled_again_in_the_moment_of_its_disconnection_is_told_to_come_back(place: Place) -> None:
    worker = place.worker()
    _, ear, _ = place.connect(worker)
    place.events.publish(WorkerDisconnected(worker.id))
    assert ear.closed == (Close.DISCONNECTED, "it was disconnected, and may come back")


def test_the_sentence_of_a_close_fits_its_frame_whatever_the_names(place: Place) -> None:
    worker = place.worker("w" * 64)
    _, ear, _ = place.connect(worker)
    place.workers.disconnect("w" * 64, "a" * 64)
    assert ear.closed is not None and len(ear.closed[1].encode()) <= 123


def test_a_removed_worker_is_told_that_it_was_removed_and_a_revoked_one_that_it_was_revoked(place: Place) -> None:
    removed, revoked = place.worker("w1"), place.worker("w2", "2" * 32)
    _, first, _ = place.connect(removed)
    _, second, _ = place.connect(revoked, journal="2" * 32)
    place.workers.remove("w1", "ada")
    place.workers.revoke("w2", "ada")
    assert first.closed == (Close.REVOKED, "this worker was removed")
    assert second.closed == (Close.REVOKED, "this worker's token was revoked")


# ---- what it says of itself


def test_req_W6_load_and_disk_room_are_those_of_the_last_beat_and_gone_with_the_connection(place: Place) -> None:
    talk, _, _ = place.connect(place.worker())
    assert place.workers.named("w1").vitals == Vitals()
    talk.take(m.Beat(id=2, at=1.0, load=1.5, disk_free=7 << 30))
    talk.take(m.Beat(id=3, at=2.0, load=2.5, disk_free=6 << 30))
    assert place.workers.named("w1").vitals == Vitals(2.5, 6 << 30)
    talk.take(m.Drain(id=4, on=True))
    assert place.workers.named("w1").vitals == Vitals(2.5, 6 << 30, wants_nothing=True)
    talk.end(())
    assert place.workers.named("w1").vitals is None


def test_req_W6_another_version_of_a_worker_is_noted_with_the_one_before(place: Place) -> None:
    worker = place.worker()
    first = place.worker_named("w1")
    assert (first.version_text, first.version_before) == ("orchestra-appliance 0", "")
    assert first.version_since == place.clock.now()
    place.clock.advance(60)
    run = place.running(worker)
    _, _, welcomes = place.connect(worker, place.held(run), software="orchestra-appliance 1")
    upgraded = place.worker_named("w1")
    assert (upgraded.version_text, upgraded.version_before) == ("orchestra-appliance 1", "orchestra-appliance 0")
    assert upgraded.version_since == place.clock.now()
    assert [one.run for one in welcomes[0].resume] == [run.id]  # it keeps its jobs
    place.clock.advance(60)
    again = place.workers.register(worker.id, Registration(JOURNAL, "orchestra-appliance 1", 2, {}, 0.0))
    assert again.version_since == upgraded.version_since


def test_fault_F14_words_that_led_nowhere_are_counted_for_the_worker_that_said_them(place: Place) -> None:
    worker, other = place.worker(), place.worker("w2", "2" * 32)
    run = place.running(worker)
    place.workers = Workers(
        place.repository, place.clock, place.events, place.roster, place.random.randbytes, place.leases.strays
    )
    talk, _, _ = place.connect(other, journal="2" * 32)
    talk.take(m.Accepted(id=2, run=run.id))
    place.end(worker, run)
    place.leases.started(place.holder(worker), run.id, 1.0)
    w1, w2 = place.workers.named("w1"), place.workers.named("w2")
    assert [(state.refused, state.late) for state in (w1, w2)] == [(0, 1), (1, 0)]
    assert w1.strays == "1 message came after the end of the run, and changed nothing"
    assert w2.strays == "1 message refused: about runs that it does not have"
