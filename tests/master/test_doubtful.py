"""After a restore from a backup (F24): runs that wait here and that a worker has, or may have, executed since."""

from __future__ import annotations

import msgspec
import pytest

from appliance.model.errors import Conflict
from appliance.model.run_state import Reason, Status
from appliance.wire import messages as m
from tests.restored_place import Talk, Twins, newest


@pytest.fixture
def twins() -> Twins:
    return Twins()


def assignments(*talks: Talk) -> list[str]:
    return [one.run for talk in talks for one in talk.ear.heard(m.Assign)]


@pytest.mark.parametrize("before", ["pending", "assigned to it", "assigned to the other"])
def test_inv_I2_a_run_that_a_worker_had_and_can_no_longer_tell_is_not_executed_again(twins: Twins, before: str) -> None:
    if before == "pending":
        old = twins.both(lambda place: place.trigger())
    else:
        name = "w2" if before == "assigned to it" else "w1"
        old = twins.both(lambda place: place.assign(place.worker_named(name)))
        twins.later.leases.take_back(old.id)
    over = twins.finished(twins.w2, twins.later.now(old))
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    two = twins.connect(twins.w2)
    two.keeps(twins.kept(over))
    two.lacks(over)  # its retention came in between, or its files are damaged
    one = twins.connect(twins.w1)
    one.keeps()
    twins.place.dispatcher.step()
    ended = twins.place.now(old)
    assert (ended.status, ended.reason, ended.worker) == (Status.ERRORED, Reason.WORKER_RESET, "w2")
    assert "cannot tell it" in ended.sentence
    assert assignments(one, two) == []
    assert (newest(twins.place).failed, newest(twins.place).is_open) == (1, False)


