"""A master whose database is older than what its workers know (F24): what it asks of them, and what comes back."""

from __future__ import annotations

import msgspec
import pytest

from appliance.db.lineage import NUMBERS_SKIPPED
from appliance.model.caps import make_cap, request_digest
from appliance.model.entities import Run
from appliance.model.run_state import Reason, Status
from appliance.wire import Close
from appliance.wire import messages as m
from tests.lease_place import JOURNAL, KEY, Place, job
from tests.restored_place import Twins, newest


@pytest.fixture
def twins() -> Twins:
    return Twins()


# ---- what begins a recovery


def test_a_worker_that_knows_nothing_more_begins_nothing(twins: Twins) -> None:
    run = twins.both(lambda place: place.running(place.worker_named("w1")))
    lineage = twins.place.lineage
    talk = twins.connect(
        twins.w1, twins.place.held(run), epoch=lineage.epoch, incarnation=lineage.incarnation, cluster=lineage.cluster
    )
    fresh = twins.connect(twins.w2)
    assert twins.place.recoveries.newest() is None
    assert [talk.welcomes[0].reconcile, fresh.welcomes[0].reconcile] == [False, False]


def test_fault_F24_a_life_of_the_master_that_was_never_issued_begins_one(twins: Twins) -> None:
    twins.later.restart()
    lineage = twins.later.lineage
    talk = twins.connect(twins.w1, epoch=lineage.epoch, incarnation=lineage.incarnation)
    assert talk.welcomes[0].reconcile
    assert newest(twins.place).backup_at is None
    assert {one.name for one in newest(twins.place).waiting} == {"w1", "w2"}


def test_fault_F24_a_commit_that_was_never_made_begins_one_within_one_life(twins: Twins) -> None:
    over = twins.finished(twins.w1)
    lineage = twins.place.lineage
    talk = twins.connect(twins.w1, last=twins.kept(over), epoch=lineage.epoch, incarnation=lineage.incarnation)
    assert talk.welcomes[0].reconcile


def test_fault_F24_a_live_run_that_was_never_given_begins_one(twins: Twins) -> None:
    run = twins.later.running(twins.w1)
    talk = twins.connect(twins.w1, twins.later.held(run))
    assert talk.welcomes[0].reconcile
    assert talk.welcomes[0].forget == ()
    assert talk.recalled == [run.id]


def test_req_S_20_what_no_cap_proves_begins_nothing(twins: Twins) -> None:
    forged = m.Held(run=twins.place.new_id(), cap="f" * 64, digest="0" * 64, state="exited")
    talk = twins.connect(twins.w1, forged, last=msgspec.structs.replace(forged, run=twins.place.new_id()))
    assert twins.place.recoveries.newest() is None
    assert talk.welcomes[0].unknown == (forged.run,)


def test_req_S_20_who_was_not_told_of_a_commit_begins_nothing(twins: Twins) -> None:
    run = twins.place.running(twins.place.worker_named("w1"))
    lease = twins.place.repository.runs.lease(run.id)
    assert lease is not None
    last = m.Held(run=run.id, cap=lease.cap, digest=twins.place.digests[run.id], state="exited")
    for proof in (None, "f" * 64):
        twins.connect(twins.w1, twins.place.held(run), last=msgspec.structs.replace(last, proof=proof))
    assert twins.place.recoveries.newest() is None


def test_req_S_20_a_run_that_was_given_back_begins_nothing(twins: Twins) -> None:
    run = twins.place.assign(twins.place.worker_named("w1"))
    held = twins.place.held(run)
    twins.place.leases.take_back(run.id)
    talk = twins.connect(twins.w1, held)
    assert twins.place.recoveries.newest() is None
    assert talk.welcomes[0].unknown == (run.id,)


def test_fault_F24_a_run_that_was_given_back_before_the_backup_and_given_again_after_it_begins_one(
    twins: Twins,
) -> None:
    def given_back(place: Place) -> Run:
        run = place.assign(place.worker_named("w1"))
        return place.leases.take_back(run.id)

    run = twins.both(given_back)
    again = twins.later.assign(twins.w1, twins.later.now(run))
    twins.later.leases.accepted(twins.later.holder(twins.w1), again.id)
    talk = twins.connect(twins.w1, twins.later.held(twins.later.now(again)))
    assert talk.welcomes[0].reconcile
    assert talk.recalled == [run.id]


