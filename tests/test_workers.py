"""Workers: their accounts, what they say of themselves, and their end."""

from __future__ import annotations

import msgspec
import pytest

from appliance.events import WorkerChanged, WorkerRevoked
from appliance.master.roster import Seat
from appliance.model import tokens
from appliance.model.entities import User
from appliance.model.errors import Conflict, Invalid, NotFound
from appliance.workers import Nobody, Registration, Workers
from tests.lease_place import JOURNAL, Ear, Place


@pytest.fixture
def place() -> Place:
    return Place()


def test_req_S_85_the_token_of_a_worker_is_told_once_and_kept_as_a_hash(place: Place) -> None:
    worker, text = place.workers.create("builder", "alice", {"os": "linux"})
    token = place.repository.accounts.token(tokens.stored_hash(tokens.parse(text).secret))
    assert token is not None and (token.kind, token.worker_id, token.label) == ("worker", worker.id, "builder")
    assert text not in repr(token) and text not in repr(worker)
    assert (worker.owner, worker.properties, worker.created_at) == ("alice", {"os": "linux"}, place.clock.now())
    assert place.seen == [WorkerChanged(worker.id)]


@pytest.mark.parametrize("name", ["builder", "BUILDER"])
def test_a_name_is_given_to_one_worker_only(place: Place, name: str) -> None:
    first, _ = place.workers.create("builder", "alice")
    with pytest.raises(Conflict, match="exists already"):
        place.workers.create(name, "bob")
    assert [one.worker for one in place.workers.list()] == [first]


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 500, "a\n", "é"])
def test_req_S_21_a_name_that_is_none_is_refused(place: Place, name: str) -> None:
    with pytest.raises(Invalid):
        place.workers.create(name, "alice")
    assert place.workers.list() == []


def test_the_properties_of_a_token_have_a_limit(place: Place) -> None:
    with pytest.raises(Invalid):
        place.workers.create("builder", "alice", {f"key{number}": 1 for number in range(101)})


def test_what_a_worker_says_of_itself_is_noted_and_its_tokens_properties_win(place: Place) -> None:
    worker, _ = place.workers.create("builder", "alice", {"os": "plan9", "team": "red"})
    said = Registration(
        journal_id=JOURNAL, software="orchestra 1", slots=8, properties={"os": "linux", "cpus": 4}, clock_offset=-1.5
    )
    place.workers.register(worker.id, said)
    state = place.workers.named("builder")
    assert (state.worker.journal_id, state.worker.slots, state.worker.clock_offset) == (JOURNAL, 8, -1.5)
    assert state.worker.version_text == "orchestra 1"
    assert state.properties == {"os": "plan9", "team": "red", "cpus": 4}


def test_flags_are_set_by_name_and_told(place: Place) -> None:
    worker = place.worker()
    place.seen.clear()
    assert not place.workers.enable("w1", is_enabled=False).worker.is_enabled
    assert place.workers.drain("w1").worker.is_draining
    assert place.workers.enable("w1", is_enabled=True).worker.is_enabled
    assert place.seen == [WorkerChanged(worker.id)] * 3


def test_a_worker_with_live_runs_is_not_removed(place: Place) -> None:
    worker = place.worker()
    run = place.running(worker)
    with pytest.raises(Conflict, match="still has runs: wait for them, as 'orchestra worker drain w1 --wait' does"):
        place.workers.remove("w1")
    place.end(worker, run)
    place.seen.clear()
    place.workers.remove("w1")
    assert place.seen == [WorkerRevoked(worker.id), WorkerChanged(worker.id)]
    assert place.now(run).worker == "w1"  # history keeps the name
    with pytest.raises(NotFound):
        place.workers.get(worker.id)


def test_what_is_asked_of_a_worker_that_does_not_exist_is_not_found(place: Place) -> None:
    for ask in (place.workers.named, place.workers.remove, place.workers.get):
        with pytest.raises(NotFound):
            ask("x" * 1000)
    with pytest.raises(NotFound):
        place.workers.enable("nobody", is_enabled=True)


def test_beats_are_written_for_all_at_once(place: Place) -> None:
    workers = [place.worker("w1"), place.worker("w2")]
    place.clock.advance(30)
    place.workers.heard({worker.id: place.clock.now() for worker in workers})
    place.workers.heard({})
    assert [one.worker.last_contact_at for one in place.workers.list()] == [place.clock.now()] * 2


def test_a_list_goes_on_behind_a_name(place: Place) -> None:
    for name in ("c", "a", "b"):
        place.workers.create(name, "alice")
    assert [one.worker.name for one in place.workers.list(None, 2)] == ["a", "b"]
    assert [one.worker.name for one in place.workers.list("b", 2)] == ["c"]


def test_who_is_connected_is_shown(place: Place) -> None:
    worker = place.worker()
    assert (place.workers.named("w1").is_active, place.workers.named("w1").used) == (False, 0)
    place.roster.sit(Seat(worker, Ear(), JOURNAL), {"a run": 0})
    assert (place.workers.named("w1").is_active, place.workers.named("w1").used) == (True, 1)
    without_master = Workers(place.repository, place.clock, place.events, Nobody(), place.random.randbytes)
    assert (without_master.named("w1").is_active, without_master.named("w1").used) == (False, 0)


def test_fault_F10_the_runs_of_a_worker_that_is_silent_stay_counted(place: Place) -> None:
    worker = place.worker()
    place.worker("w2")
    run = place.running(worker)
    assert place.workers.named("w1").used == 1
    assert [state.used for state in place.workers.list()] == [1, 0]
    place.leases.lose(run, "no contact")
    assert place.workers.named("w1").used == 1
    place.end(worker, run)
    assert place.workers.named("w1").used == 0


def test_fault_F25_a_worker_whose_owner_is_disabled_says_so_and_how_many_of_its_runs_wait(place: Place) -> None:
    alice = User("alice", place.clock.now())
    assert place.repository.accounts.add_user(alice)
    place.assign(place.worker())
    place.workers.create("other", "bob")
    assert [state.trouble for state in place.workers.list()] == ["", ""]
    disabled = msgspec.structs.replace(alice, is_enabled=False)
    assert place.repository.accounts.replace_user(disabled, alice.version, end_sessions=True)
    said = "alice, who owns this worker, is disabled; 1 of its runs waits"
    assert [state.trouble for state in place.workers.list()] == ["", said]
    assert place.workers.named("w1").trouble == said
