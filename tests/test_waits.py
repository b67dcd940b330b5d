"""Why a pending run waits (W2): what the dispatcher itself found, in one sentence, and every worker with its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from appliance.model.definitions import JobDocument
from appliance.model.errors import Conflict, Unavailable
from appliance.model.fitting import Applicant, match
from appliance.model.matching import Condition
from appliance.model.run_state import Status
from appliance.model.waiting import Place as Number
from appliance.model.waiting import Stand, Why
from appliance.waits import QueueFilter
from tests.waiting_place import Site

# ---- workers


def test_without_any_worker_it_says_so() -> None:
    site = Site()
    assert site.why() == "waits for a worker: there is none yet"
    assert site.kind(site.trigger()) is Why.NO_WORKER


def test_req_W2_workers_that_fit_and_are_away_are_named() -> None:
    site = Site({"os": "linux"})
    site.add("build-1", None, os="linux")
    assert site.why() == "waits for a worker: build-1 is not connected"
    site.add("other", 0, os="windows")  # connected, and does not fit
    assert site.why() == "waits for a worker: build-1 is not connected"
    for name in ("build-2", "build-3", "build-4"):
        site.add(name, None, os="linux")
    assert site.why() == "waits for a worker: build-1, build-2, build-3 and 1 more are not connected"
    assert site.kind(site.trigger()) is Why.AWAY


def test_req_W2_one_that_is_away_says_since_when() -> None:
    site = Site()
    worker = site.add("build-1", None)
    site.workers.heard({worker.id: site.clock.now()})
    assert site.why().startswith("waits for a worker: build-1 is not connected: silent since 20")


def test_req_W2_of_one_that_never_came_nothing_is_held_against_it_but_what_its_token_says() -> None:
    site = Site({"os": "linux"})
    site.workers.create("fresh", "alice")
    assert site.why() == "waits for a worker: fresh has not connected yet"
    site.workers.create("mac", "alice", {"os": "macos"})
    assert site.why() == "waits for a worker: fresh has not connected yet"
    site.workers.remove("fresh")
    assert site.why() == "waits for a worker: mac does not fit (needs os = linux, the worker has macos)"


def test_fault_F25_one_that_fits_and_is_not_taken_says_why() -> None:
    site = Site()
    worker = site.add("build-1", None)
    site.workers.revoke(worker.name, "ada")
    assert site.why().startswith("waits for a worker: build-1 is refused: its token was revoked by ada")
    site.add("build-2", None)
    assert site.why() == "waits for a worker: build-2 is not connected, build-1 is refused"


def test_req_W6_of_one_that_was_disconnected_it_says_what_brings_it_back() -> None:
    site = Site()
    site.add("build-1", None)
    site.workers.disconnect("build-1", "ada")
    assert site.why() == "waits for a worker: build-1 is disconnected until it is enabled"
    site.workers.disconnect(site.add("build-2", None).name, "ada")
    assert site.why() == "waits for a worker: build-1 and build-2 are disconnected until they are enabled"


def test_req_W2_when_no_worker_fits_it_says_what_is_missing() -> None:
    site = Site({"os": "windows", "python": ">=3.12"})
    site.add("w1", os="linux", python="3.11")
    missing = "needs os = windows, the worker has linux; needs python at least 3.12, the worker has 3.11"
    assert site.why() == f"waits for a worker: w1 does not fit ({missing})"
    site.add("w2", None, os="linux", python="3.12")
    assert site.why() == "waits for a worker: none of 2 has os = windows"
    site.add("w3", os="windows", python="3.11")
    nearest = "w2 comes nearest (needs os = windows, the worker has linux)"
    assert site.why() == f"waits for a worker: none of 3 fits; {nearest}"
    run = site.trigger()
    assert site.kind(run) is Why.NO_FIT
    explained = site.waits.explain(run)
    assert [(one.words, one.met_by) for one in explained.needs] == [("os = windows", 1), ("python at least 3.12", 1)]
    assert [one.name for one in explained.candidates] == ["w2", "w3", "w1"]  # the nearest first
    assert {one.stand for one in explained.candidates} == {Stand.UNFIT}


@pytest.mark.parametrize(
    ("slots", "sentence"),
    [
        ((1,), "waits for a free slot: the only slot of w1 is in use"),
        ((2, 3), "waits for a free slot: all 5 slots of w1 and w2 are in use"),
        ((1, 1, 1, 1, 1), "waits for a free slot: all 5 slots of w1, w2, w3 and 2 more are in use"),
    ],
)
def test_req_W2_when_all_slots_are_taken_it_says_whose(slots: tuple[int, ...], sentence: str) -> None:
    site = Site({"os": "linux"})
    for number, count in enumerate(slots, 1):
        site.add(f"w{number}", count, count, os="linux")
    site.add("other", 0, 9, os="windows")  # has room, and does not fit
    site.add("away", None, 9, os="linux")
    assert site.why() == sentence


def test_req_W2_where_it_stands_counts_those_that_may_be_given_out_before_it() -> None:
    site = Site()
    site.add("w1", 1, 1)
    off = site.trigger("plain")
    runs = [site.trigger() for _ in range(3)]

    def places() -> list[Number | None]:
        waits = site.waits.of([off, *runs])
        return [waits[run.id].place for run in (off, *runs)]

    assert places() == [Number(1, 4), Number(2, 4), Number(3, 4), Number(4, 4)]
    site.switch(is_enabled=False, job="plain")
    assert places() == [None, Number(1, 3), Number(2, 3), Number(3, 3)]
    site.runs.cancel(runs[0].id, "bob")
    assert places() == [None, None, Number(1, 2), Number(2, 2)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: site.workers.enable("w1", False), "w1 is disabled"),
        (lambda site: site.workers.drain("w1"), "w1 was told to drain"),
        (lambda site: setattr(site.seat("w1"), "wants_drain", True), "w1 wants nothing new"),
        (lambda site: setattr(site.seat("w1"), "is_greeting", True), "w1 is just connecting"),
        (lambda site: setattr(site.seat("w1"), "is_merging", True), "w1 still tells what it has, after a restore"),
        (lambda site: _decline(site, "its disk is nearly full"), "w1 declined a run: its disk is nearly full"),
    ],
)
def test_fault_F43_a_worker_that_takes_nothing_new_says_why(change: Callable[[Site], object], said: str) -> None:
    site = Site()
    worker = site.add("w1", 1)
    change(site)
    site.update(worker)
    assert site.why() == f"waits for a worker: {said}"
    run = site.trigger()
    assert site.kind(run) is Why.CLOSED
    site.dispatcher.step()
    assert site.now(run).status is Status.PENDING
    site.add("w2", 2, 2)
    assert "all 2 slots of w2 are in use; 1 other worker that fits takes nothing new" in site.why(run)


def _decline(site: Site, reason: str) -> None:
    seat = site.seat("w1")
    seat.has_declined, seat.declined_why = True, reason


def test_workers_that_take_nothing_new_for_several_reasons_are_told_by_reason() -> None:
    site = Site()
    for name in ("w1", "w2", "w3"):
        site.add(name)
    site.workers.enable("w1", False)
    site.workers.drain("w2")
    site.workers.drain("w3")
    for name in ("w1", "w2", "w3"):
        site.update(site.worker_named(name))
    assert site.why() == "waits for a worker: w2 and w3 were told to drain, w1 is disabled"


def test_a_run_that_can_be_given_waits_for_its_turn() -> None:
    site = Site()
    site.add("w1", 1)
    run = site.trigger()
    assert site.why(run).startswith("waits for its turn: ")
    assert site.waits.explain(run).candidates[0].sentence == "has a free slot"
    site.dispatcher.step()
    assert site.now(run).status is Status.ASSIGNED


# ---- what is before any worker


def test_req_D4_what_is_disabled_is_told_before_all_else() -> None:
    site = Site()
    run = site.trigger()
    site.switch(is_enabled=False, job="work")
    assert site.why(run) == "waits until its job is enabled"
    site.switch(is_enabled=False)
    assert site.why(run) == "waits until its project is enabled"
    assert site.waits.explain(run).candidates == ()


def test_fault_F16_a_full_disk_of_the_server_is_told() -> None:
    site = Site()
    site.add("w1")
    run = site.trigger()
    site.has_room = False
    assert site.why(run).startswith("waits until the server's disk has room again")
    assert site.kind(run) is Why.DISK_FULL


@pytest.mark.parametrize("verb", ["grant", "get"])
def test_fault_F19_storage_that_refuses_is_told_until_it_is_back(verb: str) -> None:
    site = Site()
    site.add("w1")
    store, run = site.repository.runs, site.trigger()
    right = getattr(store, verb)

    def hiccup(*_: object) -> bool:
        raise Unavailable("the database is away")

    setattr(store, verb, hiccup)
    site.dispatcher.step()
    setattr(store, verb, right)
    assert site.why(run) == "waits until the server can store it again: the database is away"
    assert site.kind(run) is Why.STORAGE
    site.dispatcher.step()
    assert site.now(run).status is Status.ASSIGNED


def test_fault_F19_a_step_that_fails_as_a_whole_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    site.add("w1")
    run = site.trigger()
    with monkeypatch.context() as broken:
        broken.setattr(site.repository.projects, "projects", _unavailable)
        with pytest.raises(Unavailable):
            site.dispatcher.step()
    assert site.kind(run) is Why.STORAGE
    site.dispatcher.step()
    assert site.now(run).status is Status.ASSIGNED


def _unavailable() -> None:
    raise Unavailable("the database is away")


def test_an_error_of_the_server_is_told() -> None:
    site = Site()
    site.add("w1")
    run = site.trigger()
    grant = site.repository.runs.grant

    def broken(*_: object) -> bool:
        raise Conflict("a defect")

    site.repository.runs.grant = broken  # type: ignore[assignment, method-assign]  # a fault, made to happen
    site.dispatcher.step()
    site.repository.runs.grant = grant  # type: ignore[method-assign]  # the fault is over
    assert site.why(run) == "waits: the server failed when it gave it out, and its log says more: a defect"
    assert site.kind(run) is Why.FAILED


def test_req_X14_another_matching_is_asked_by_dispatcher_and_explanation_alike() -> None:
    def licensed(document: JobDocument, worker: Applicant) -> Iterator[Condition]:
        yield from match(document, worker)
        has = worker.name.startswith("paid-")
        yield Condition("licence", has, words="a licence", because=f"{worker.name} has no licence")

    site = Site({"os": "linux"})
    site.match = licensed
    site.restart()
    site.dispatcher.load()
    site.add("free-1", os="linux")
    site.add("paid-1", os="mac")
    run = site.trigger()
    assert site.why(run) == "waits for a worker: none of 2 fits; free-1 comes nearest (free-1 has no licence)"
    assert [one.words for one in site.waits.explain(run).needs] == ["os = linux", "a licence"]
    site.dispatcher.step()
    assert site.now(run).status is Status.PENDING
    site.add("paid-2", os="linux")
    site.dispatcher.step()
    assert site.now(run).worker == "paid-2"


def test_defect_J12_a_definition_that_cannot_be_read_is_told() -> None:
    site = Site()
    run = site.trigger("plain")
    site.restart()
    site.dispatcher.load()
    site.repository.projects._definitions.pop("plain-v1")  # type: ignore[attr-defined]  # damage, made to happen
    assert site.why(run) == "waits: its definition cannot be read: version plain-v1 of a job is gone"


def test_fault_F24_runs_that_a_restore_holds_say_so() -> None:
    site = Site()
    held = site.trigger()
    site.add("w1", None)
    site.recoveries.begin("a test")
    fresh = site.trigger()
    assert site.why(held) == "waits: restored from a backup; 1 worker has not reported yet (w1)"
    assert site.why(fresh) == "waits for a worker: w1 is not connected"
    assert site.waits.of([held])[held.id].place is None
    found = site.waits.queue(QueueFilter(why=(Why.RESTORED,)), None, 9)
    assert [run.id for run, _ in found.rows] == [held.id]
    assert found.counts == {Why.RESTORED: 1, Why.AWAY: 1}


# ---- runs that a worker has (F10)


def test_fault_F10_a_run_of_a_silent_worker_says_so_long_before_it_is_lost() -> None:
    site = Site()
    worker = site.add("w1", None)
    run = site.running(worker)
    site.workers.heard({worker.id: site.clock.now()})
    site.clock.advance(30)
    assert site.waits.reasons([run]) == {run.id: "w1 has been silent for 30.0 s; the run still counts as running"}
    site.clock.advance(3 * 3600)
    assert "silent for 3 h" in site.waits.explain(run).sentence
    assert site.kind(run) is Why.SILENT
    site.sit(worker)
    assert site.waits.reasons([run]) == {}


def test_runs_that_do_not_wait_have_no_reason_and_say_what_they_do() -> None:
    site = Site()
    worker = site.add("w1")
    assert site.waits.reasons([]) == {}
    assigned = site.assign(worker)
    running = site.running(worker)
    for run, said in (
        (assigned, "it does not wait any more: w1 was given it"),
        (running, "it does not wait: it runs on w1"),
        (site.end(worker, running), "it does not wait: it has ended as succeeded"),
    ):
        assert site.waits.reasons([run]) == {}
        assert (site.waits.explain(run).sentence, site.kind(run)) == (said, None)
    lost = site.lost(worker)
    assert site.waits.explain(lost).sentence == "it does not wait: it is lost until w1 is back"