def test_req_S_20_a_life_that_never_was_is_refused_and_begins_nothing(twins: Twins) -> None:
    now = twins.place.lineage
    for epoch, incarnation in ((now.epoch + 1, "e" * 32), (now.epoch + 1, now.incarnation)):
        talk = twins.connect(twins.w1, epoch=epoch, incarnation=incarnation)
        assert talk.welcomes == []
        assert talk.ear.closed is not None and talk.ear.closed[0] == Close.OTHER_CLUSTER
    assert twins.place.recoveries.newest() is None


def test_fault_F24_a_lost_life_begins_one_recovery_and_never_another(twins: Twins) -> None:
    twins.later.restart()
    lost = twins.later.lineage
    for worker in (twins.w1, twins.w2):
        twins.connect(worker, epoch=lost.epoch, incarnation=lost.incarnation).keeps()
    assert newest(twins.place).ended_at is not None
    for worker in (twins.w1, twins.w2):
        talk = twins.connect(worker, epoch=lost.epoch, incarnation=lost.incarnation)
        assert not talk.welcomes[0].reconcile
    assert newest(twins.place).number == 1


def test_fault_F24_a_second_restore_begins_a_second_recovery(twins: Twins) -> None:
    twins.place.recoveries.begin("restored")
    for worker in (twins.w1, twins.w2):
        twins.connect(worker).keeps()
    first = newest(twins.place)
    assert first.ended_at is not None
    over = twins.finished(twins.w1)
    twins.connect(twins.w1, last=twins.kept(over))
    assert newest(twins.place).number == first.number + 1


# ---- what comes back


def test_fault_F24_a_run_that_is_not_here_comes_back_with_number_log_and_end(twins: Twins) -> None:
    over = twins.finished(twins.w1, twins.later.trigger(branch="später"))
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    assert talk.recalled == [over.id]
    talk.tells(over)
    back = twins.place.runs.get(over.id)
    assert (back.status, back.recovered) == (Status.RUNNING, True)
    told = ("id", "project", "job", "number", "parameters", "source", "definition_version", "created_at", "expires_at")
    assert [getattr(back, name) for name in told] == [getattr(over, name) for name in told]
    assert (back.worker, back.worker_id) == ("w1", twins.w1.id)
    (resume,) = talk.resumed
    assert (resume.run, resume.sizes[0], resume.abort) == (over.id, 0, False)
    talk.ends(over, b"the whole log")
    ended = twins.place.runs.get(over.id)
    assert (ended.status, ended.log.size, ended.log.verified) == (Status.SUCCEEDED, 13, True)
    assert [one.run for one in talk.ear.heard(m.Committed)] == [over.id]
    assert ended.accepted_at is not None
    assert ended.accepted_at <= ended.created_at
    assert newest(twins.place).recovered == 1


def test_fault_F24_a_run_that_still_runs_comes_back_and_goes_on(twins: Twins) -> None:
    run = twins.later.running(twins.w1)
    talk = twins.connect(twins.w1, twins.later.held(run))
    talk.keeps()
    assert newest(twins.place).waiting != ()
    talk.tells(run)
    seat = twins.place.roster.seat(twins.w1.id)
    assert seat is not None
    assert list(seat.slot_of) == [run.id]
    assert twins.place.runs.get(run.id).status is Status.RUNNING
    talk.ends(run)
    assert twins.place.runs.get(run.id).status is Status.SUCCEEDED
    assert "w1" not in {one.name for one in newest(twins.place).waiting}


