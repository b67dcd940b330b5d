"""What the master does about the words of a connection (reliability.md 5.2, 5.3, F15)."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from appliance.events import LogGrew, RunChanged, WorkerChanged
from appliance.master import conversation
from appliance.master.roster import Seat
from appliance.model.entities import Run
from appliance.model.errors import Full, Unavailable
from appliance.model.run_state import Reason, Status
from appliance.wire import Close, frames
from appliance.wire import messages as m
from tests.lease_place import JOURNAL, OTHER_JOURNAL, Ear, Place, sha256


@pytest.fixture
def place() -> Place:
    made = Place()
    made.dispatcher.load()
    return made


def data(run: Run, offset: int, payload: bytes, stream: int = 0) -> frames.Data:
    return frames.Data(run=run.id, stream=stream, offset=offset, payload=payload)


def assigned(place: Place, **hello: Any) -> tuple[Run, conversation.Conversation, Ear]:
    """A connected worker with a run that it was just given."""
    talk, ear, _ = place.connect(place.worker(), **hello)
    run = place.trigger()
    place.dispatcher.step()
    return place.now(run), talk, ear


# ---- hello


def test_a_hello_is_noted_merged_and_welcomed(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker, b"123")
    place.clock.advance(5)
    talk, ear, welcomes = place.connect(
        worker, place.held(run), slots=7, properties={"cpus": 4}, software="orchestra 2", at=place.now_stamp() + 90
    )
    state = place.workers.named("w1")
    assert (state.worker.slots, state.worker.version_text, state.properties) == (7, "orchestra 2", {"cpus": 4})
    assert state.worker.clock_offset == 90.0  # F23
    assert (state.is_active, state.used) == (True, 1)
    assert [one.sizes[0] for one in welcomes[0].resume] == [3]
    assert talk.seat is place.roster.seat(worker.id) and ear.closed is None
    assert place.seen[-1] == WorkerChanged(worker.id)


def test_a_run_that_never_arrived_is_assigned_again_behind_the_welcome(place: Place) -> None:
    worker = place.worker()
    given = place.assignment(worker)
    _, ear, welcomes = place.connect(worker)
    (assign,) = ear.heard(m.Assign)
    assert (assign.run, assign.request, assign.cap) == (given.run.id, given.lease.request, given.lease.cap)
    assert len(welcomes) == 1


def test_what_was_asked_while_the_worker_was_away_is_told(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.runs.abort(run.id, "bob")
    _, ear, welcomes = place.connect(worker, place.held(run))
    assert welcomes[0].resume[0].abort
    assert [one.run for one in ear.heard(m.Abort)] == [run.id]


def test_a_disabled_worker_is_welcome_and_gives_back_what_it_has_not_begun(place: Place) -> None:
    worker = place.worker()
    unsent, begun = place.assign(worker), place.running(worker)
    place.workers.enable("w1", is_enabled=False)
    _, ear, welcomes = place.connect(worker, place.held(begun))
    assert ear.heard(m.Assign) == [] and len(welcomes) == 1
    assert [place.now(run).status for run in (unsent, begun)] == [Status.PENDING, Status.RUNNING]


def test_a_removed_worker_is_sent_away(place: Place) -> None:
    worker = place.worker()
    place.workers.remove("w1")
    _, ear, welcomes = place.connect(worker)
    assert (ear.closed and ear.closed[0], welcomes) == (Close.REVOKED, [])


# ---- two connections


def test_fault_F15_the_newer_connection_of_the_same_journal_wins(place: Place) -> None:
    run, old, old_ear = assigned(place)
    new, new_ear, _ = place.connect(place.workers.named("w1").worker, place.held(run))
    assert old_ear.closed is not None and old_ear.closed[0] == Close.SUPERSEDED
    assert old_ear.is_retired and new_ear.closed is None
    assert place.roster.seat(new.worker.id) is new.seat
    old.end([run.id])  # its socket is gone at last; what it never sent was sorted out by the new inventory
    assert place.now(run).status is Status.RUNNING
    assert place.roster.is_connected(new.worker.id)


def test_fault_F15_no_word_of_the_older_connection_is_obeyed_any_more(place: Place) -> None:
    run, old, _ = assigned(place)
    old.retire()
    old.take(m.Accepted(id=3, run=run.id))
    assert place.now(run) == run


def test_fault_F15_a_token_on_two_machines_refuses_the_newer_one(place: Place) -> None:
    _, first, ear = assigned(place)
    worker = first.worker
    place.roster.heard(worker.id, place.clock.now())
    place.clock.advance(conversation.SILENT_FOR - 1)
    _, second, welcomes = place.connect(worker, journal=OTHER_JOURNAL)
    assert second.closed is not None and second.closed[0] == Close.DUPLICATE
    assert welcomes == [] and ear.closed is None
    assert place.workers.get(worker.id).journal_id == JOURNAL


def test_fault_F26_a_new_journal_of_a_silent_worker_ends_what_the_old_one_had(place: Place) -> None:
    worker = place.worker()
    runs = [place.running(worker), place.assign(worker), place.lost(worker)]
    place.workers.heard({worker.id: place.clock.now()})
    place.clock.advance(conversation.SILENT_FOR + 1)
    _, ear, welcomes = place.connect(worker, journal=OTHER_JOURNAL)
    assert ear.closed is None and len(welcomes) == 1
    assert [(place.now(run).status, place.now(run).reason) for run in runs] == [
        (Status.ERRORED, Reason.WORKER_RESET)
    ] * 3
    assert place.workers.get(worker.id).journal_id == OTHER_JOURNAL
    assert place.roster.used(worker.id) == 0


def test_a_run_that_ends_with_the_first_word_after_the_welcome_gives_its_slot_back(place: Place) -> None:
    """Its end may be obeyed while the rest of the greeting is still under way."""
    worker = place.worker()
    run = place.running(worker, b"123")
    talk = place.converse(worker, Ear())
    talk.greet(place.hello(place.held(run, "exited"), slots=1), lambda _: talk.take(place.exited(run, b"123")))
    assert place.now(run).status is Status.SUCCEEDED
    assert place.roster.used(worker.id) == 0
    assert talk.seat is not None and talk.seat.free == 1


def test_nothing_is_assigned_before_the_welcome(place: Place) -> None:
    worker = place.worker()
    place.trigger()
    ear = Ear()
    place.converse(worker, ear).greet(place.hello(slots=1), lambda _: place.dispatcher.step() and None)
    assert ear.heard(m.Assign) == []
    place.dispatcher.step()
    assert len(ear.heard(m.Assign)) == 1


def test_fault_F26_a_journal_that_was_replaced_is_never_welcome_again(place: Place) -> None:
    worker = place.worker()
    place.clock.advance(100)
    talk, _, _ = place.connect(worker, journal=OTHER_JOURNAL)
    talk.end(())
    place.clock.advance(100_000)
    _, ear, welcomes = place.connect(worker, journal=JOURNAL)
    assert ear.closed is not None and ear.closed[0] == Close.DUPLICATE
    assert welcomes == []


def test_a_connection_that_ends_while_it_is_greeted_keeps_no_seat(place: Place) -> None:
    worker = place.worker()
    ear = Ear()
    talk = place.converse(worker, ear)

    def hang_up(_: object) -> None:
        talk.retire()

    talk.greet(place.hello(), hang_up)
    talk.end(())
    assert not place.roster.is_connected(worker.id)
    early = place.converse(worker, ear)
    early.retire()
    early.greet(place.hello(), lambda _: pytest.fail("it was welcomed"))
    assert early.seat is None and not place.roster.is_connected(worker.id)


# ---- the end of a connection


def test_an_assignment_that_never_left_comes_back_and_others_stay(place: Place) -> None:
    worker = place.worker()
    talk, _, _ = place.connect(worker)
    runs = [place.trigger(), place.trigger()]
    place.dispatcher.step()
    talk.end([runs[1].id])
    assert [place.now(run).status for run in runs] == [Status.ASSIGNED, Status.PENDING]
    assert not place.roster.is_connected(worker.id)
    assert place.seen[-1] == WorkerChanged(worker.id)
    assert place.dispatcher.waiting == 1


def test_an_assignment_that_never_left_ends_cancelled_if_that_was_asked(place: Place) -> None:
    run, talk, _ = assigned(place)
    place.runs.cancel(run.id, "bob")
    talk.end([run.id, place.new_id()])  # and one that nobody knows
    assert place.now(run).status is Status.CANCELLED


def test_an_end_waits_for_the_word_that_is_being_done(place: Place) -> None:
    run, talk, _ = assigned(place)
    begun, go_on = threading.Event(), threading.Event()

    def hold(event: object) -> None:
        if isinstance(event, RunChanged):
            begun.set()
            assert go_on.wait(30)

    place.events.subscribe(hold)
    word = threading.Thread(target=talk.take, args=(m.Accepted(id=3, run=run.id),))
    ending = threading.Thread(target=talk.retire)
    word.start()
    assert begun.wait(30)
    ending.start()
    assert ending.is_alive()
    go_on.set()
    ending.join(30)
    word.join(30)
    assert place.now(run).status is Status.RUNNING


# ---- words


def test_a_run_goes_from_accepted_to_committed(place: Place) -> None:
    run, talk, ear = assigned(place)
    output = b"hello\n"
    for word in (
        m.Accepted(id=2, run=run.id),
        m.Started(id=3, run=run.id, at=place.now_stamp()),
        data(run, 0, output),
        place.exited(run, output),
    ):
        talk.take(word)
    assert place.now(run).status is Status.SUCCEEDED
    assert [one.run for one in ear.heard(m.Committed)] == [run.id]
    assert LogGrew(run.id, 6) in place.seen
    assert place.roster.used(talk.worker.id) == 0


def test_inv_I6_an_exit_that_is_repeated_is_committed_again(place: Place) -> None:
    run, talk, ear = assigned(place)
    for _ in range(3):
        talk.take(place.exited(run))
    assert len(ear.heard(m.Committed)) == 3
    assert place.now(run).version == run.version + 1


def test_an_abort_or_a_cancel_that_met_the_assignment_is_told_again_with_accepted(place: Place) -> None:
    run, talk, ear = assigned(place)
    place.runs.cancel(run.id, "bob")
    talk.take(m.Accepted(id=2, run=run.id))
    assert [one.run for one in ear.heard(m.Abort)] == [run.id]


def test_acks_come_after_enough_bytes_and_not_for_each_frame(place: Place) -> None:
    run, talk, ear = assigned(place)
    piece = b"x" * 65_536
    for number in range(12):
        talk.take(data(run, number * 65_536, piece))
    assert [one.offset for one in ear.heard(m.Ack)] == [262_144, 524_288, 786_432]


def test_fault_F12_a_gap_is_answered_once_for_all_frames_behind_it(place: Place) -> None:
    run, talk, ear = assigned(place)
    talk.take(data(run, 0, b"0123"))
    for offset in (10, 14, 18):
        talk.take(data(run, offset, b"late"))
    assert [(one.run, one.sizes) for one in ear.heard(m.Nack)] == [(run.id, {0: 4})]
    talk.take(data(run, 4, b"45678901234567"))
    assert place.runs.log(run.id, 0) == b"012345678901234567"


def test_fault_F39_a_digest_that_differs_is_answered_with_a_restart(place: Place) -> None:
    run, talk, ear = assigned(place)
    talk.take(data(run, 0, b"hellx\n"))
    talk.take(place.exited(run, b"hello\n"))
    assert [(one.sizes, one.restart) for one in ear.heard(m.Nack)] == [({0: 0}, True)]
    talk.take(data(run, 0, b"hello\n"))
    talk.take(place.exited(run, b"hello\n"))
    assert place.now(run).log.sha256 == sha256(b"hello\n") and place.now(run).log.verified


def test_results_of_a_run_that_goes_on_are_told(place: Place) -> None:
    run, talk, _ = assigned(place)
    place.seen.clear()
    for _ in range(2):
        talk.take(m.Results(id=2, run=run.id, seq=1, value=msgspec.Raw(b'{"a":1}')))
    assert place.runs.results(run.id) == {"a": 1}
    assert place.seen == [RunChanged(place.now(run))]


def test_fault_F17_a_worker_that_declined_gets_nothing_until_its_next_beat(place: Place) -> None:
    run, talk, ear = assigned(place)
    talk.take(m.Declined(id=2, run=run.id, reason="the disk is full"))
    assert place.now(run).status is Status.PENDING
    place.dispatcher.step()
    assert len(ear.heard(m.Assign)) == 1
    talk.take(m.Beat(id=3, at=1.0))
    place.dispatcher.step()
    assert len(ear.heard(m.Assign)) == 2


def test_fault_F43_a_worker_that_drains_gets_nothing_until_it_wants_work_again(place: Place) -> None:
    talk, ear, _ = place.connect(place.worker())
    talk.take(m.Drain(id=2, on=True))
    place.trigger()
    place.dispatcher.step()
    assert ear.heard(m.Assign) == []
    talk.take(m.Drain(id=3, on=False))
    place.dispatcher.step()
    assert len(ear.heard(m.Assign)) == 1


# ---- what may not be said, and what cannot be done


def test_req_S_20_a_word_about_a_run_of_others_is_answered_with_an_error_and_the_rest_goes_on(place: Place) -> None:
    run, talk, ear = assigned(place)
    foreign = place.running(place.worker("w2", OTHER_JOURNAL))
    talk.take(m.Accepted(id=2, run=foreign.id))
    talk.take(data(foreign, 0, b"forged"))
    talk.take(place.exited(foreign))
    assert [one.code for one in ear.heard(m.ErrorReply)] == ["not_yours"] * 3
    assert place.now(foreign) == foreign and ear.closed is None
    talk.take(m.Accepted(id=3, run=run.id))
    assert place.now(run).status is Status.RUNNING


@pytest.mark.parametrize("error", [Unavailable("busy"), RuntimeError("a bug")])
def test_fault_F16_fault_F19_what_cannot_be_stored_is_not_acknowledged_and_the_worker_comes_back(
    place: Place, error: Exception
) -> None:
    run, talk, ear = assigned(place)

    def fail(*_: object) -> int:
        raise error

    place.logs.append = fail
    talk.take(data(run, 0, b"x" * 65_536))
    assert ear.closed is not None and ear.closed[0] == Close.RESTART
    assert ear.heard(m.Ack) == []


def test_fault_F16_without_room_a_run_waits_and_the_connection_stays_until_there_is_some(place: Place) -> None:
    talk, ear, _ = place.connect(place.worker())
    stalled, other = place.trigger(), place.trigger()
    place.dispatcher.step()
    append = place.logs.append

    def fail(*_: object) -> int:
        raise Full("the disk is full")

    place.logs.append = fail
    talk.take(data(stalled, 0, b"x" * 65_536))
    place.logs.append = append
    talk.take(data(stalled, 65_536, b"x"))  # on its way already: neither stored nor a gap
    talk.take(m.Accepted(id=2, run=stalled.id))
    talk.take(m.Accepted(id=3, run=other.id))
    assert ear.heard(m.Ack) == [] and ear.heard(m.Nack) == []
    assert (place.now(stalled).status, place.now(other).status) == (Status.ASSIGNED, Status.RUNNING)
    assert ear.closed is None
    place.roster.resume()
    assert ear.closed is not None and ear.closed[0] == Close.RESTART


def test_fault_F16_nobody_is_sent_away_who_waits_for_nothing(place: Place) -> None:
    _, ear, _ = place.connect(place.worker())
    place.roster.resume()
    assert ear.closed is None


def test_words_before_the_hello_is_merged_change_nothing(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.converse(worker, Ear()).take(m.Accepted(id=2, run=run.id))
    assert place.now(run) == run


def test_the_other_sides_errors_are_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    talk, ear, _ = place.connect(place.worker())
    talk.take(m.ErrorReply(id=2, code="unsupported", text="what is a config?"))
    talk.take(m.Forgotten(id=3, run=place.new_id()))
    assert "what is a config?" in caplog.text and ear.closed is None
    assert isinstance(talk.seat, Seat)
