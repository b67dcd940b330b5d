"""After a restore from a backup (F24): what waits until all workers have told, and what people are told."""

from __future__ import annotations

import pytest

from appliance.model.errors import Conflict
from appliance.model.run_state import Reason, Status
from appliance.recoveries import show_hold, show_recovery
from appliance.wire import Close
from appliance.wire import messages as m
from tests.lease_place import job
from tests.restored_place import Talk, Twins, newest


@pytest.fixture
def twins() -> Twins:
    return Twins()


# ---- what waits meanwhile


def assignments(talk: Talk) -> list[str]:
    return [one.run for one in talk.ear.heard(m.Assign)]


def test_fault_F24_runs_of_the_backup_wait_for_every_worker_and_newer_ones_do_not(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    new = twins.place.trigger()
    one = twins.connect(twins.w1, slots=4)
    twins.place.dispatcher.step()
    assert assignments(one) == []  # it has not told what it keeps
    one.keeps()
    twins.place.dispatcher.step()
    assert assignments(one) == [new.id]
    assert twins.place.dispatcher.waiting == 1
    over = twins.finished(twins.w2, twins.later.now(old))
    two = twins.connect(twins.w2)
    two.keeps(twins.kept(over))
    two.tells(over)
    twins.place.dispatcher.step()
    assert assignments(one) + assignments(two) == [new.id]  # it was executed by w2, and never again
    assert twins.place.now(old).worker == "w2"


def test_fault_F24_runs_that_nobody_has_executed_are_given_when_all_have_told(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    for worker in (twins.w1, twins.w2):
        talk = twins.connect(worker)
        twins.place.dispatcher.step()
        assert twins.place.now(old).status is Status.PENDING
        talk.keeps()
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.ASSIGNED


def test_fault_F24_an_operator_can_release_what_waits(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    twins.connect(twins.w1).keeps()
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.PENDING
    assert twins.place.recoveries.release("alice").released_by == "alice"
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.ASSIGNED
    with pytest.raises(Conflict, match="nothing to release"):
        twins.place.recoveries.release("alice")


def test_a_worker_that_is_removed_is_not_waited_for(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.dispatcher.load()
    twins.connect(twins.w1).keeps()
    twins.place.workers.remove("w2")
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.ASSIGNED


def test_fault_F24_a_recovery_that_is_noticed_late_stops_what_is_not_yet_given(twins: Twins) -> None:
    first = twins.both(lambda place: place.trigger())
    twins.place.dispatcher.load()
    over = twins.finished(twins.w2, twins.later.now(first))
    talk = twins.connect(twins.w2, last=twins.kept(over))
    twins.connect(twins.w1)
    twins.place.dispatcher.step()
    assert twins.place.now(first).status is Status.PENDING
    talk.keeps(twins.kept(over))
    talk.tells(over)
    assert twins.place.now(first).worker == "w2"


def test_fault_F24_runs_of_the_backup_do_not_expire_are_not_removed_and_not_lost_meanwhile(twins: Twins) -> None:
    pending = twins.both(lambda place: place.trigger())
    given = twins.both(lambda place: place.assign(place.worker_named("w1")))
    twins.place.recoveries.begin("restored")
    twins.place.clock.advance(10**6)
    twins.place.put_jobs(job("another"))
    assert twins.place.runs.cancel_removed() == 0
    twins.place.sweeper.sweep()
    assert [twins.place.now(run).status for run in (pending, given)] == [Status.PENDING, Status.ASSIGNED]
    twins.place.recoveries.release("alice")
    twins.place.sweeper.sweep()
    assert twins.place.now(pending).reason is Reason.EXPIRED


def test_fault_F24_a_recovery_outlives_the_master(twins: Twins) -> None:
    old = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored")
    twins.place.restart()
    twins.place.dispatcher.load()
    talk = twins.connect(twins.w1)
    assert talk.welcomes[0].reconcile
    talk.keeps()
    twins.place.dispatcher.step()
    assert twins.place.now(old).status is Status.PENDING


def test_fault_F24_a_connection_that_is_cut_in_between_goes_on_where_it_was(twins: Twins) -> None:
    over = [twins.finished(twins.w1) for _ in range(2)]
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(*map(twins.kept, over))
    talk.tells(over[0])
    again = twins.connect(twins.w1, twins.kept(over[0]))  # the recalled one is live there again
    assert [resume.run for resume in again.welcomes[0].resume] == [over[0].id]
    assert talk.ear.closed is not None
    assert talk.ear.closed[0] == Close.SUPERSEDED
    again.keeps(twins.kept(over[1]))
    assert again.recalled == [over[1].id]
    again.tells(over[1])
    for run in over:
        again.ends(run)
    assert [twins.place.now(run).status for run in over] == [Status.SUCCEEDED] * 2
    assert newest(twins.place).recovered == 2


# ---- what people are told


def test_an_administrator_reads_what_came_back_and_who_is_missing(twins: Twins) -> None:
    twins.place.workers.enable("w2", False)
    backup_at = twins.place.clock.now()
    twins.place.recoveries.begin("restored", backup_at)
    when = f"{backup_at:%Y-%m-%d %H:%M} UTC"
    said = f"restored from the backup of {when}; 0 runs recovered, 0 could not be"
    assert show_recovery(newest(twins.place)) == f"{said}; waits for w1, w2 (disabled)"
    assert show_hold(newest(twins.place)).startswith("waits: restored from a backup; 2 workers have not reported yet")
    twins.place.recoveries.release("alice")
    assert show_recovery(newest(twins.place)) == f"{said}; it is over: released by alice"
