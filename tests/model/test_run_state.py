"""THE state machine against reliability.md section 4, written out by hand here."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.run_state import (
    IMPORTED,
    LEASED,
    LEGAL,
    LIVE,
    OUTCOMES,
    REASONS,
    TERMINAL,
    Accept,
    Assign,
    Cancel,
    Event,
    Find,
    Finish,
    IllegalTransition,
    Lose,
    Position,
    Reason,
    Start,
    Status,
    TakeBack,
    advance,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = AT + timedelta(seconds=5)

# reliability.md 4.2, row by row.
ROWS = """
none      pending
pending   assigned cancelled
assigned  pending running lost succeeded failed errored aborted
running   lost succeeded failed errored aborted
lost      running succeeded failed errored aborted
"""
# reliability.md 4.3. ``output_limit`` is a note and not a reason of a status.
WHY = """
succeeded
failed     exit_code signal out_of_memory timeout child_failed
aborted    requested child_aborted
cancelled  requested expired replaced removed
lost       worker_lost
errored    worker_lost worker_reset worker_revoked declared_lost worker_host_restarted executor_killed start_failed
errored    start_interrupted setup_failed teardown_failed format_error still_running disk_full protocol_error
errored    internal_error
"""
# Which event moves a run from which status to which: all that is not here must be refused.
MOVES: dict[type, dict[str, str]] = {
    Assign: {"pending": "assigned"},
    TakeBack: {"assigned": "pending"},
    Accept: {"assigned": "running"},
    Start: {"running": "running", "lost": "lost"},
    Cancel: {"pending": "cancelled"},
    Lose: {"assigned": "lost", "running": "lost"},
    Find: {"lost": "running"},
}


def a_run(status: Status) -> Position:
    """A run as it can be in this status."""
    reasons = REASONS.get(status, frozenset())
    was_assigned = status not in (Status.PENDING, Status.CANCELLED, Status.SKIPPED)
    return Position(
        status=status,
        reason=min(reasons) if reasons else None,
        sentence="because" if reasons else "",
        assigned_at=AT if was_assigned else None,
        started_at=AT if status in (Status.RUNNING, Status.LOST) else None,
        finished_at=AT if status in TERMINAL else None,
    )


def every_event() -> list[Event]:
    finishes = [Finish(LATER, status, reason, "so") for status in Status for reason in (None, *Reason)]
    cancels = [Cancel(LATER, reason, "so") for reason in Reason]
    return [Assign(LATER), TakeBack(), Accept(), Start(LATER), Lose("silent"), Find(), *cancels, *finishes]


def reasons_by_hand() -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for line in WHY.split("\n"):
        status, *reasons = line.split() or [""]
        if status:
            table.setdefault(status, set()).update(reasons)
    return table


def test_inv_I1_every_pair_of_statuses_is_legal_or_not_as_the_table_says() -> None:
    by_hand = {
        (None if before == "none" else before, after)
        for before, *afters in (line.split() for line in ROWS.strip().split("\n"))
        for after in afters
    }
    assert {(before and str(before), str(after)) for before, after in LEGAL} == by_hand
    pairs = set(itertools.product([None, *Status], Status))
    assert pairs >= LEGAL and len(pairs) == 110


def test_req_X8_every_reason_belongs_to_its_status_as_the_table_says() -> None:
    assert {
        str(status): {str(reason) for reason in reasons} for status, reasons in REASONS.items()
    } == reasons_by_hand()
    assert set().union(*REASONS.values()) == set(Reason)


def test_the_groups_of_statuses_divide_them() -> None:
    assert LIVE | TERMINAL | {Status.SKIPPED} == set(Status)
    assert not LIVE & TERMINAL
    assert LEASED < LIVE and {Status.PENDING} == LIVE - LEASED
    assert TERMINAL - {Status.CANCELLED} == OUTCOMES
    assert {before for before, _ in LEGAL if before is not None} == LIVE
    assert IMPORTED == {"exception": Status.ERRORED}


@pytest.mark.parametrize("status", Status)
def test_inv_I1_every_event_in_every_status_does_what_the_table_says(status: Status) -> None:
    why = reasons_by_hand()
    for event in every_event():
        if isinstance(event, Finish):
            fits = (str(event.reason) in why.get(event.status, set())) if event.reason else event.status == "succeeded"
            can = status in LEASED and event.status in ("succeeded", "failed", "errored", "aborted") and fits
            target = event.status if can else None
        elif isinstance(event, Cancel):
            target = Status.CANCELLED if status == "pending" and str(event.reason) in why["cancelled"] else None
        else:
            word = MOVES[type(event)].get(status)
            target = Status(word) if word else None
        run = a_run(status)
        if target is None:
            with pytest.raises(IllegalTransition):
                advance(run, event)
        else:
            assert advance(run, event).status is target


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_inv_I1_a_run_that_ended_never_changes_again(status: Status) -> None:
    for event in every_event():
        with pytest.raises(IllegalTransition):
            advance(a_run(status), event)


def test_a_refused_event_says_in_a_sentence_what_was_refused() -> None:
    with pytest.raises(IllegalTransition, match="a run that is succeeded cannot become assigned"):
        advance(a_run(Status.SUCCEEDED), Assign(AT))
    with pytest.raises(IllegalTransition, match="exit_code is no reason for errored"):
        advance(a_run(Status.RUNNING), Finish(AT, Status.ERRORED, Reason.EXIT_CODE, ""))
    with pytest.raises(IllegalTransition, match="cannot finish as cancelled"):
        advance(a_run(Status.RUNNING), Finish(AT, Status.CANCELLED, Reason.REQUESTED, ""))


def test_a_run_keeps_its_times_through_an_outage() -> None:
    run = advance(Position(Status.PENDING), Assign(AT))
    run = advance(run, Accept())
    run = advance(run, Start(LATER))
    run = advance(run, Lose("no contact for 1 h"))
    assert (run.status, run.reason, run.sentence) == (Status.LOST, Reason.WORKER_LOST, "no contact for 1 h")
    run = advance(run, Find())
    assert run == Position(Status.RUNNING, assigned_at=AT, started_at=LATER)
    run = advance(run, Finish(LATER, Status.SUCCEEDED, None, ""))
    assert run == Position(Status.SUCCEEDED, assigned_at=AT, started_at=LATER, finished_at=LATER)


def test_the_start_is_noted_once_and_also_when_the_run_is_lost() -> None:
    running = msgspec.structs.replace(a_run(Status.RUNNING), started_at=None)
    assert advance(running, Start(AT)).started_at == AT
    assert advance(advance(running, Start(AT)), Start(LATER)).started_at == AT
    lost = advance(running, Lose("silent"))
    assert advance(lost, Start(AT)) == msgspec.structs.replace(lost, started_at=AT)


def test_a_run_that_is_taken_back_is_as_if_it_was_never_assigned() -> None:
    assert advance(a_run(Status.ASSIGNED), TakeBack()) == Position(Status.PENDING)


events = st.one_of(
    st.builds(Assign, st.just(AT)),
    st.just(TakeBack()),
    st.just(Accept()),
    st.builds(Start, st.just(AT)),
    st.builds(Lose, st.just("silent")),
    st.just(Find()),
    st.builds(Cancel, st.just(AT), st.sampled_from(Reason), st.just("so")),
    st.builds(Finish, st.just(AT), st.sampled_from(Status), st.none() | st.sampled_from(Reason), st.just("so")),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(events, max_size=25))
def test_inv_I1_no_order_of_events_makes_an_untrue_run(told: list[Event]) -> None:
    run = Position(Status.PENDING)
    accepted = left_pending = False
    for event in told:
        try:
            after = advance(run, event)
        except IllegalTransition:
            continue
        assert run.status not in TERMINAL
        assert after.status is run.status or (run.status, after.status) in LEGAL
        run = after
        accepted = accepted or isinstance(event, Accept | Start | Find)
        assert not (accepted and run.status is Status.PENDING), "a run that was accepted is never pending again"
        assert not (left_pending and run.status is Status.CANCELLED), "cancelled means: never started"
        left_pending = run.status is not Status.PENDING
        assert (run.finished_at is not None) is (run.status in TERMINAL)
        assert (run.assigned_at is None) is (run.status in (Status.PENDING, Status.CANCELLED))
        assert (run.reason is None) is (run.status not in REASONS or run.status is Status.SUCCEEDED)
        assert run.reason is None or run.reason in REASONS[run.status]
        assert run.started_at is None or run.status not in (Status.PENDING, Status.ASSIGNED, Status.CANCELLED)
