"""What the verbs behind giving up, revoking, keyed triggers and the last administrator promise."""

from __future__ import annotations

import threading

import msgspec
import pytest

from appliance.db.repository import Repository
from appliance.model.entities import Exit, IdempotencyKey, Late, Receipt
from appliance.model.errors import Conflict
from appliance.model.run_state import Reason, Status
from tests.db.values import NOW, add, at, ended, new_run, running, session, stored, token, user, worker

replace = msgspec.structs.replace
LATE = Late(
    status="failed",
    ended_at=NOW,
    reported_at=at(5),
    reason="exit_code",
    sentence="it failed",
    exit=Exit(code=3, command="commands[0]"),
    log=Receipt(6, "ab" * 32, complete=True, verified=True),
    notes=("a note",),
    results='{"a":"2026-01-01"}',
)


# ---- late reports


def test_a_late_report_comes_back_as_it_was_and_the_first_one_stays(repository: Repository) -> None:
    run = running(repository, add(repository))
    assert not repository.late.put(run.id, LATE)  # it goes on
    assert repository.runs.finish(ended(run, Status.ERRORED, Reason.DECLARED_LOST), (), None, run.version)
    after = stored(repository, run)
    assert repository.late.get(run.id) is None
    assert repository.late.put(run.id, LATE)
    assert not repository.late.put(run.id, replace(LATE, status="succeeded"))
    assert repository.late.get(run.id) == LATE
    assert stored(repository, run) == after


def test_there_is_no_late_report_of_a_run_that_is_none(repository: Repository) -> None:
    assert not repository.late.put(new_run().id, LATE)
    assert repository.late.get(new_run().id) is None
    assert repository.late.get("no id") is None


# ---- idempotency keys


def test_fault_F13_a_key_finds_its_run_and_no_other_request(repository: Repository) -> None:
    key = IdempotencyKey("user:alice", "k", "aa" * 32)
    assert repository.runs.keyed(key) is None
    run, _ = repository.runs.add(new_run(), key)
    assert repository.runs.keyed(key) == run
    assert repository.runs.keyed(replace(key, owner="user:bob")) is None
    assert repository.runs.keyed(replace(key, key="other")) is None
    with pytest.raises(Conflict):
        repository.runs.keyed(replace(key, digest="bb" * 32))


# ---- workers whose token was taken away


def test_fault_F25_a_revoked_worker_has_no_token_and_knows_who_did_it(repository: Repository) -> None:
    one = worker()
    its = token(1, "worker", worker_id=one.id)
    repository.workers.add(one, its)
    other = worker("other")
    others = token(2, "worker", worker_id=other.id)
    repository.workers.add(other, others)
    assert repository.workers.revoke(one.id, "alice", at(1))
    assert repository.workers.get(one.id) == replace(one, revoked_at=at(1), revoked_by="alice", version=2)
    assert repository.accounts.token(its.hash) is None
    assert repository.accounts.token(others.hash) == others
    assert not repository.workers.revoke(one.id, "bob", at(2))
    assert not repository.workers.revoke("nobody", "bob", at(2))


def test_fault_F25_a_revoked_worker_is_given_a_token_again_once(repository: Repository) -> None:
    one = worker(journal_id="j", slots=7)
    repository.workers.add(one, token(1, "worker", worker_id=one.id))
    new = token(3, "worker", worker_id=one.id)
    changed = replace(one, owner="bob", properties={"pool": "x"}, slots=99)
    assert not repository.workers.grant_again(changed, new, 1)  # it is not revoked
    assert repository.accounts.token(new.hash) is None
    repository.workers.revoke(one.id, "alice", at(1))
    assert not repository.workers.grant_again(changed, new, 1)  # not in this version
    assert repository.workers.grant_again(changed, new, 2)
    assert repository.workers.get(one.id) == replace(one, owner="bob", properties={"pool": "x"}, version=3)
    assert repository.accounts.token(new.hash) == new
    assert not repository.workers.grant_again(changed, token(4, "worker", worker_id=one.id), 3)


def test_a_revoked_worker_is_not_given_a_token_that_is_taken(repository: Repository) -> None:
    one = worker()
    repository.workers.add(one, token(1, "worker", worker_id=one.id))
    other = worker("other")
    taken = token(2, "worker", worker_id=other.id)
    repository.workers.add(other, taken)
    repository.workers.revoke(one.id, "alice", at(1))
    before = repository.workers.get(one.id)
    with pytest.raises(Conflict):
        repository.workers.grant_again(one, taken, 2)
    assert repository.workers.get(one.id) == before


# ---- the last administrator


def test_req_S_08_the_last_administrator_cannot_be_dismissed(repository: Repository) -> None:
    for name, roles, is_enabled in (("alice", {"administrator"}, True), ("off", {"administrator"}, False)):
        repository.accounts.add_user(user(name, site_roles=frozenset(roles), is_enabled=is_enabled))
    repository.accounts.add_user(user("watcher", site_roles=frozenset({"auditor"})))
    repository.accounts.add_session(session(1, "alice"))
    alice = repository.accounts.user("alice")
    assert alice is not None
    assert repository.accounts.dismiss_administrator(replace(alice, site_roles=frozenset()), 1) is None
    assert repository.accounts.user("alice") == alice
    assert len(repository.accounts.sessions("alice")) == 1

    repository.accounts.add_user(user("bob", site_roles=frozenset({"auditor", "administrator"})))
    assert repository.accounts.dismiss_administrator(replace(alice, is_enabled=False), 9) is False
    assert repository.accounts.dismiss_administrator(replace(alice, is_enabled=False), 1) is True
    assert repository.accounts.user("alice") == replace(alice, is_enabled=False, version=2)
    assert repository.accounts.sessions("alice") == []


@pytest.mark.parametrize("attempt", range(10))
def test_req_S_08_of_two_administrators_who_dismiss_each_other_one_stays(repository: Repository, attempt: int) -> None:
    names = (f"alice{attempt}", f"bob{attempt}")
    for name in names:
        repository.accounts.add_user(user(name, site_roles=frozenset({"administrator"})))
    start = threading.Barrier(2)
    answers: dict[str, bool | None] = {}

    def dismiss(name: str) -> None:
        one = repository.accounts.user(name)
        assert one is not None
        start.wait(30)
        answers[name] = repository.accounts.dismiss_administrator(replace(one, site_roles=frozenset()), one.version)

    threads = [threading.Thread(target=dismiss, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers.values(), key=str) == [None, True]
