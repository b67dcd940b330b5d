"""What the service answers to cancel and abort in every status (reliability.md 4.4)."""

from __future__ import annotations

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import (
    LIVE,
    REASONS,
    TERMINAL,
    Accept,
    Assign,
    Cancel,
    Event,
    Finish,
    Lose,
    Reason,
    Status,
)
from tests.web.world import World

CANCELLED, WITHDRAWING, ABORTING = (200, "cancelled"), (202, "withdrawing"), (202, "aborting")
CONFLICT = (409, None)
ANSWERS: dict[Status, dict[str, tuple[int, str | None]]] = {
    Status.PENDING: {"cancel": CANCELLED, "abort": CANCELLED},
    Status.ASSIGNED: {"cancel": WITHDRAWING, "abort": ABORTING},
    Status.RUNNING: {"cancel": CONFLICT, "abort": ABORTING},
    Status.LOST: {"cancel": CONFLICT, "abort": ABORTING},
    **{status: {"cancel": CONFLICT, "abort": CONFLICT} for status in TERMINAL},
}


def put_in(world: World, status: Status) -> Run:
    """A run in this status."""
    run, now = world.trigger(), world.clock.now()
    ways: dict[Status, list[Event]] = {
        Status.PENDING: [],
        Status.ASSIGNED: [Assign(now)],
        Status.RUNNING: [Assign(now), Accept()],
        Status.LOST: [Assign(now), Accept(), Lose("silent")],
        Status.CANCELLED: [Cancel(now, Reason.REQUESTED, "asked")],
    }
    reason = next(iter(REASONS.get(status, ())), None)
    for event in ways.get(status, [Assign(now), Accept(), Finish(now, status, reason, "it ended")]):
        run = world.runs.advance(run.id, event)
    return run


@pytest.mark.parametrize("question", ["cancel", "abort"])
@pytest.mark.parametrize("status", sorted(LIVE | TERMINAL))
def test_defect_J13_the_service_answers_202_only_to_what_is_still_to_come_and_409_to_what_cannot_be(
    world: World, status: Status, question: str
) -> None:
    headers = world.user("ada", alpha="operator")
    run = put_in(world, status)
    assert run.status is status
    answer = world.ask("POST", f"/api/v1/runs/{run.id}/{question}", headers)
    assert (answer.status, answer.document.get("outcome")) == ANSWERS[status][question]
    after = world.ask("GET", f"/api/v1/runs/{run.id}", headers).document
    if answer.status != 409:
        assert answer.document["status"] == after["status"]
        assert answer.document["message"]
        assert after["status"] == ("cancelled" if answer.status == 200 else status)
        return
    assert (after["status"], after["should_abort"]) == (status, False)  # nothing is changed
    assert ("abort it instead" in answer.document["detail"]) == (status in LIVE)
