"""J30: a range of a log may begin and end anywhere, and is never more than a page of it."""

from __future__ import annotations

from appliance.runs import LOG_PAGE
from tests.web.world import World


def test_defect_J30_a_range_that_cuts_a_character_is_exact_and_bounded(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    run = world.trigger()
    log = "für 20 €\n".encode() + b"\xff" + b"x" * (LOG_PAGE + 5)
    world.logs.append(run.id, 0, 0, log)
    path = f"/api/v1/runs/{run.id}/log"
    for offset in range(14):
        for limit in range(5):
            answer = world.ask("GET", f"{path}?offset={offset}&limit={limit}", headers)
            assert (answer.status, answer.body) == (200, log[offset : offset + limit])
    assert len(world.ask("GET", path, headers).body) == LOG_PAGE
    assert world.ask("GET", f"{path}?limit={LOG_PAGE + 1}", headers).status == 422
