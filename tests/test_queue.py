"""The queue as it is given out, and that a reason is the decision itself (W2)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.run_state import Status
from appliance.model.waiting import Stand, Why
from appliance.waits import QueueFilter
from tests.waiting_place import Site

# ---- the queue


def test_req_W2_the_queue_is_in_the_order_in_which_runs_are_given_out() -> None:
    site = Site()
    runs = [site.trigger(name) for name in ("work", "plain", "plain", "work", "plain")]
    whole, after = [], None
    while True:
        part = site.waits.queue(QueueFilter(), after, 2)
        whole += [run.id for run, _ in part.rows]
        after = part.after
        if after is None:
            break
    assert whole == [run.id for run in runs]
    site.add("w1", 0, 5)
    given: list[str] = []
    site.events.subscribe(lambda event: given.append(event.run.id))  # type: ignore[union-attr]  # only runs change here
    site.dispatcher.step()
    assert given == whole


def test_req_W2_the_queue_is_filtered_by_project_job_and_reason_and_counts_the_reasons() -> None:
    site = Site({"os": "mac"})
    site.add("w1", 2)
    mac, plain = site.trigger(), site.trigger("plain")
    counts = {Why.NO_FIT: 1, Why.SLOTS: 1}

    def shown(**where: Any) -> list[str]:
        found = site.waits.queue(QueueFilter(**where), None, 9)
        assert found.counts == {why: count for why, count in counts.items() if found.rows or "why" in where}
        return [run.id for run, _ in found.rows]

    assert shown() == [mac.id, plain.id]
    assert shown(why=(Why.NO_FIT,)) == [mac.id]
    assert shown(why=(Why.SLOTS, Why.TURN)) == [plain.id]
    assert shown(why=(Why.AWAY,)) == []
    assert shown(project=("p",)) == [mac.id, plain.id]
    counts = {Why.SLOTS: 1}
    assert shown(job=("plain",)) == [plain.id]
    assert shown(project=("other",)) == shown(visible=frozenset()) == []


# ---- the reason is the decision

STATES = st.fixed_dictionaries(
    {
        "used": st.integers(0, 2),
        "os": st.sampled_from(["linux", "mac"]),
        "flag": st.sampled_from(["", "", "wants_drain", "has_declined", "is_greeting", "is_merging", "is_draining"]),
    }
)
GIVEN = {"used": 0, "os": "linux", "flag": ""}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STATES, max_size=3),
    st.sampled_from([{}, {"os": "mac"}, {"os": ["mac", "linux"]}, {"gpu": True}]),
    st.sampled_from(["", "", "", "disk", "job", "project"]),
)
def test_req_W2_a_run_is_given_exactly_when_its_reason_is_that_its_turn_comes(
    workers: list[dict[str, Any]], requires: dict[str, Any], block: str
) -> None:
    site = Site(requires)
    for number, state in enumerate(workers):
        site.add(f"w{number}", state["used"], 2, os=state["os"])
        if state["flag"]:
            setattr(site.seat(f"w{number}"), state["flag"], True)
    run = site.trigger()
    if block in ("job", "project"):
        site.switch(is_enabled=False, job="work" if block == "job" else "")
    site.has_room = block != "disk"
    explained = site.waits.explain(run)
    site.why(run)
    site.dispatcher.step()
    now = site.now(run)
    assert (now.status is Status.ASSIGNED) == (explained.wait is not None and explained.wait.why is Why.TURN)
    if now.status is Status.ASSIGNED:
        stands = {one.name: one.stand for one in explained.candidates}
        assert stands[now.worker or ""] is Stand.READY
    for one in explained.candidates:
        assert (one.stand is Stand.UNFIT) == bool(one.unmet)
