"""Runs as people and programs ask for them: trigger, cancel, abort, expiry, and reading (reliability.md 4.2, 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from appliance.db.repository import RunFilter
from appliance.events import RunChanged
from appliance.model import run_state
from appliance.model.entities import IdempotencyKey, Run
from appliance.model.errors import ApplianceError, Conflict, Full, Invalid, NotFound, TooLarge, Unavailable
from appliance.model.requests import Limits
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.runs import LOG_PAGE, QUEUE_LIMIT, Runs
from appliance.wire import REQUEST_LIMIT, RESULTS_LIMIT
from tests.lease_place import USER, Place, job


@pytest.fixture
def place() -> Place:
    return Place()


# ---- trigger


def test_a_trigger_stores_a_pending_run_with_its_parameters_and_tells_of_it(place: Place) -> None:
    run, is_new = place.runs.trigger("p", "work", {"count": 3}, USER)
    assert is_new and place.now(run) == run
    assert (run.status, run.number, run.parameters, run.source) == (
        Status.PENDING,
        1,
        {"branch": "main", "count": 3},
        USER,
    )
    assert place.seen == [RunChanged(run)]


def test_values_of_a_form_are_converted_by_the_declared_types(place: Place) -> None:
    run, _ = place.runs.trigger("p", "work", {"count": "12"}, USER, as_text=True)
    assert run.parameters["count"] == 12


@pytest.mark.parametrize("given", [{"count": "many"}, {"nothing": "x"}, {"branch": 5}])
def test_req_S_31_a_trigger_with_wrong_parameters_stores_nothing(place: Place, given: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        place.runs.trigger("p", "work", given, USER)
    assert place.runs.find(RunFilter()) == [] and place.seen == []


@pytest.mark.parametrize(("project", "name"), [("p", "other"), ("q", "work"), ("", "")])
def test_a_trigger_of_a_job_that_is_not_in_force_is_refused(place: Place, project: str, name: str) -> None:
    with pytest.raises(NotFound):
        place.runs.trigger(project, name, {}, USER)


def test_a_job_that_cannot_run_says_why(place: Place) -> None:
    place.put_jobs(msgspec.structs.replace(job(), blocking=("commands[0]: unmatched brace",)))
    with pytest.raises(Conflict, match="p/work cannot run: commands"):
        place.trigger()


def test_req_S_62_a_request_that_would_not_fit_a_message_is_refused_at_the_trigger(place: Place) -> None:
    quotes = '"' * 1000  # each becomes two bytes of JSON, and four inside a message
    place.put_jobs(
        job("fits", definition={"commands": [["echo", *[quotes] * 40]]}),
        job("too-large", definition={"commands": [["echo", *[quotes] * (REQUEST_LIMIT // 4000)]]}),
    )
    place.trigger("fits")
    with pytest.raises(TooLarge) as error:
        place.trigger("too-large")
    assert error.value.errors == {"parameters": "too large"}
    assert place.runs.counts()[Status.PENDING] == 1


def test_inv_I7_the_queue_has_a_limit_and_a_full_one_says_when_to_come_back(place: Place) -> None:
    waiting = [QUEUE_LIMIT - 1]
    runs = Runs(place.repository, place.logs, place.clock, place.events, place.versions, waiting=lambda: waiting[0])
    runs.trigger("p", "work", {}, USER)
    waiting[0] = QUEUE_LIMIT
    with pytest.raises(Unavailable) as error:
        runs.trigger("p", "work", {}, USER)
    assert error.value.retry_after == 30.0
    assert place.runs.counts()[Status.PENDING] == 1


def test_fault_F16_without_room_a_trigger_is_refused_and_one_that_is_repeated_is_answered(place: Place) -> None:
    def refuse() -> None:
        raise Full("the disk is full")

    key = IdempotencyKey(owner="alice", key="k1", digest="d" * 64)
    first, _ = place.runs.trigger("p", "work", {}, USER, key=key)
    runs = Runs(place.repository, place.logs, place.clock, place.events, place.versions, admit=refuse)
    with pytest.raises(Full):
        runs.trigger("p", "work", {}, USER)
    assert runs.trigger("p", "work", {}, USER, key=key) == (first, False)
    assert place.runs.counts()[Status.PENDING] == 1


def test_fault_F13_a_trigger_that_is_repeated_answers_the_first_run(place: Place) -> None:
    key = IdempotencyKey(owner="alice", key="k1", digest="d" * 64)
    first, is_new = place.runs.trigger("p", "work", {}, USER, key=key)
    place.seen.clear()
    again, is_again_new = place.runs.trigger("p", "work", {}, USER, key=key)
    assert (is_new, is_again_new, again) == (True, False, first)
    assert place.seen == []
    other, _ = place.runs.trigger("p", "work", {}, USER, key=msgspec.structs.replace(key, owner="bob"))
    assert other.id != first.id
    with pytest.raises(Conflict):
        place.runs.trigger("p", "work", {}, USER, key=msgspec.structs.replace(key, digest="e" * 64))


@pytest.mark.parametrize("what", ["the queue is full", "the job is gone", "the job cannot run"])
def test_fault_F13_a_trigger_that_is_repeated_answers_the_first_run_whatever_is_wrong_now(
    place: Place, what: str
) -> None:
    key = IdempotencyKey(owner="alice", key="k1", digest="d" * 64)
    first, _ = place.runs.trigger("p", "work", {}, USER, key=key)
    runs = place.runs
    if what == "the queue is full":
        runs = Runs(place.repository, place.logs, place.clock, place.events, place.versions, waiting=lambda: 10**9)
    elif what == "the job is gone":
        place.put_jobs(job("another"))
    else:
        place.put_jobs(msgspec.structs.replace(job(), blocking=("it is broken",)))
    assert runs.trigger("p", "work", {}, USER, key=key) == (place.now(first), False)
    with pytest.raises(ApplianceError):
        runs.trigger("p", "work", {}, USER, key=msgspec.structs.replace(key, key="k2"))
    with pytest.raises(Conflict):
        runs.trigger("p", "work", {}, USER, key=msgspec.structs.replace(key, digest="e" * 64))


def test_a_run_keeps_the_definition_of_its_trigger(place: Place) -> None:
    run = place.trigger()
    place.put_jobs(job(version="v2", definition={"commands": [["other"]]}))
    assert place.now(run).definition_version == "work-v1"
    assert place.versions.get("work-v1").definition.commands != place.versions.get("work-v2").definition.commands


# ---- cancel and abort: every status

Ask = Callable[[Runs, str], object]
ASKS: dict[str, Ask] = {
    "cancel": lambda runs, run: runs.cancel(run, "bob"),
    "abort": lambda runs, run: runs.abort(run, "bob"),
}


def _in(place: Place, status: Status) -> Run:
    """A run in this status."""
    worker = place.worker()
    match status:
        case Status.PENDING:
            return place.trigger()
        case Status.CANCELLED:
            return place.runs.cancel(place.trigger().id, "somebody").run
        case Status.ASSIGNED:
            return place.assign(worker)
        case Status.RUNNING:
            return place.running(worker)
        case Status.LOST:
            return place.lost(worker)
    reasons = {"failed": "exit_code", "errored": "setup_failed", "aborted": "requested"}
    run = place.running(worker)
    place.leases.exited(place.holder(worker), place.exited(run, status=str(status), reason=reasons.get(str(status))))
    return place.now(run)


STATUSES = sorted(run_state.LIVE | run_state.TERMINAL)
ANSWERS = {
    ("cancel", Status.PENDING): "cancelled",
    ("cancel", Status.ASSIGNED): "withdrawing",
    ("abort", Status.PENDING): "cancelled",
    ("abort", Status.ASSIGNED): "aborting",
    ("abort", Status.RUNNING): "aborting",
    ("abort", Status.LOST): "aborting",
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("status", STATUSES)
def test_defect_J13_cancel_and_abort_answer_truly_in_every_status(place: Place, status: Status, ask: str) -> None:
    run = _in(place, status)
    assert run.status is status
    expected = ANSWERS.get((ask, status))
    if expected is None:
        with pytest.raises(Conflict, match="abort it instead" if status in run_state.LIVE else "ended already"):
            ASKS[ask](place.runs, run.id)
        assert place.now(run) == run
        return
    asked: Any = ASKS[ask](place.runs, run.id)
    after = place.now(run)
    assert (asked.outcome, asked.run) == (expected, after)
    assert after.requested_by == "bob"
    if expected == "cancelled":
        assert (after.status, after.reason, after.finished_at) == (
            Status.CANCELLED,
            Reason.REQUESTED,
            place.clock.now(),
        )
    else:  # an intent, not a status
        assert after.status is status
        assert (after.should_abort, after.should_cancel) == (expected == "aborting", expected == "withdrawing")


def test_an_abort_of_a_waiting_run_says_that_it_was_cancelled(place: Place) -> None:
    assert place.runs.abort(place.trigger().id, "bob").sentence == "the run had not begun; it is cancelled"


def test_an_abort_behind_a_cancel_wins(place: Place) -> None:
    worker = place.worker()
    run = place.assign(worker)
    place.runs.cancel(run.id, "bob")
    place.runs.abort(run.id, "carol")
    after = place.now(run)
    assert (after.should_abort, after.requested_by) == (True, "carol")


@pytest.mark.parametrize("ask", ASKS)
def test_cancel_and_abort_of_a_run_that_does_not_exist_say_so(place: Place, ask: str) -> None:
    with pytest.raises(NotFound):
        ASKS[ask](place.runs, "00000000-0000-4000-8000-000000000000")


class Hasty(Place):
    """Somebody else is faster: the run changes between the look and the write, once."""

    def overtake(self, change: Callable[[Run], object]) -> None:
        """Let ``change`` happen right before the next write."""
        write = self.runs._store.replace

        def overtaken(run: Run, if_version: int) -> bool:
            self.runs._store.replace = write  # type: ignore[method-assign]  # a race, made to happen
            change(run)
            return write(run, if_version)

        self.runs._store.replace = overtaken  # type: ignore[method-assign]  # a race, made to happen


def test_fault_F42_a_cancel_that_meets_a_grant_asks_the_worker_to_give_the_run_back() -> None:
    place = Hasty()
    worker = place.worker()
    run = place.trigger()
    place.overtake(lambda _: place.assign(worker, run))
    assert place.runs.cancel(run.id, "bob").outcome == "withdrawing"
    assert place.now(run).status is Status.ASSIGNED


def test_fault_F42_an_abort_that_meets_the_end_finds_the_run_ended() -> None:
    place = Hasty()
    worker = place.worker()
    run = place.running(worker)
    place.overtake(lambda _: place.end(worker, run))
    with pytest.raises(Conflict, match="ended already: succeeded"):
        place.runs.abort(run.id, "bob")
    assert not place.now(run).should_abort


# ---- the one writer


def test_inv_I10_no_event_leads_out_of_a_status_but_the_legal_ones(place: Place) -> None:
    run = place.runs.cancel(place.trigger().id, "bob").run
    with pytest.raises(IllegalTransition):
        place.runs.advance(run.id, run_state.Assign(at=place.clock.now()))
    assert place.now(run) == run


def test_an_event_that_changes_nothing_writes_and_tells_nothing(place: Place) -> None:
    run = place.running(place.worker())
    place.seen.clear()
    assert place.runs.advance(run.id, lambda _: ()) == run
    assert place.seen == [] and place.now(run).version == run.version


# ---- the clock and the configuration


def test_a_run_that_waits_too_long_expires(place: Place) -> None:
    place.put_jobs(job(), job("patient", expires="2h"))
    short, long = place.trigger(), place.trigger("patient")
    place.clock.advance(7201)
    assert place.runs.expire() == 1
    after = place.now(long)
    assert (after.status, after.reason) == (Status.CANCELLED, Reason.EXPIRED)
    assert place.now(short).status is Status.PENDING  # the default is a day
    place.clock.advance(86_400)
    assert place.runs.expire() == 1 and place.runs.expire() == 0


def test_expiry_leaves_runs_that_a_worker_has_alone(place: Place) -> None:
    run = place.running(place.worker())
    place.clock.advance(365 * 86_400)
    assert place.runs.expire() == 0
    assert place.now(run).status is Status.RUNNING


def test_expiry_goes_on_in_the_next_call_where_its_limit_ended_it(place: Place) -> None:
    for _ in range(5):
        place.trigger()
    place.clock.advance(90_000)
    assert [place.runs.expire(2) for _ in range(4)] == [2, 2, 1, 0]


def test_waiting_runs_of_a_removed_job_are_cancelled_and_others_stay(place: Place) -> None:
    place.put_jobs(job(), job("gone"))
    worker = place.worker()
    stays, goes, has = place.trigger(), place.trigger("gone"), place.assign(worker, place.trigger("gone"))
    place.put_jobs(job())
    assert place.runs.cancel_removed() == 1
    assert (place.now(goes).status, place.now(goes).reason) == (Status.CANCELLED, Reason.REMOVED)
    assert place.now(stays) == stays and place.now(has) == has
    assert place.runs.cancel_removed() == 0


# ---- reading


def test_runs_are_found_by_number_and_by_name(place: Place) -> None:
    worker = place.worker()
    first = place.end(worker, place.running(worker))
    second = place.trigger()
    found = {number: place.runs.numbered("p", "work", number).id for number in ("1", "2", "latest", "last-success")}
    assert found == {"1": first.id, "2": second.id, "latest": second.id, "last-success": first.id}


@pytest.mark.parametrize("number", ["0", "3", "-1", "1.0", "", "x", "²", "9" * 13, "latest "])
def test_a_number_that_no_run_has_is_not_found(place: Place, number: str) -> None:
    place.trigger()
    with pytest.raises(NotFound):
        place.runs.numbered("p", "work", number)


def test_a_log_is_read_in_bounded_ranges(place: Place) -> None:
    output = bytes(range(256)) * 5000
    run = place.running(place.worker(), output)
    assert place.runs.log_size(run.id) == len(output)
    assert place.runs.log(run.id, 0, 1 << 40) == output[:LOG_PAGE]
    assert place.runs.log(run.id, LOG_PAGE) == output[LOG_PAGE:]
    assert place.runs.log(run.id, len(output) + 5) == b""


def test_results_of_the_service_are_laid_over_key_by_key(place: Place) -> None:
    run = place.trigger()
    assert place.runs.set_results(run.id, {"a": 1, "b": {"c": 2}}) == {"a": 1, "b": {"c": 2}}
    assert place.runs.set_results(run.id, {"b": 3}) == {"a": 1, "b": 3}
    with pytest.raises(Invalid):
        place.runs.set_results(run.id, {"a": "x" * RESULTS_LIMIT})
    assert place.runs.results(run.id) == {"a": 1, "b": 3}


@pytest.mark.parametrize("read", [Runs.get, Runs.results, lambda runs, run: runs.set_results(run, {})])
def test_what_is_read_of_a_run_that_does_not_exist_is_not_found(place: Place, read: Ask) -> None:
    with pytest.raises(NotFound):
        read(place.runs, "x" * 1000)


def test_limits_of_the_appliance_hold_where_a_job_says_nothing() -> None:
    place = Place(job(), job("own", expires="1h"), limits=Limits(expires=60.0))
    runs = [place.trigger(), place.trigger("own")]
    waits = [(run.expires_at - run.created_at).total_seconds() for run in runs if run.expires_at]
    assert waits == [60.0, 3600.0]