@pytest.mark.parametrize("before", ["pending", "assigned to it", "assigned to another", "running on it", "lost"])
def test_fault_F24_a_run_that_the_backup_thinks_live_is_completed(twins: Twins, before: str) -> None:
    def prepare(place: Place) -> Run:
        w1, w2 = place.worker_named("w1"), place.worker_named("w2")
        match before:
            case "pending":
                return place.trigger()
            case "assigned to it":
                return place.assign(w1)
            case "assigned to another":
                return place.assign(w2)
            case "running on it":
                return place.running(w1)
            case _:
                return place.lost(w1)

    run = twins.both(prepare)
    known = twins.later.now(run)
    if before == "assigned to another":
        twins.later.leases.take_back(run.id)
    if before in ("pending", "assigned to another"):
        known = twins.later.assign(twins.w1, twins.later.now(run))
    if before != "running on it" and before != "lost":
        twins.later.leases.accepted(twins.later.holder(twins.w1), run.id)
    over = twins.later.end(twins.w1, known)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    assert twins.place.now(run).status is twins.place.now(run).status
    talk.keeps(twins.kept(over))
    assert talk.recalled == [run.id]
    talk.tells(over)
    talk.ends(over)
    after = twins.place.now(run)
    assert (after.status, after.recovered, after.worker) == (Status.SUCCEEDED, True, "w1")
    assert after.number == over.number


def test_fault_F24_a_run_whose_end_is_known_is_not_asked_for(twins: Twins) -> None:
    over = twins.both(lambda place: place.end(place.worker_named("w1"), place.running(place.worker_named("w1"))))
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    assert talk.recalled == []
    assert not twins.place.now(over).recovered
    assert "w1" not in {one.name for one in newest(twins.place).waiting}


def test_fault_F24_a_number_that_a_newer_run_has_is_not_given_twice(twins: Twins) -> None:
    over = twins.finished(twins.w1)
    twins.place.new_id()  # so that it is another run
    newer = twins.place.trigger()
    assert newer.number == over.number
    twins.place.recoveries.begin("seen too late")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over)
    back = twins.place.runs.get(over.id)
    assert back.number == newer.number + NUMBERS_SKIPPED + 1
    assert any(f"number {over.number}" in note for note in back.notes)
    assert twins.place.trigger().number == back.number + 1


def test_fault_F24_a_run_of_a_job_that_is_gone_comes_back_under_its_name(twins: Twins) -> None:
    over = twins.finished(twins.w1)
    twins.place.put_jobs(job("another"))
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over)
    assert (twins.place.runs.get(over.id).project, twins.place.runs.get(over.id).job) == ("p", "work")


def test_inv_I6_a_recall_that_is_answered_twice_or_never_asked_changes_nothing(twins: Twins) -> None:
    over, other = twins.finished(twins.w1), twins.finished(twins.w1)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over)
    back = twins.place.runs.get(over.id)
    talk.tells(over)
    talk.tells(other)
    talk.keeps(twins.kept(over))
    assert twins.place.runs.get(over.id) == back
    assert twins.place.repository.runs.get(other.id) is None
    assert [one.code for one in talk.ear.heard(m.ErrorReply)] == ["order", "order"]


# ---- what cannot come back


def test_req_S_20_a_request_that_was_changed_is_not_believed(twins: Twins) -> None:
    over = twins.finished(twins.w1)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.tells(over, twins.request(over).replace('"number":', '"number":9'))
    assert twins.place.repository.runs.get(over.id) is None
    assert twins.place.leases.strays.of(twins.w1.id) == (1, 0)
    assert (newest(twins.place).recovered, newest(twins.place).failed) == (0, 1)
    assert "w1" not in {one.name for one in newest(twins.place).waiting}


def test_req_S_20_a_run_of_another_worker_is_not_taken(twins: Twins) -> None:
    over = twins.finished(twins.w1)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w2)
    talk.keeps(twins.kept(over))
    assert talk.recalled == []
    assert twins.place.leases.strays.of(twins.w2.id) == (1, 0)


def test_a_request_that_says_too_little_is_kept_for_the_operator(twins: Twins) -> None:
    run_id, request = twins.place.new_id(), '{"format":1}'
    digest = request_digest(request)
    held = m.Held(run=run_id, cap=make_cap(KEY, run_id, twins.w1.id, JOURNAL, digest), digest=digest, state="exited")
    talk = twins.connect(twins.w1, held)
    assert talk.recalled == [run_id]
    talk.keeps()
    talk.conversation.take(m.Recalled(id=6, run=run_id, request=request))
    assert newest(twins.place).failed == 1
    again = twins.connect(twins.w1, held)
    assert (again.welcomes[0].reconcile, again.welcomes[0].unknown, again.welcomes[0].forget) == (False, (run_id,), ())
    assert newest(twins.place).number == 1


