"""Runs that an operator gives up, and what their workers report all the same (reliability.md 4.2, 4.4, F10, F25)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from appliance.db.logs import Gap
from appliance.events import RunChanged, WorkerRevoked
from appliance.model.entities import Exit, Receipt, Run, Worker
from appliance.model.errors import Conflict, NotFound
from appliance.model.run_state import Reason, Status
from appliance.wire import NOTES, OUTPUT, RESULTS, frames
from tests.lease_place import OTHER_JOURNAL, Place, job, sha256

FIRST, WHOLE = b"first\n", b"first\nsecond\n"


@pytest.fixture
def place() -> Place:
    return Place()


STATES: dict[str, Callable[[Place, Worker], Run]] = {
    "assigned": lambda place, worker: place.assign(worker),
    "running": lambda place, worker: place.running(worker, FIRST),
    "lost": lambda place, worker: place.lost(worker),
}


# ---- declared lost


@pytest.mark.parametrize("state", STATES)
def test_fault_F10_a_run_of_a_worker_that_is_away_can_be_declared_lost(place: Place, state: str) -> None:
    worker = place.worker()
    run = STATES[state](place, worker)
    place.workers.heard({worker.id: place.clock.now()})
    place.clock.advance(60)
    after = place.lost_runs.declare(run.id, "alice")
    assert (after.status, after.reason, after.finished_at) == (
        Status.ERRORED,
        Reason.DECLARED_LOST,
        place.clock.now(),
    )
    assert after.sentence.startswith("declared lost by alice; w1 was last heard at 2026-")
    assert after == place.now(run) and RunChanged(after) in place.seen
    assert after.log == (Receipt(6, sha256(FIRST)) if state == "running" else Receipt())
    with pytest.raises(Conflict, match="ended already"):
        place.lost_runs.declare(run.id, "bob")
    assert place.now(run) == after


def test_fault_F10_a_run_of_a_connected_worker_is_aborted_and_not_declared_lost(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.connect(worker, place.held(run))
    with pytest.raises(Conflict, match="connected: abort"):
        place.lost_runs.declare(run.id, "alice")
    assert place.now(run) == run


def test_what_no_worker_has_cannot_be_declared_lost(place: Place) -> None:
    with pytest.raises(Conflict, match="cancel it"):
        place.lost_runs.declare(place.trigger().id, "alice")
    with pytest.raises(NotFound):
        place.lost_runs.declare(place.new_id(), "alice")


# ---- what is reported later


def declared(place: Place, worker: Worker, output: bytes = FIRST) -> Run:
    return place.lost_runs.declare(place.running(worker, output).id, "alice")


def test_fault_F10_a_late_report_is_kept_whole_and_changes_no_status(place: Place) -> None:
    worker = place.worker()
    run = declared(place, worker)
    results = msgspec.Raw(b'{"tests": 3}')
    talk, ear, welcomes = place.connect(worker, place.held(run, "exited"))
    (resume,) = welcomes[0].resume
    assert resume.sizes == {OUTPUT: 0, RESULTS: 0, NOTES: 0} and not resume.abort  # all of it, once more
    assert place.leases.append_log(place.holder(worker), run.id, OUTPUT, 0, WHOLE) == len(WHOLE)
    record = place.exited(run, WHOLE, status="failed", reason="exit_code", sentence="it failed", code=3, value=results)
    for _ in range(2):  # and once more, because ``committed`` got lost
        talk.take(record)
    assert len(ear.heard(type(ear.said[-1]))) == 2 and ear.closed is None
    assert place.now(run) == run
    assert place.runs.log(run.id, 0) == FIRST and place.runs.results(run.id) == {}
    late = place.runs.late(run)
    assert late is not None
    assert (late.status, late.reason, late.sentence, late.exit) == (
        "failed",
        "exit_code",
        "it failed",
        Exit(code=3, command="commands[0]"),
    )
    assert late.log == Receipt(len(WHOLE), sha256(WHOLE), complete=True, verified=True)
    assert late.results == '{"tests":3}' and late.reported_at == place.clock.now()
    with place.runs.open_late_log(run.id) as file:
        assert file.read() == WHOLE
    assert place.roster.used(worker.id) == 0


def test_fault_F10_a_late_report_may_come_in_pieces_over_lives_of_the_master(place: Place) -> None:
    worker = place.worker()
    run = declared(place, worker)
    holder = place.holder(worker)
    place.leases.append_log(holder, run.id, OUTPUT, 0, FIRST)
    place.restart()
    _, _, welcomes = place.connect(worker, place.held(run, "exited"))
    assert welcomes[0].resume[0].sizes[OUTPUT] == len(FIRST)
    with pytest.raises(Gap):
        place.leases.append_log(holder, run.id, OUTPUT, 99, b"later")
    place.leases.append_log(holder, run.id, OUTPUT, len(FIRST), WHOLE[len(FIRST) :])
    assert place.leases.exited(holder, place.exited(run, WHOLE)) is None
    late = place.runs.late(run)
    assert late is not None and late.log.verified


def test_fault_F39_a_late_report_whose_digest_differs_is_sent_once_more_and_then_flagged(place: Place) -> None:
    worker = place.worker()
    run = declared(place, worker)
    holder = place.holder(worker)
    place.leases.append_log(holder, run.id, OUTPUT, 0, b"spoilt\n")
    record = place.exited(run, b"perfect")
    nack = place.leases.exited(holder, record)
    assert nack is not None and nack.restart
    place.leases.append_log(holder, run.id, OUTPUT, 0, b"spoilt\n")
    assert place.leases.exited(holder, record) is None
    late = place.runs.late(run)
    assert late is not None and not late.log.verified and "log_mismatch" in late.notes[0]


def test_req_S_20_a_late_report_is_taken_from_its_worker_and_journal_only(place: Place) -> None:
    worker, other = place.worker(), place.worker("w2", OTHER_JOURNAL)
    run = declared(place, worker)
    for holder in (place.holder(other), place.holder(worker, OTHER_JOURNAL)):
        with pytest.raises(Exception, match="not leased"):
            place.leases.exited(holder, place.exited(run))
    assert place.runs.late(run) is None


def test_fault_F14_words_about_a_run_with_its_own_end_are_counted_and_kept_nowhere(place: Place) -> None:
    worker = place.worker()
    run = place.end(worker, place.running(worker))
    holder = place.holder(worker)
    assert place.leases.append_log(holder, run.id, OUTPUT, 0, WHOLE) == len(WHOLE)
    place.leases.started(holder, run.id, 1.0)
    place.leases.accepted(holder, run.id)
    assert place.leases.exited(holder, place.exited(run, WHOLE, status="failed", reason="exit_code")) is None
    assert place.leases.strays.of(worker.id) == (0, 4)
    assert place.now(run) == run and place.runs.late(run) is None and place.runs.log_size(run.id) == 0


# ---- lost, and put right (4.2; F10)


def test_defect_J05_fault_F10_a_lost_run_that_still_runs_is_running_again_with_a_note(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    place.connect(worker, place.held(run))
    after = place.now(run)
    assert (after.status, after.reason, after.sentence) == (Status.RUNNING, None, "")
    assert after.notes == ("was lost (no contact); w1 is back and still has it",)


def test_fault_F10_a_worker_that_is_lost_and_found_again_and_again_leaves_one_note(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    for _ in range(3):
        talk, _, _ = place.connect(worker, place.held(run))
        talk.end(())
        place.leases.lose(place.now(run), "no contact again")
    place.connect(worker, place.held(run))
    assert place.now(run).notes == ("was lost (no contact again); w1 is back and still has it",)


def test_defect_J05_fault_F10_a_lost_run_that_has_ended_takes_its_true_end_with_a_note(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    talk, _, _ = place.connect(worker, place.held(run, "exited"))
    assert place.now(run).status is Status.LOST
    talk.take(place.exited(run, status="failed", reason="exit_code", code=1))
    after = place.now(run)
    assert (after.status, after.reason) == (Status.FAILED, Reason.EXIT_CODE)
    assert after.notes == ("was lost (no contact); w1 reported its end when it was back",)
    talk.take(place.exited(run, status="failed", reason="exit_code", code=1))
    assert place.now(run) == after


@pytest.mark.parametrize(("is_accepted", "reason"), [(False, Reason.WORKER_LOST), (True, Reason.WORKER_RESET)])
def test_defect_J05_fault_F10_a_lost_run_that_its_worker_does_not_know_ends_errored(
    place: Place, is_accepted: bool, reason: Reason
) -> None:
    worker = place.worker()
    run = place.lost(worker, is_accepted=is_accepted)
    place.connect(worker)
    after = place.now(run)
    assert (after.status, after.reason) == (Status.ERRORED, reason)
    assert ("never started" in after.sentence) is not is_accepted


def test_fault_F10_an_abort_that_waited_is_delivered_when_the_worker_is_back(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    place.runs.abort(run.id, "bob")
    _, ear, welcomes = place.connect(worker, place.held(run))
    assert welcomes[0].resume[0].abort and len([one for one in ear.said if type(one).__name__ == "Abort"]) == 1
    assert place.now(run).status is Status.RUNNING and place.now(run).should_abort


# ---- revoked (F25)


def test_fault_F25_a_revoked_worker_keeps_its_runs_until_somebody_decides(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker, FIRST)
    state = place.lost_runs.revoke("w1", "alice")
    assert state.trouble == f"its token was revoked by alice at {_at(place)}; 1 of its runs waits"
    assert place.now(run) == run and WorkerRevoked(worker.id) in place.seen
    place.clock.advance(60)
    again = place.lost_runs.revoke("w1", "bob")  # no second revocation
    assert (again.worker.revoked_by, place.seen.count(WorkerRevoked(worker.id))) == ("alice", 1)


def test_defect_J05_fault_F25_a_vanished_worker_can_be_retired_with_its_runs(place: Place) -> None:
    worker = place.worker(slots=9)
    runs = [make(place, worker) for make in STATES.values()]
    with pytest.raises(Conflict, match="--give-up"):
        place.workers.remove("w1")
    place.lost_runs.revoke("w1", "alice", "give_up")
    assert {(place.now(run).status, place.now(run).reason) for run in runs} == {(Status.ERRORED, Reason.WORKER_REVOKED)}
    assert place.now(runs[0]).sentence == "alice gave it up with its worker w1"
    place.workers.remove("w1")


def test_fault_F25_runs_of_a_revoked_worker_can_be_aborted_on_its_return(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.lost_runs.revoke("w1", "alice", "abort")
    assert place.now(run).should_abort and place.now(run).status is Status.RUNNING
    place.workers.create("w1", "alice")
    _, ear, welcomes = place.connect(place.workers.named("w1").worker, place.held(run))
    assert welcomes[0].resume[0].abort and ear.closed is None


@pytest.mark.parametrize("state", STATES)
def test_fault_F25_nothing_is_accepted_from_a_revoked_worker_and_a_new_token_resumes_at_the_byte(
    place: Place, state: str
) -> None:
    worker = place.worker()
    run = STATES[state](place, worker)
    talk, ear, _ = place.connect(worker, place.held(run))
    before = place.now(run)
    size = place.runs.log_size(run.id)
    talk.retire()  # as the gateway does at once
    place.lost_runs.revoke("w1", "alice")
    talk.take(frames.Data(run=run.id, stream=OUTPUT, offset=size, payload=b"more"))
    talk.take(place.exited(run))
    _, refused, welcomes = place.connect(worker, place.held(run))
    assert refused.closed is not None and refused.closed[0] == 4002 and welcomes == []
    assert place.now(run) == before and place.runs.log_size(run.id) == size
    talk.end(())

    worker, _ = place.workers.create("w1", "bob")
    assert (worker.owner, worker.revoked_at, worker.journal_id) == ("bob", None, run_journal(place, run))
    talk, ear, welcomes = place.connect(worker, place.held(run))
    assert ear.closed is None and welcomes[0].resume[0].sizes[OUTPUT] == size
    talk.take(place.exited(run, place.logs.read(run.id, OUTPUT, 0, 99)))
    assert place.now(run).status is Status.SUCCEEDED


def test_fault_F25_a_worker_that_has_a_good_token_gets_no_second_one(place: Place) -> None:
    place.worker()
    with pytest.raises(Conflict, match="orchestra worker revoke w1"):
        place.workers.create("w1", "mallory")


def test_fault_F25_a_late_report_of_a_run_that_was_given_up_is_kept(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    place.lost_runs.revoke("w1", "alice", "give_up")
    worker, _ = place.workers.create("w1", "alice")
    talk, _, _ = place.connect(worker, place.held(run, "exited"))
    talk.take(place.exited(run))
    late = place.runs.late(place.now(run))
    assert late is not None and late.status == "succeeded"
    assert place.now(run).reason is Reason.WORKER_REVOKED


def test_jobs_of_a_patient_run_can_be_declared_lost_too() -> None:
    place = Place(job(lost_after="never"))
    run = place.running(place.worker())
    place.clock.advance(10**7)
    assert place.sweeper.look_for_lost() == 0
    assert place.lost_runs.declare(run.id, "alice").reason is Reason.DECLARED_LOST


def run_journal(place: Place, run: Run) -> str:
    lease = place.repository.runs.lease(run.id)
    assert lease is not None
    return lease.journal_id


def _at(place: Place) -> str:
    return f"{place.clock.now():%Y-%m-%d %H:%M:%S} UTC"
