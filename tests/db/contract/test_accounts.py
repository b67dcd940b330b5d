"""Users, tokens and sessions."""

from __future__ import annotations

import msgspec
import pytest

from appliance.db.repository import Repository
from appliance.model.errors import Conflict, NotFound
from tests.db.values import NOW, at, session, token, user, worker

replace = msgspec.structs.replace


def test_a_user_comes_back_as_it_was(repository: Repository) -> None:
    one, bare = user(), user("bare", password_hash=None, site_roles=frozenset(), project_roles={}, is_enabled=False)
    assert repository.accounts.add_user(one)
    assert repository.accounts.add_user(bare)
    assert repository.accounts.user("alice") == one
    assert repository.accounts.user("bare") == bare
    assert repository.accounts.user("ALICE") is None
    assert [one.name for one in repository.accounts.users(None, 1)] == ["alice"]
    assert [one.name for one in repository.accounts.users("Alice", 9)] == ["bare"]
    assert [one.name for one in repository.accounts.users(None, 9, backwards=True)] == ["bare", "alice"]
    assert [one.name for one in repository.accounts.users("Bare", 9, backwards=True)] == ["alice"]


def test_req_S_21_no_two_users_differ_only_in_case(repository: Repository) -> None:
    assert repository.accounts.add_user(user("alice"))
    assert not repository.accounts.add_user(user("Alice"))


def test_the_setup_token_makes_one_administrator_once(repository: Repository) -> None:
    good, other = token(1, "setup", expires_at=at(10)), token(2, "setup")
    repository.accounts.add_token(good)
    repository.accounts.add_token(other)
    assert not repository.accounts.add_first_user(user(), "unknown", NOW)
    assert not repository.accounts.add_first_user(user(), good.hash, at(10))
    assert repository.accounts.user("alice") is None
    assert repository.accounts.add_first_user(user(), good.hash, at(9))
    assert repository.accounts.user("alice") == user()
    assert not repository.accounts.add_first_user(user("bob"), good.hash, at(9))
    assert not repository.accounts.add_first_user(user("bob"), other.hash, at(9))
    assert repository.accounts.user("bob") is None


def test_a_user_token_does_not_make_an_administrator(repository: Repository) -> None:
    repository.accounts.add_user(user())
    its = token(1, user="alice")
    repository.accounts.add_token(its)
    assert not repository.accounts.add_first_user(user("bob"), its.hash, NOW)


def test_a_changed_user_ends_its_sessions_only_if_asked(repository: Repository) -> None:
    for name in ("alice", "bob"):
        repository.accounts.add_user(user(name))
    for number, name in enumerate(("alice", "alice", "bob")):
        repository.accounts.add_session(session(number, name))
    renewed = replace(user(), password_hash="other", project_roles={})
    assert repository.accounts.replace_user(renewed, 1, end_sessions=False)
    assert repository.accounts.user("alice") == replace(renewed, version=2)
    assert len(repository.accounts.sessions("alice")) == 2
    assert not repository.accounts.replace_user(user(), 1, end_sessions=True)
    assert len(repository.accounts.sessions("alice")) == 2
    assert repository.accounts.replace_user(renewed, 2, end_sessions=True)
    assert repository.accounts.sessions("alice") == []
    assert len(repository.accounts.sessions("bob")) == 1
    assert not repository.accounts.replace_user(user("nobody"), 1, end_sessions=True)


def test_tokens_belong_to_somebody_and_are_unique(repository: Repository) -> None:
    repository.accounts.add_user(user())
    one = token(1, user="alice")
    repository.accounts.add_token(one)
    with pytest.raises(NotFound):
        repository.accounts.add_token(token(2, user="nobody"))
    with pytest.raises(NotFound):
        repository.accounts.add_token(token(2, "worker", worker_id="nobody"))
    with pytest.raises(Conflict):
        repository.accounts.add_token(replace(one, id="other"))
    with pytest.raises(Conflict):
        repository.accounts.add_token(replace(one, hash="f" * 64))
    assert repository.accounts.tokens("alice") == [one]


def test_tokens_are_listed_newest_first_touched_and_revoked(repository: Repository) -> None:
    repository.accounts.add_user(user())
    old, new = token(1, user="alice"), token(2, user="alice", expires_at=at(99))
    repository.accounts.add_token(old)
    repository.accounts.add_token(new)
    assert repository.accounts.tokens("alice") == [new, old]
    repository.accounts.touch_token(old.id, at(5))
    repository.accounts.touch_token(old.id, at(6))
    repository.accounts.touch_token("no such token", at(6))
    assert repository.accounts.token(old.hash) == replace(old, first_used_at=at(5), last_used_at=at(6))
    assert repository.accounts.revoke_token(old.id)
    assert not repository.accounts.revoke_token(old.id)
    assert repository.accounts.token(old.hash) is None


def test_sessions_come_and_go(repository: Repository) -> None:
    repository.accounts.add_user(user())
    one, two = session(1), session(2)
    repository.accounts.add_session(one)
    repository.accounts.add_session(two)
    assert repository.accounts.sessions("alice") == [two, one]
    repository.accounts.extend_session(one.id, at(50), at(5000))
    assert repository.accounts.session(one.id) == replace(one, refreshed_at=at(50), expires_at=at(5000))
    repository.accounts.end_sessions([one.id, "no such session"])
    repository.accounts.end_sessions([])
    assert repository.accounts.session(one.id) is None
    assert repository.accounts.session(two.id) == two
    with pytest.raises(Conflict):
        repository.accounts.add_session(two)
    with pytest.raises(NotFound):
        repository.accounts.add_session(session(3, "nobody"))


def test_defect_J25_expired_tokens_and_sessions_are_purged(repository: Repository) -> None:
    repository.accounts.add_user(user())
    machine = worker()
    repository.workers.add(machine, token(1, "worker", worker_id=machine.id))
    repository.accounts.add_token(token(2, user="alice", expires_at=at(10)))
    repository.accounts.add_token(token(3, user="alice", expires_at=at(11)))
    repository.accounts.add_session(session(1, expires_at=at(10)))
    repository.accounts.add_session(session(2, expires_at=at(11)))
    assert repository.accounts.purge(at(10)) == 2
    assert repository.accounts.purge(at(10)) == 0
    assert [one.id for one in repository.accounts.tokens("alice")] == ["token-3"]
    assert repository.accounts.sessions("alice") == [session(2, expires_at=at(11))]
    assert repository.accounts.token(token(1).hash) is not None
