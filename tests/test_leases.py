"""What a worker says about its runs (reliability.md 4.2, 5.3): each row of the table, each word again and too late."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import pytest

from appliance.db.logs import Gap
from appliance.leases import OUTPUT_LIMIT, Holder
from appliance.model import run_state
from appliance.model.entities import Exit, Receipt, Run
from appliance.model.errors import Unavailable
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.wire import NOTES, OUTPUT, RESULTS, ProtocolError
from tests.lease_place import OTHER_JOURNAL, Place, sha256

HELLO = b"hello\n"


@pytest.fixture
def place() -> Place:
    return Place()


# ---- the words, in order


def test_a_grant_assigns_the_run_and_signs_its_request(place: Place) -> None:
    worker = place.worker()
    given = place.assignment(worker)
    assert (given.run.status, given.run.worker_id, given.run.worker) == (Status.ASSIGNED, worker.id, "w1")
    assert given.lease.journal_id == worker.journal_id and given.lease.epoch == place.lineage.epoch
    assert f'"run":"{given.run.id}"' in given.lease.request
    assert given.run.accepted_at is None


def test_a_run_that_is_not_pending_is_granted_to_nobody(place: Place) -> None:
    first, second = place.worker(), place.worker("w2", OTHER_JOURNAL)
    run = place.assign(first)
    with pytest.raises(IllegalTransition):
        place.assign(second, run)
    assert place.now(run) == run
    lease = place.repository.runs.lease(run.id)
    assert lease is not None and lease.worker_id == first.id


def test_accepted_started_and_exited_bring_a_run_to_its_end(place: Place) -> None:
    worker = place.worker()
    holder = place.holder(worker)
    run = place.assign(worker)
    place.clock.advance(1)
    place.leases.accepted(holder, run.id)
    place.clock.advance(1)
    began = place.clock.now()
    place.leases.started(holder, run.id, began.timestamp())
    assert place.leases.append_log(holder, run.id, OUTPUT, 0, HELLO) == 6
    place.clock.advance(1)
    assert place.leases.exited(holder, place.exited(run, HELLO)) is None
    after = place.now(run)
    assert (after.status, after.reason, after.started_at) == (Status.SUCCEEDED, None, began)
    assert after.finished_at == place.clock.now()
    assert after.exit == Exit(code=0, command="commands[0]")
    assert after.log == Receipt(size=6, sha256=sha256(HELLO), complete=True, verified=True)
    assert [(one.stream, one.size) for one in place.repository.runs.streams(run.id)] == [(OUTPUT, 6)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("succeeded", None),
        ("failed", "exit_code"),
        ("failed", "timeout"),
        ("errored", "start_failed"),
        ("aborted", "requested"),
    ],
)
def test_an_exit_ends_a_run_whose_accepted_never_came(place: Place, status: str, reason: str | None) -> None:
    worker = place.worker()
    run = place.assign(worker)
    record = place.exited(run, status=status, reason=reason, sentence="" if reason is None else "so it was")
    place.leases.exited(place.holder(worker), record)
    after = place.now(run)
    assert (after.status, after.reason) == (Status(status), None if reason is None else Reason(reason))
    assert after.accepted_at is not None


@pytest.mark.parametrize(
    ("status", "reason"),
    [("succeeded", "exit_code"), ("failed", None), ("aborted", "timeout"), ("failed", "moonlight"), ("failed", "lost")],
)
def test_inv_I1_a_reason_that_is_none_or_does_not_fit_ends_the_run_all_the_same(
    place: Place, status: str, reason: str | None
) -> None:
    worker = place.worker()
    run = place.running(worker)
    assert place.leases.exited(place.holder(worker), place.exited(run, status=status, reason=reason)) is None
    after = place.now(run)
    assert (after.status, after.reason) == (Status.ERRORED, Reason.PROTOCOL_ERROR)
    assert after.notes == (f"the worker said {status} for the reason {reason!r}, which is not one",)


def test_fault_F23_stamps_of_a_wrong_clock_are_set_right_and_never_lie_in_the_future(place: Place) -> None:
    worker = place.worker()
    year = 365 * 86_400.0
    ahead = Holder(worker.id, worker.journal_id or "", worker.name, clock_offset=year)
    run = place.running(worker)
    place.leases.started(ahead, run.id, place.clock.now().timestamp() + year - 5)
    started_at = place.now(run).started_at
    assert started_at is not None and (place.clock.now() - started_at).total_seconds() == 5
    other = place.running(worker)
    place.leases.started(place.holder(worker), other.id, 9e10)
    assert place.now(other).started_at == place.clock.now()


# ---- back to pending, cancel, abort


def test_a_worker_that_does_not_have_the_run_gives_it_back(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.leases.unknown(place.holder(worker), run.id)
    after = place.now(run)
    assert (after.status, after.worker_id, after.worker, after.slot) == (Status.PENDING, None, None, None)
    assert after.assigned_at is None and place.repository.runs.lease(run.id) is None


def test_defect_J13_cancel_of_an_assigned_run_ends_cancelled_when_the_worker_does_not_know_it(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    asked = place.runs.cancel(run.id, "bob")
    assert (asked.outcome, asked.run.status, asked.run.should_cancel) == ("withdrawing", Status.ASSIGNED, True)
    place.leases.unknown(place.holder(worker), run.id)
    after = place.now(run)
    assert (after.status, after.reason, after.sentence) == (
        Status.CANCELLED,
        Reason.REQUESTED,
        "cancelled by bob before it began",
    )


def test_defect_J13_cancel_of_an_assigned_run_becomes_an_abort_when_the_worker_has_it(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.runs.cancel(run.id, "bob")
    after = place.leases.accepted(place.holder(worker), run.id)
    assert after is not None and (after.status, after.should_abort, after.should_cancel) == (
        Status.RUNNING,
        True,
        False,
    )


def test_an_abort_before_the_workers_answer_cancels_a_run_that_it_does_not_have(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    assert place.runs.abort(run.id, "bob").outcome == "aborting"
    place.leases.unknown(place.holder(worker), run.id)
    assert place.now(run).status is Status.CANCELLED


def test_inv_I2_a_run_that_was_accepted_cannot_be_given_back(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    assert place.leases.unknown(place.holder(worker), run.id) is None
    assert place.now(run) == run
    assert place.leases.strays.of(worker.id) == (1, 0)
    with pytest.raises(IllegalTransition):
        place.leases.take_back(run.id)


# ---- evidence


@pytest.mark.parametrize("state", ["assigned", "running", "lost"])
def test_evidence_ends_a_run_with_what_its_log_holds(place: Place, state: str) -> None:
    worker = place.worker()
    run = place.assign(worker) if state == "assigned" else place.running(worker, HELLO)
    if state == "lost":
        place.leases.lose(run, "no contact")
        run = place.now(run)
    place.leases.end_by_evidence(run, Reason.WORKER_RESET, "its journal is gone")
    after = place.now(run)
    assert (after.status, after.reason) == (Status.ERRORED, Reason.WORKER_RESET)
    expected = Receipt() if state == "assigned" else Receipt(size=6, sha256=sha256(HELLO))
    assert after.log == expected  # neither complete nor verified
    holder, record = place.holder(worker), place.exited(run, HELLO)
    nack = place.leases.exited(holder, record)  # the late report: it is kept beside the run, whole
    assert nack is not None and nack.sizes == {OUTPUT: 0}
    assert place.leases.append_log(holder, run.id, OUTPUT, 0, HELLO) == 6
    assert place.leases.exited(holder, record) is None
    assert place.now(run) == after
    late = place.runs.late(after)
    assert late is not None and (late.status, late.log.sha256, late.log.verified) == ("succeeded", sha256(HELLO), True)


def test_evidence_that_comes_after_the_end_changes_nothing(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    after = place.end(worker, run)
    place.leases.end_by_evidence(run, Reason.WORKER_RESET, "too late")
    place.leases.lose(run, "too late")
    assert place.now(run) == after


def test_defect_J05_fault_F10_a_lost_run_takes_its_exit_once(place: Place) -> None:
    worker = place.worker()
    run = place.lost(worker)
    assert (run.status, run.reason) == (Status.LOST, Reason.WORKER_LOST)
    place.leases.exited(place.holder(worker), place.exited(run))
    assert place.now(run).status is Status.SUCCEEDED


# ---- late and repeated

STATES: dict[str, Callable[[Place], Run]] = {
    "assigned": lambda place: place.assign(place.worker()),
    "running": lambda place: place.running(place.worker(), HELLO),
    "aborting": lambda place: place.runs.abort(place.running(place.worker(), HELLO).id, "bob").run,
    "lost": lambda place: place.lost(place.worker()),
    "lost before it was accepted": lambda place: place.lost(place.worker(), is_accepted=False),
    "succeeded": lambda place: _ended(place),
    "errored": lambda place: _errored(place),
    "cancelled": lambda place: _cancelled(place),
    "pending again": lambda place: _given_back(place),
}
WORDS: dict[str, Callable[[Place, Holder, Run], object]] = {
    "accepted": lambda place, holder, run: place.leases.accepted(holder, run.id),
    "unknown": lambda place, holder, run: place.leases.unknown(holder, run.id),
    "started": lambda place, holder, run: place.leases.started(holder, run.id, place.clock.now().timestamp()),
    "output": lambda place, holder, run: place.leases.append_log(holder, run.id, OUTPUT, 0, HELLO),
    "results": lambda place, holder, run: place.leases.results(holder, run.id, 3, b'{"a":1}'),
    "exited": lambda place, holder, run: place.leases.exited(
        holder,
        place.exited(run, place.logs.read(run.id, OUTPUT, 0, 99), status="failed", reason="exit_code", code=1),
    ),
}


def _ended(place: Place) -> Run:
    worker = place.worker()
    return place.end(worker, place.running(worker))


def _errored(place: Place) -> Run:
    run = place.running(place.worker(), HELLO)
    place.leases.end_by_evidence(run, Reason.WORKER_RESET, "its journal is gone")
    return place.now(run)


def _cancelled(place: Place) -> Run:
    worker = place.worker()
    run = place.assign(worker)
    place.runs.cancel(run.id, "bob")
    place.leases.unknown(place.holder(worker), run.id)
    return place.now(run)


def _given_back(place: Place) -> Run:
    worker = place.worker()
    run = place.assign(worker)
    place.leases.unknown(place.holder(worker), run.id)
    return place.now(run)


def _all(place: Place, run: Run) -> object:
    """Everything that is kept of a run."""
    store = place.repository.runs
    logs = [place.logs.read(run.id, stream, 0, 1000) for stream in (OUTPUT, RESULTS, NOTES)]
    return store.get(run.id), store.lease(run.id), store.streams(run.id), store.results(run.id), logs


def _say(word: str, place: Place, run: Run) -> None:
    (worker,) = place.repository.workers.list(None, 9)
    with contextlib.suppress(ProtocolError):  # a refusal is an answer, too
        WORDS[word](place, place.holder(worker), run)


@pytest.mark.parametrize("forgets", [False, True], ids=["same life", "after a restart of the master"])
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", STATES)
def test_inv_I6_fault_F13_a_word_that_is_repeated_changes_nothing(state: str, word: str, forgets: bool) -> None:
    place = Place()
    run = STATES[state](place)
    _say(word, place, run)
    once = _all(place, run)
    for _ in range(2):
        place.clock.advance(5)
        if forgets:
            place.restart()
        place.seen.clear()
        _say(word, place, run)
        assert _all(place, run) == once
        assert place.seen == []  # and nobody is told of a change that was none


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", ["succeeded", "errored", "cancelled"])
def test_fault_F14_a_late_word_never_changes_a_run_that_has_ended(state: str, word: str) -> None:
    place = Place()
    run = STATES[state](place)
    assert run.status in run_state.TERMINAL
    before = _all(place, run)
    _say(word, place, run)
    assert _all(place, run) == before


@pytest.mark.parametrize("second", WORDS)
@pytest.mark.parametrize("first", WORDS)
def test_inv_I6_words_that_come_behind_later_ones_change_nothing_once_it_ended(first: str, second: str) -> None:
    place = Place()
    run = place.running(place.worker())
    for word in (first, "exited"):
        _say(word, place, run)
    ended = place.now(run)
    _say(second, place, run)
    assert place.now(run) == ended


# ---- who may speak


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("who", ["another worker", "another journal", "unknown run", "run of nobody"])
def test_req_S_20_a_worker_speaks_only_of_runs_that_are_leased_to_it(place: Place, who: str, word: str) -> None:
    worker = place.worker()
    run = place.running(worker, HELLO)
    holder = place.holder(worker)
    if who == "another worker":
        holder = place.holder(place.worker("w2", OTHER_JOURNAL))
    elif who == "another journal":
        holder = place.holder(worker, OTHER_JOURNAL)
    elif who == "unknown run":
        run = msgspec.structs.replace(run, id=place.new_id())
    else:
        run = place.trigger()
    before = _all(place, run)
    with pytest.raises(ProtocolError, match="not leased to this worker"):
        WORDS[word](place, holder, run)
    assert _all(place, run) == before
    assert place.leases.strays.of(holder.worker_id) == (1, 0)


# ---- streams


def test_fault_F12_bytes_that_are_there_are_dropped_and_a_gap_is_named(place: Place) -> None:
    worker = place.worker()
    holder = place.holder(worker)
    run = place.running(worker, b"0123456789")
    assert place.leases.append_log(holder, run.id, OUTPUT, 5, b"56789abc") == 13
    with pytest.raises(Gap) as gap:
        place.leases.append_log(holder, run.id, OUTPUT, 20, b"later")
    assert gap.value.size == 13
    assert place.logs.read(run.id, OUTPUT, 0, 99) == b"0123456789abc"


@pytest.mark.parametrize(("stream", "offset"), [(3, 0), (65_535, 0), (OUTPUT, OUTPUT_LIMIT), (RESULTS, 8 << 20)])
def test_inv_I7_a_stream_has_a_limit_and_those_of_nobody_are_refused(place: Place, stream: int, offset: int) -> None:
    worker = place.worker()
    run = place.running(worker)
    with pytest.raises(ProtocolError) as error:
        place.leases.append_log(place.holder(worker), run.id, stream, offset, b"x")
    assert error.value.code == "limit"


def test_what_arrived_is_made_durable_and_noted_once(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker, HELLO)
    assert place.leases.sync_streams() == 1
    assert [one.size for one in place.repository.runs.streams(run.id)] == [6]
    assert place.leases.sync_streams() == 0


def test_fault_F19_what_could_not_be_noted_as_durable_is_noted_the_next_time(place: Place) -> None:
    worker = place.worker()
    place.running(worker, b"123")
    store = place.repository.runs
    put = store.put_streams

    def refuse(*_: object) -> None:
        raise Unavailable("busy")

    store.put_streams = refuse  # type: ignore[method-assign]  # a fault, made to happen
    with pytest.raises(Unavailable):
        place.leases.sync_streams()
    store.put_streams = put  # type: ignore[method-assign]  # it is over
    assert place.leases.sync_streams() == 1
    assert place.leases.sync_streams() == 0
