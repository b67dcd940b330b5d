"""Workers and their last words."""

from __future__ import annotations

import msgspec
import pytest

from appliance.db.repository import Repository
from appliance.model.errors import Conflict
from tests.db.values import add, at, ended, granted, stored, token, worker

replace = msgspec.structs.replace


def test_a_worker_comes_back_as_it_was_with_its_token(repository: Repository) -> None:
    one = worker(slots=3, reported={"python": "3.11"}, version_text="1.0", clock_offset=-0.25, journal_id="j")
    its = token(1, "worker", worker_id=one.id)
    assert repository.workers.add(one, its)
    assert repository.workers.get(one.id) == one
    assert repository.workers.named("builder") == one
    assert repository.accounts.token(its.hash) == its
    assert repository.workers.get("other") is None
    assert repository.workers.named("BUILDER") is None


def test_req_S_21_no_two_workers_differ_only_in_case(repository: Repository) -> None:
    one, two = worker("builder"), worker("Builder")
    assert repository.workers.add(one, token(1, "worker", worker_id=one.id))
    its = token(2, "worker", worker_id=two.id)
    assert not repository.workers.add(two, its)
    assert repository.accounts.token(its.hash) is None


def test_a_worker_without_a_good_token_is_not_stored(repository: Repository) -> None:
    one, two = worker("one"), worker("two")
    assert repository.workers.add(one, token(1, "worker", worker_id=one.id))
    with pytest.raises(Conflict):
        repository.workers.add(two, token(1, "worker", worker_id=two.id))
    assert repository.workers.get(two.id) is None


def test_workers_are_listed_by_name_in_pages(repository: Repository) -> None:
    for number, name in enumerate(("beta", "Alpha", "gamma")):
        one = worker(name)
        assert repository.workers.add(one, token(number, "worker", worker_id=one.id))
    assert [one.name for one in repository.workers.list(None, 2)] == ["Alpha", "beta"]
    assert [one.name for one in repository.workers.list("beta", 2)] == ["gamma"]
    assert [one.name for one in repository.workers.list("ALPHA", 9)] == ["beta", "gamma"]
    assert [one.name for one in repository.workers.list(None, 2, backwards=True)] == ["gamma", "beta"]
    assert [one.name for one in repository.workers.list("BETA", 9, backwards=True)] == ["Alpha"]


def test_a_worker_is_replaced_only_in_the_version_seen(repository: Repository) -> None:
    one = worker()
    repository.workers.add(one, token(1, "worker", worker_id=one.id))
    changed = replace(one, is_enabled=False, is_draining=True, reported={"os": "linux"}, slots=4)
    assert repository.workers.replace(changed, 1)
    assert repository.workers.get(one.id) == replace(changed, version=2)
    assert not repository.workers.replace(replace(one, slots=9), 1)
    assert not repository.workers.replace(worker("never stored"), 1)


def test_beats_note_contact_and_nothing_else(repository: Repository) -> None:
    one = worker()
    repository.workers.add(one, token(1, "worker", worker_id=one.id))
    repository.workers.beats({one.id: at(5), "gone": at(6)})
    repository.workers.beats({})
    assert repository.workers.get(one.id) == replace(one, last_contact_at=at(5))
    assert repository.workers.replace(replace(one, slots=2, last_contact_at=at(1)), 1)
    assert repository.workers.get(one.id) == replace(one, slots=2, last_contact_at=at(5), version=2)


def test_a_worker_with_live_runs_is_not_removed(repository: Repository) -> None:
    one = worker()
    its = token(1, "worker", worker_id=one.id)
    repository.workers.add(one, its)
    run = granted(repository, add(repository), one.id)
    assert not repository.workers.remove(one.id)
    assert repository.runs.finish(ended(run), [], None, run.version)
    assert repository.workers.remove(one.id)
    assert repository.workers.get(one.id) is None
    assert repository.accounts.token(its.hash) is None
    assert not repository.workers.remove(one.id)
    assert stored(repository, run).worker_id == one.id