def test_fault_F24_what_the_worker_no_longer_has_ends_with_the_reason(twins: Twins) -> None:
    run = twins.both(lambda place: place.running(place.worker_named("w1")))
    given = twins.both(lambda place: place.assign(place.worker_named("w1")))
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    assert twins.place.now(run).status is Status.RUNNING  # it may still say that it keeps the run
    talk.keeps()
    ended = twins.place.now(run)
    assert (ended.status, ended.reason) == (Status.ERRORED, Reason.WORKER_RESET)
    assert twins.place.now(given).status is Status.PENDING
    assert talk.ear.heard(m.Assign) == []
    assert newest(twins.place).failed == 1


def test_a_run_that_the_worker_lost_between_list_and_recall_counts_as_failed(twins: Twins) -> None:
    run = twins.both(lambda place: place.running(place.worker_named("w1")))
    over = twins.later.end(twins.w1, twins.later.now(run))
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(twins.kept(over))
    talk.lacks(over)
    assert twins.place.now(run).reason is Reason.WORKER_RESET
    assert newest(twins.place).failed == 1


def test_fault_F37_a_worker_that_cannot_tell_again_is_merged_with_a_note(twins: Twins) -> None:
    run = twins.both(lambda place: place.running(place.worker_named("w1")))
    stranger = twins.later.running(twins.w1)
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1, twins.place.held(run), twins.later.held(stranger), recalls=False)
    assert talk.recalled == []
    assert twins.place.now(run).status is Status.RUNNING
    (w1,) = (one for one in newest(twins.place).workers if one.name == "w1")
    assert w1.merged_at is not None
    assert "too old" in w1.note
    assert newest(twins.place).failed == 1
    seat = twins.place.roster.seat(twins.w1.id)
    assert seat is not None
    assert seat.free == 1


def test_a_whole_inventory_has_its_limit_here_too(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.master.recalling.INVENTORY_LIMIT", 1)
    over = [twins.finished(twins.w1) for _ in range(2)]
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(*map(twins.kept, over))
    assert [one.code for one in talk.ear.heard(m.ErrorReply)] == ["too_big"]


def test_recalls_are_asked_a_few_at_a_time(twins: Twins) -> None:
    over = [twins.finished(twins.w1) for _ in range(40)]
    twins.place.recoveries.begin("restored")
    talk = twins.connect(twins.w1)
    talk.keeps(*map(twins.kept, over[:30]), more=True)
    talk.keeps(*map(twins.kept, over[30:]))
    assert len(talk.recalled) == 16
    by_id = {run.id: run for run in over}
    told = 0
    while told < len(talk.recalled):
        assert len(talk.recalled) <= told + 16
        assert "w1" in {one.name for one in newest(twins.place).waiting}
        talk.tells(by_id[talk.recalled[told]])
        told += 1
    assert told == 40
    assert newest(twins.place).recovered == 40
    assert "w1" not in {one.name for one in newest(twins.place).waiting}


def test_fault_F24_a_draining_worker_is_not_drained_before_it_has_told_what_it_has(twins: Twins) -> None:
    twins.place.dispatcher.load()  # it hears of the end
    twins.place.workers.drain("w1")
    newer = twins.later.running(twins.w1)
    held = twins.later.held(newer)
    twins.place.recoveries.begin("restored", twins.place.clock.now())
    away = twins.place.workers.named("w1")
    assert not away.is_drained and "0 runs left as far as is known" in away.sentence
    talk = twins.connect(twins.w1, held)
    assert not twins.place.workers.named("w1").is_drained
    talk.keeps()
    talk.tells(newer)
    state = twins.place.workers.named("w1")
    assert not state.is_drained and state.left == 1
    talk.ends(newer)
    assert twins.place.workers.named("w1").is_drained