def test_fault_F37_what_a_worker_too_old_to_tell_again_has_is_not_executed_again(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    given = twins.later.assign(twins.w2, twins.later.now(old))
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    twins.connect(twins.w2, twins.later.held(given), recalls=False)
    assert twins.place.now(old).reason is Reason.WORKER_RESET


# ---- cancel and abort meanwhile


@pytest.mark.parametrize("before", ["pending", "assigned"])
@pytest.mark.parametrize("order", ["cancel", "abort"])
def test_inv_I2_a_cancel_does_not_hide_that_a_worker_has_executed_the_run(
    twins: Twins, before: str, order: str
) -> None:
    if before == "pending":
        old = twins.both(lambda place: place.trigger())
    else:
        old = twins.both(lambda place: place.assign(place.worker_named("w1")))
        twins.later.leases.take_back(old.id)
    over = twins.finished(twins.w2, twins.later.now(old))
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    asked = getattr(twins.place.runs, order)(old.id, "alice")
    assert asked.outcome in ("withdrawing", "aborting")
    twins.connect(twins.w1).keeps()  # it never had it
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.PENDING  # nobody may say yet that it never began
    two = twins.connect(twins.w2)
    two.keeps(twins.kept(over))
    two.tells(over)
    two.ends(over)
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.SUCCEEDED
    with pytest.raises(Conflict):
        twins.place.runs.cancel(old.id, "alice")


@pytest.mark.parametrize("end", ["all have told", "released"])
@pytest.mark.parametrize("order", ["cancel", "abort"])
def test_fault_F24_a_cancel_is_done_when_nothing_is_waited_for_any_more(twins: Twins, end: str, order: str) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    assert "if no worker has begun it" in getattr(twins.place.runs, order)(old.id, "alice").sentence
    one = twins.connect(twins.w1)
    one.keeps()
    if end == "released":
        twins.place.recoveries.release("bob")
    else:
        twins.connect(twins.w2).keeps()
    twins.place.dispatcher.step()
    cancelled = twins.place.now(old)
    assert (cancelled.status, cancelled.reason) == (Status.CANCELLED, Reason.REQUESTED)
    assert "alice" in cancelled.sentence
    assert assignments(one) == []
    assert twins.place.dispatcher.waiting == 0


def test_fault_F24_a_cancel_outlives_a_master_that_dies_before_it_is_done(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.runs.cancel(old.id, "alice")
    twins.place.recoveries.release("bob")
    twins.place.restart()
    twins.place.dispatcher.load()
    twins.place.dispatcher.step()  # though no worker has a free slot
    assert twins.place.now(old).status is Status.CANCELLED


def test_fault_F24_runs_whose_job_was_removed_meanwhile_are_cancelled_when_they_are_let_go(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    twins.place.put_jobs()
    assert twins.place.runs.cancel_removed() == 0
    twins.place.recoveries.release("bob")
    twins.place.dispatcher.step()
    assert twins.place.now(old).reason is Reason.REMOVED


# ---- who has it


def test_fault_F24_a_run_that_was_given_again_to_the_same_worker_comes_back_from_it(twins: Twins) -> None:
    old = twins.both(lambda place: place.assign(place.worker_named("w1")))
    twins.later.leases.take_back(old.id)
    twins.later.limits = msgspec.structs.replace(twins.later.limits, grace=7.0)  # then its cap is another one
    given = twins.later.assign(twins.w1, twins.later.now(old))
    twins.later.leases.accepted(twins.later.holder(twins.w1), given.id)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1, twins.later.held(given))
    talk.keeps()
    assert talk.welcomes[0].unknown == ()
    assert talk.recalled == [old.id]
    talk.tells(given)
    again = twins.connect(twins.w1, twins.later.held(given))  # a cable was cut: it is resumed as any run
    assert [one.run for one in again.welcomes[0].resume] == [old.id]
    again.ends(given)
    assert twins.place.now(old).status is Status.SUCCEEDED


def test_fault_F24_after_a_release_a_worker_that_comes_late_takes_no_run_from_another(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    over = twins.finished(twins.w2, twins.later.now(old))
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    one = twins.connect(twins.w1)
    one.keeps()
    twins.place.recoveries.release("alice")
    twins.place.dispatcher.step()
    assert assignments(one) == [old.id]
    two = twins.connect(twins.w2)
    two.keeps(twins.kept(over))
    assert two.recalled == []
    assert (twins.place.now(old).status, twins.place.now(old).worker) == (Status.ASSIGNED, "w1")


def test_a_run_that_another_worker_was_to_have_keeps_its_slot_with_the_one_that_has_it(twins: Twins) -> None:
    old = twins.both(lambda place: place.assign(place.worker_named("w1")))
    twins.later.leases.take_back(old.id)
    given = twins.later.assign(twins.w2, twins.later.now(old))
    twins.later.leases.accepted(twins.later.holder(twins.w2), given.id)
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    two = twins.connect(twins.w2, twins.later.held(given))
    two.keeps()
    two.tells(given)
    seat = twins.place.roster.seat(twins.w2.id)
    assert seat is not None
    assert set(seat.slot_of) == {old.id}


def test_fault_F24_a_recalled_run_that_lost_its_secrets_gets_them_again(twins: Twins) -> None:
    run = twins.later.running(twins.w1)
    twins.place.recoveries.begin("restored")
    item = msgspec.structs.replace(twins.kept(run), state="accepted", needs_secrets=True)
    talk = twins.connect(twins.w1, item)
    talk.keeps()
    talk.tells(run)
    assert assignments(talk) == [run.id]


# ---- ended here without its worker


def test_fault_F10_what_a_worker_committed_since_is_the_late_report_of_a_run_declared_lost(twins: Twins) -> None:
    run = twins.both(lambda place: place.running(place.worker_named("w1")))
    over = twins.later.end(twins.w1, twins.later.now(run))
    twins.place.recoveries.begin("restored")
    twins.place.lost_runs.declare(run.id, "alice")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over)
    talk.ends(over, b"all of it")
    declared = twins.place.now(run)
    assert (declared.status, declared.reason) == (Status.ERRORED, Reason.DECLARED_LOST)
    late = twins.place.runs.late(declared)
    assert late is not None
    assert (late.status, late.log.size) == ("succeeded", len(b"all of it"))
    assert newest(twins.place).recovered == 0
    assert [one.name for one in newest(twins.place).waiting] == ["w2"]


def test_fault_F24_numbers_of_a_job_that_is_new_here_are_not_given_twice(twins: Twins) -> None:
    over = twins.finished(twins.w1)  # the first of its job, after the backup
    twins.place.new_id()  # the places make the same ids
    twins.place.recoveries.begin("restored")
    new = twins.place.trigger()
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over)
    assert twins.place.now(over).number == over.number != new.number


def test_fault_F26_what_was_planned_for_a_journal_that_is_gone_waits_for_the_other_workers(twins: Twins) -> None:
    old = twins.both(lambda place: place.assign(place.worker_named("w1")))
    twins.later.leases.take_back(old.id)
    over = twins.finished(twins.w2, twins.later.now(old))
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    twins.place.clock.advance(3600)
    twins.connect(twins.w1, journal="7" * 32).keeps()  # its machine was made anew since
    assert twins.place.now(old).status is Status.PENDING
    two = twins.connect(twins.w2)
    two.keeps(twins.kept(over))
    two.tells(over)
    two.ends(over)
    assert (twins.place.now(old).status, twins.place.now(old).worker) == (Status.SUCCEEDED, "w2")
