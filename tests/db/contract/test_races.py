"""Many threads at one thing: exactly one of them wins, and nobody sees half of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from appliance.db.repository import Repository
from appliance.model.entities import IdempotencyKey, StreamRecord
from appliance.model.run_state import Status
from tests.db.values import add, assigned, ended, granted, lease_of, new_run, running, session, stored, token, user

T = TypeVar("T")
THREADS = 32


def at_once(act: Callable[[int], T]) -> list[T]:
    """What the act answers in each of 32 threads that all begin together."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_runs_added_at_once_are_numbered_without_gap(repository: Repository) -> None:
    def act(_: int) -> list[int]:
        return [add(repository).number for _ in range(4)]

    numbers = sorted(number for some in at_once(act) for number in some)
    assert numbers == list(range(1, THREADS * 4 + 1))


def test_fault_F13_one_key_at_once_makes_one_run(repository: Repository) -> None:
    key = IdempotencyKey("alice", "key", "digest")
    answers = at_once(lambda _: repository.runs.add(new_run(), key))
    assert sum(is_new for _, is_new in answers) == 1
    assert len({run.id for run, _ in answers}) == 1
    assert add(repository).number == 2


def test_one_of_many_changes_of_a_version_wins(repository: Repository) -> None:
    run = add(repository)

    def act(number: int) -> bool:
        return repository.runs.replace(msgspec.structs.replace(run, priority=number), 1)

    won = at_once(act)
    assert won.count(True) == 1
    assert stored(repository, run).priority == won.index(True)


def test_a_run_is_granted_to_one_worker_only(repository: Repository) -> None:
    run = add(repository)

    def act(number: int) -> bool:
        worker_id = f"worker-{number}"
        return repository.runs.grant(assigned(run, worker_id), lease_of(run, worker_id), 1)

    won = at_once(act)
    assert won.count(True) == 1
    ((given, lease),) = repository.runs.leased()
    assert given.worker_id == lease.worker_id == f"worker-{won.index(True)}"


def test_inv_I4_readers_see_the_whole_end_or_none_of_it(repository: Repository) -> None:
    runs = [running(repository, add(repository)) for _ in range(THREADS // 2)]

    def act(number: int) -> bool:
        run = runs[number // 2]
        if number % 2:
            return repository.runs.finish(ended(run), [StreamRecord(run.id, 0, 1, 1, "b")], '{"a":1}', run.version)
        # The status is read first: what belongs to an end must be there as soon as the end is.
        is_over = stored(repository, run).status is Status.SUCCEEDED
        return not is_over or (bool(repository.runs.streams(run.id)) and repository.runs.results(run.id) == '{"a":1}')

    assert all(at_once(act))
    assert repository.runs.leased() == []


def test_the_setup_token_is_used_once_however_many_try(repository: Repository) -> None:
    one = token(1, "setup")
    repository.accounts.add_token(one)
    won = at_once(lambda number: repository.accounts.add_first_user(user(f"user-{number}"), one.hash, one.created_at))
    assert won.count(True) == 1
    assert len(repository.accounts.users(None, 100)) == 1


def test_one_name_is_taken_once(repository: Repository) -> None:
    won = at_once(lambda number: repository.accounts.add_user(user("alice" if number % 2 else "ALICE")))
    assert won.count(True) == 1


def test_req_S_07_no_session_outlives_a_change_that_ends_them(repository: Repository) -> None:
    repository.accounts.add_user(user())
    at_once(lambda number: repository.accounts.add_session(session(number)))
    assert repository.accounts.replace_user(user(), 1, end_sessions=True)
    assert repository.accounts.sessions("alice") == []


def test_a_run_is_taken_back_or_ended_but_not_both(repository: Repository) -> None:
    runs = [granted(repository, add(repository)) for _ in range(THREADS // 2)]

    def act(number: int) -> bool:
        run = runs[number // 2]
        if number % 2:
            return repository.runs.finish(ended(run), [], None, run.version)
        back = msgspec.structs.replace(run, status=Status.PENDING, assigned_at=None, worker_id=None, worker=None)
        return repository.runs.take_back(back, run.version)

    won = at_once(act)
    assert [won[place] + won[place + 1] for place in range(0, THREADS, 2)] == [1] * len(runs)
