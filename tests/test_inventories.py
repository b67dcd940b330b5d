"""A worker that comes back (reliability.md 5.2, F14, F26): its inventory, merged with what the master knows."""

from __future__ import annotations

import msgspec
import pytest

from appliance.model.caps import make_cap, request_digest
from appliance.model.run_state import Reason, Status
from appliance.wire import NOTES, OUTPUT, RESULTS
from appliance.wire import messages as m
from tests.lease_place import KEY, OTHER_JOURNAL, Place

NOTHING = {OUTPUT: 0, RESULTS: 0, NOTES: 0}


@pytest.fixture
def place() -> Place:
    return Place()


# ---- listed runs


def test_a_run_that_the_worker_has_is_running_and_goes_on_at_its_byte(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.restart()
    merge = place.reconcile(worker, place.held(run, "accepted"))
    assert place.now(run).status is Status.RUNNING and place.now(run).accepted_at is not None
    assert merge.merged.resume == (m.Resume(run=run.id, sizes=NOTHING),)
    assert (merge.slots, merge.again, merge.intents) == ({run.id: 0}, (), ())


def test_the_bytes_that_are_here_are_named_for_each_stream(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker, b"0123456789")
    place.leases.append_log(place.holder(worker), run.id, NOTES, 0, b"{}\n")
    place.restart()
    (resume,) = place.reconcile(worker, place.held(run)).merged.resume
    assert resume.sizes == {OUTPUT: 10, RESULTS: 0, NOTES: 3}


@pytest.mark.parametrize("state", ["accepted", "started"])
def test_fault_F10_a_lost_run_that_still_runs_is_running_again(place: Place, state: str) -> None:
    worker = place.worker()
    runs = (place.lost(worker), place.lost(worker, is_accepted=False))
    place.reconcile(worker, *(place.held(run, state) for run in runs))
    for run in runs:
        after = place.now(run)
        assert (after.status, after.reason, after.sentence) == (Status.RUNNING, None, "")
        assert after.accepted_at is not None


def test_fault_F10_a_lost_run_that_has_ended_waits_for_its_exit_record(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    merge = place.reconcile(worker, place.held(run, "exited"))
    assert place.now(run).status is Status.LOST
    assert [one.run for one in merge.merged.resume] == [run.id]
    assert place.end(worker, run).status is Status.SUCCEEDED


def test_an_abort_that_was_asked_meanwhile_is_told(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    place.runs.abort(run.id, "bob")
    merge = place.reconcile(worker, place.held(run))
    assert merge.merged.resume == (m.Resume(run=run.id, sizes=NOTHING, abort=True),)
    assert [one.id for one in merge.intents] == [run.id]


def test_a_cancel_that_came_too_late_is_an_abort(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.runs.cancel(run.id, "bob")
    (resume,) = place.reconcile(worker, place.held(run, "accepted")).merged.resume
    assert resume.abort
    assert (place.now(run).should_abort, place.now(run).should_cancel) == (True, False)


def test_inv_I6_a_merge_that_is_repeated_changes_nothing(place: Place) -> None:
    worker = place.worker()
    runs = [place.assign(worker), place.running(worker, b"x"), place.lost(worker)]
    first = place.reconcile(worker, *map(place.held, runs))
    after = [place.now(run) for run in runs]
    second = place.reconcile(worker, *map(place.held, runs))
    assert [place.now(run) for run in runs] == after
    assert second == first


# ---- listed runs that are not live here


def test_a_run_that_ended_here_says_its_end_again_and_is_told_committed(place: Place) -> None:
    worker = place.worker()
    run = place.end(worker, place.running(worker))
    place.restart()
    merge = place.reconcile(worker, place.held(run, "exited"))
    assert merge.merged.resume == (m.Resume(run=run.id),)  # what is durable of it, which is nothing
    assert merge.slots == {}
    assert place.leases.exited(place.holder(worker), place.exited(run)) is None
    assert place.now(run) == run


def test_fault_F14_a_run_that_was_deleted_here_is_to_be_forgotten(place: Place) -> None:
    worker = place.worker()
    gone = place.new_id()
    digest = request_digest("{}")
    cap = make_cap(KEY, gone, worker.id, worker.journal_id or "", digest)
    merge = place.reconcile(worker, m.Held(run=gone, cap=cap, digest=digest, state="exited"))
    assert (merge.merged.forget, merge.merged.unknown) == ((gone,), ())


def test_req_S_20_a_run_without_a_valid_cap_is_kept_for_the_operator_and_counted(place: Place) -> None:
    worker = place.worker()
    mine = place.running(worker)
    pretended = [
        msgspec.structs.replace(place.held(mine), cap="f" * 64),  # live here, and not proved
        msgspec.structs.replace(place.held(mine), run=place.new_id()),  # the cap of another run
        msgspec.structs.replace(place.held(mine), run=place.trigger().id),  # never leased
    ]
    before = place.now(mine)
    for held in pretended:
        merge = place.reconcile(worker, held)
        assert (merge.merged.unknown, merge.merged.resume, merge.merged.forget) == ((held.run,), (), ())
    assert place.now(mine).status is Status.ERRORED and before.status is Status.RUNNING  # it was not listed
    assert place.leases.strays.of(worker.id) == (3, 0)


def test_req_S_20_a_run_of_another_worker_stays_with_that_worker(place: Place) -> None:
    first, second = place.worker(), place.worker("w2", OTHER_JOURNAL)
    run = place.running(first)
    merge = place.reconcile(second, place.held(run))
    assert merge.merged.unknown == (run.id,)
    assert place.now(run) == run


# ---- runs that are missing


def test_an_assignment_that_the_worker_never_got_is_made_again_word_for_word(place: Place) -> None:
    worker = place.worker()
    given = place.assignment(worker)
    merge = place.reconcile(worker)
    assert [(one.run.id, one.lease) for one in merge.again] == [(given.run.id, given.lease)]
    assert merge.slots == {given.run.id: given.lease.slot}
    assert place.now(given.run) == given.run


@pytest.mark.parametrize("why", ["it takes no work", "cancel", "abort"])
def test_an_assignment_that_the_worker_never_got_comes_back(place: Place, why: str) -> None:
    worker = place.worker()
    run = place.assign(worker)
    if why != "it takes no work":
        (place.runs.cancel if why == "cancel" else place.runs.abort)(run.id, "bob")
    merge = place.reconcile(worker, takes_work=why != "it takes no work")
    assert (merge.again, merge.slots) == ((), {})
    assert place.now(run).status is (Status.PENDING if why == "it takes no work" else Status.CANCELLED)
    assert place.repository.runs.lease(run.id) is None


def test_a_run_that_was_accepted_and_is_listed_no_more_ends_by_evidence(place: Place) -> None:
    worker = place.worker()
    for run in (place.running(worker), place.lost(worker)):
        place.reconcile(worker)
        assert (place.now(run).status, place.now(run).reason) == (Status.ERRORED, Reason.WORKER_RESET)


def test_a_lost_run_that_was_never_accepted_ends_as_never_started(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker, is_accepted=False)
    place.reconcile(worker)
    after = place.now(run)
    assert (after.status, after.reason) == (Status.ERRORED, Reason.WORKER_LOST)
    assert "never started" in after.sentence


# ---- another journal


@pytest.mark.parametrize("state", ["assigned", "running", "lost"])
def test_fault_F26_a_new_journal_ends_what_the_old_one_had(place: Place, state: str) -> None:
    worker = place.worker()
    run = place.assign(worker) if state == "assigned" else place.running(worker)
    if state == "lost":
        place.leases.lose(run, "no contact")
    place.inventories.reset(worker.id, OTHER_JOURNAL)
    after = place.now(run)
    assert (after.status, after.reason) == (Status.ERRORED, Reason.WORKER_RESET)  # never pending: it may have begun
    assert after.sentence == "w1 lost its journal; how the run went is not known"


def test_fault_F26_the_same_journal_and_other_workers_keep_their_runs(place: Place) -> None:
    worker, other = place.worker(), place.worker("w2", OTHER_JOURNAL)
    runs = [place.running(worker), place.running(other)]
    place.inventories.reset(worker.id, worker.journal_id or "")
    place.inventories.reset(worker.id, worker.journal_id or "")
    assert [place.now(run) for run in runs] == runs


def test_a_run_of_an_older_journal_is_left_out_of_a_merge(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    merge = place.reconcile(worker, place.held(run), journal=OTHER_JOURNAL)
    assert merge.merged.unknown == (run.id,)
    assert place.now(run) == run


def test_a_whole_inventory_is_merged_at_once(place: Place) -> None:
    worker = place.worker(slots=1000)
    runs = [place.running(worker) for _ in range(600)]
    merge = place.reconcile(worker, *map(place.held, runs))
    assert {one.run for one in merge.merged.resume} == {run.id for run in runs}
    assert len(merge.slots) == 600
