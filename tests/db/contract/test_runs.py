"""Runs, leases, streams and results: every verb, its condition and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from appliance.db.repository import KEY_LIFE, Repository, RunFilter, RunKey
from appliance.model.entities import Exit, IdempotencyKey, Receipt, Source, StreamRecord
from appliance.model.errors import Conflict
from appliance.model.run_state import IllegalTransition, Reason, Status
from tests.db.values import NOW, add, assigned, at, ended, granted, lease_of, new_run, running, stored

replace = msgspec.structs.replace
DATE_LIKE = {
    "day": "2024-01-01",
    "stamp": "2024-01-01T00:00:00Z",
    "number": "007",
    "yes": "yes",
    "null": "null",
    "float": 1.0,
    "whole": 2**53,
    "deep": {"list": [1, "1", None, True]},
    "sign": "é\u2028😀",
}


def test_a_new_run_is_pending_with_all_that_its_trigger_brought(repository: Repository) -> None:
    new = new_run(
        expires_at=at(60),
        retry_of="r",
        parent="p",
        batch="b",
        priority=3,
        source=Source(type="schedule", token_id="t"),
    )
    run, is_new = repository.runs.add(new)
    assert is_new
    assert (run.status, run.number, run.version) == (Status.PENDING, 1, 1)
    assert {name: getattr(run, name) for name in new.__struct_fields__} == msgspec.structs.asdict(new)
    assert repository.runs.get(run.id) == run
    assert repository.runs.get("no such run") is None


def test_numbers_count_each_job_for_itself(repository: Repository) -> None:
    assert [add(repository).number for _ in range(3)] == [1, 2, 3]
    assert add(repository, job="deploy").number == 1
    assert add(repository, project="shop").number == 1


def test_an_id_is_used_once_and_no_number_is_lost_by_the_refusal(repository: Repository) -> None:
    new = new_run()
    repository.runs.add(new)
    with pytest.raises(Conflict):
        repository.runs.add(replace(new, job="deploy"))
    assert add(repository).number == 2
    assert add(repository, job="deploy").number == 1


def test_defect_J03_date_like_values_come_back_as_the_same_strings(repository: Repository) -> None:
    run = add(repository, parameters=DATE_LIKE)
    found = stored(repository, run)
    assert found.parameters == DATE_LIKE
    assert isinstance(found.parameters["float"], float)
    text = msgspec.json.encode(DATE_LIKE).decode()
    assert repository.runs.put_results(run.id, 1, text)
    assert repository.runs.results(run.id) == text
    assert repository.runs.set_results(run.id, {"set": "2024-02-02", "number": "008"})
    merged = msgspec.json.decode(repository.runs.results(run.id))
    assert merged == DATE_LIKE | {"set": "2024-02-02", "number": "008"}


def test_parameters_are_not_the_callers_any_more(repository: Repository) -> None:
    parameters = {"branch": "main"}
    run = add(repository, parameters=parameters)
    parameters["branch"] = "changed later"
    assert stored(repository, run).parameters == {"branch": "main"}


def test_a_known_key_answers_the_first_run_unchanged(repository: Repository) -> None:
    key = IdempotencyKey("alice", "key", "digest")
    first, is_new = repository.runs.add(new_run(), key)
    assert is_new
    given = granted(repository, first)
    assert repository.runs.add(new_run(), key) == (given, False)
    assert add(repository).number == 2
    other, is_new = repository.runs.add(new_run(), replace(key, owner="bob"))
    assert is_new
    assert other.number == 3


def test_a_known_key_with_another_request_is_a_conflict(repository: Repository) -> None:
    key = IdempotencyKey("alice", "key", "digest")
    repository.runs.add(new_run(), key)
    with pytest.raises(Conflict):
        repository.runs.add(new_run(), replace(key, digest="other"))
    assert add(repository).number == 2


def test_a_key_is_forgotten_a_week_after_its_run_was_made(repository: Repository) -> None:
    key = IdempotencyKey("alice", "key", "digest")
    first, _ = repository.runs.add(new_run(), key)
    assert repository.accounts.purge(NOW + KEY_LIFE - timedelta(milliseconds=1)) == 0
    assert repository.runs.add(new_run(), key) == (first, False)
    assert repository.accounts.purge(NOW + KEY_LIFE) == 1
    again, is_new = repository.runs.add(new_run(), replace(key, digest="other"))
    assert is_new
    assert again.number == 2


def test_ids_that_lie_closest_are_still_each_their_own(repository: Repository) -> None:
    ids = [f"00000000-0000-4000-8000-{number:012x}" for number in (3, 1, 2)]
    runs = [add(repository, id=run_id) for run_id in ids]
    assert [repository.runs.get(run_id) for run_id in ids] == runs
    seen: list[str] = []
    after = None
    while page := repository.runs.find(RunFilter(), after, 1):
        seen += [run.id for run in page]
        after = RunKey(page[-1].created_at, page[-1].id)
    assert sorted(seen) == sorted(ids)


def test_texts_that_only_look_like_ids_or_digests_come_back_as_they_were(repository: Repository) -> None:
    odd = "7E1A0A4E-0000-4000-8000-00000000000A"  # capitals: not as we write UUIDs
    run = running(repository, add(repository, retry_of=odd, parent="7e1a0a4e00004000800000000000000a", batch="ab"))
    records = [
        StreamRecord(run.id, stream, 5, 2**32 - 1, "boot", text) for stream, text in enumerate(("AB", "a b", ""))
    ]
    end = replace(ended(run), log=Receipt(size=2**40, sha256="AB", complete=True))
    assert repository.runs.finish(end, records, None, run.version)
    assert stored(repository, run) == replace(end, version=run.version + 1)
    assert repository.runs.streams(run.id) == records


def test_runs_are_found_by_number_and_newest_by_status(repository: Repository) -> None:
    first, second, third = (add(repository, created_at=at(-place)) for place in range(3))
    end = ended(running(repository, first))
    assert repository.runs.finish(end, [], None, end.version)
    assert repository.runs.numbered("website", "test", 2) == second
    assert repository.runs.numbered("website", "test", 4) is None
    assert repository.runs.numbered("website", "test", 0) is None
    assert repository.runs.numbered("website", "test", -1) is None
    assert repository.runs.newest("website", "test") == third
    assert repository.runs.newest("website", "test", Status.SUCCEEDED) == stored(repository, first)
    assert repository.runs.newest("website", "test", Status.PENDING) == third
    assert repository.runs.newest("website", "test", Status.FAILED) is None
    failed = ended(running(repository, second), Status.FAILED, Reason.EXIT_CODE)
    assert repository.runs.finish(failed, [], None, failed.version)
    assert repository.runs.newest("website", "test", Status.FAILED) == stored(repository, second)
    assert repository.runs.newest("website", "deploy") is None


def test_a_grant_stores_run_and_lease_together(repository: Repository) -> None:
    run = add(repository)
    assert not repository.runs.grant(assigned(run), lease_of(run), if_version=2)
    assert repository.runs.lease(run.id) is None
    given = granted(repository, run)
    assert given == replace(assigned(run), version=2)
    assert repository.runs.lease(run.id) == lease_of(run)
    assert repository.runs.leased_to("worker-1") == [(given, lease_of(run))]
    assert repository.runs.leased_to("worker-2") == []
    assert repository.runs.leased() == [(given, lease_of(run))]


def test_the_live_runs_of_each_worker_are_counted(repository: Repository) -> None:
    assert repository.runs.leased_counts() == {}
    add(repository)
    for worker in ("worker-1", "worker-2", "worker-1"):
        granted(repository, add(repository), worker)
    back = add(repository)
    given = granted(repository, back, "worker-2")
    assert repository.runs.leased_counts() == {"worker-1": 2, "worker-2": 2}
    assert repository.runs.take_back(replace(back, version=given.version), given.version)
    assert repository.runs.leased_counts() == {"worker-1": 2, "worker-2": 1}


def test_a_run_taken_back_is_pending_without_a_lease_and_can_be_granted_again(repository: Repository) -> None:
    run = add(repository)
    given = granted(repository, run)
    assert not repository.runs.take_back(run, if_version=1)
    assert repository.runs.take_back(replace(run, version=given.version), given.version)
    assert stored(repository, run) == replace(run, version=3)
    assert repository.runs.lease(run.id) is None
    assert repository.runs.leased() == []
    granted(repository, stored(repository, run), "worker-2")
    assert [pair[1].worker_id for pair in repository.runs.leased()] == ["worker-2"]


def test_fault_F24_an_assignment_that_came_back_is_remembered(repository: Repository) -> None:
    run = add(repository)
    given = granted(repository, run)
    lease = repository.runs.lease(run.id)
    assert lease is not None
    assert not repository.lineage.came_back(run.id, lease.cap)
    for _ in range(2):
        assert repository.runs.take_back(replace(stored(repository, run), status=Status.PENDING), given.version)
        assert repository.lineage.came_back(run.id, lease.cap)
        given = granted(repository, stored(repository, run))
    assert not repository.lineage.came_back(run.id, "f" * 64)
    assert not repository.lineage.came_back(add(repository).id, lease.cap)


def test_a_cancelled_run_is_taken_back_by_way_of_pending_at_once(repository: Repository) -> None:
    run = add(repository)
    given = granted(repository, run)
    cancelled = replace(run, status=Status.CANCELLED, reason=Reason.REQUESTED, sentence="by alice", finished_at=at(2))
    assert repository.runs.take_back(cancelled, given.version)
    assert stored(repository, run) == replace(cancelled, version=3)
    assert repository.runs.lease(run.id) is None


def test_only_an_assigned_run_is_taken_back(repository: Repository) -> None:
    run = running(repository, add(repository))
    with pytest.raises(IllegalTransition):
        repository.runs.take_back(replace(run, status=Status.PENDING, assigned_at=None), run.version)
    assert stored(repository, run) == run
    assert repository.runs.lease(run.id) is not None


def test_a_replaced_run_keeps_lease_streams_and_results(repository: Repository) -> None:
    run = running(repository, add(repository))
    record = StreamRecord(run.id, 0, 5, 99, "boot")
    repository.runs.put_streams([record])
    repository.runs.put_results(run.id, 1, '{"a":1}')
    changed = replace(
        run, should_abort=True, requested_by="alice", notes=("one", "two"), started_at=at(3), accepted_at=at(2)
    )
    assert repository.runs.replace(changed, run.version)
    assert stored(repository, run) == replace(changed, version=run.version + 1)
    assert repository.runs.streams(run.id) == [record]
    assert repository.runs.results(run.id) == '{"a":1}'
    assert repository.runs.lease(run.id) == lease_of(run)


def test_a_run_that_changed_meanwhile_is_not_replaced(repository: Repository) -> None:
    run = add(repository)
    assert repository.runs.replace(replace(run, priority=1), 1)
    assert not repository.runs.replace(replace(run, priority=2), 1)
    assert not repository.runs.replace(replace(run, id="never stored"), 1)
    assert stored(repository, run).priority == 1


def test_what_a_trigger_settled_never_changes(repository: Repository) -> None:
    run = add(repository)
    assert repository.runs.replace(replace(run, number=9, parameters={}, created_at=at(5), project="other"), 1)
    assert stored(repository, run) == replace(run, version=2)


def test_inv_I4_an_end_brings_status_digests_and_results_together(repository: Repository) -> None:
    run = running(repository, add(repository))
    repository.runs.put_results(run.id, 3, '{"early":true}')
    end = replace(
        ended(run, Status.FAILED, Reason.EXIT_CODE),
        exit=Exit(code=3, command="commands[0]"),
        log=Receipt(size=5, sha256="ab", complete=True, verified=True),
    )
    records = [StreamRecord(run.id, 0, 5, 1, "boot", "ab"), StreamRecord(run.id, 2, 7, 2, "boot", "cd")]
    assert not repository.runs.finish(end, records, '{"last":1}', if_version=1)
    assert stored(repository, run) == run
    assert repository.runs.streams(run.id) == []
    assert repository.runs.results(run.id) == '{"early":true}'
    assert repository.runs.finish(end, records, '{"last":1}', run.version)
    assert stored(repository, run) == replace(end, version=run.version + 1)
    assert repository.runs.streams(run.id) == records
    assert repository.runs.results(run.id) == '{"last":1}'
    assert repository.runs.lease(run.id) == replace(lease_of(run), request="")
    assert repository.runs.leased() == []


def test_inv_I6_an_end_is_final(repository: Repository) -> None:
    run = running(repository, add(repository))
    end = ended(run)
    assert repository.runs.finish(end, [], "{}", run.version)
    assert not repository.runs.finish(end, [], '{"again":1}', run.version)
    final = stored(repository, run)
    for change in (
        {"status": Status.RUNNING, "finished_at": None},
        {"status": Status.ABORTED, "reason": Reason.REQUESTED},
        {"sentence": "other"},
        {"exit": Exit(code=0)},
        {"finished_at": at(99)},
        {"accepted_at": at(99)},
        {"worker": "other"},
    ):
        with pytest.raises(IllegalTransition):
            repository.runs.replace(replace(final, **change), final.version)
    assert stored(repository, run) == final
    assert repository.runs.replace(replace(final, notes=("came late",)), final.version)


def test_only_an_end_finishes_and_only_an_assignment_is_granted(repository: Repository) -> None:
    run = add(repository)
    with pytest.raises(IllegalTransition):
        repository.runs.finish(assigned(run), [], None, run.version)
    with pytest.raises(IllegalTransition):
        repository.runs.grant(run, lease_of(run), run.version)
    assert stored(repository, run) == run


def test_an_end_without_results_keeps_those_it_has(repository: Repository) -> None:
    run = running(repository, add(repository))
    repository.runs.put_results(run.id, 1, '{"a":1}')
    assert repository.runs.finish(ended(run), [], None, run.version)
    assert repository.runs.results(run.id) == '{"a":1}'


def test_the_highest_seq_of_results_wins_while_the_run_is_live(repository: Repository) -> None:
    run = running(repository, add(repository))
    assert repository.runs.results(run.id) == "{}"
    assert repository.runs.put_results(run.id, 0, '{"n":0}')
    assert repository.runs.put_results(run.id, 5, '{"n":5}')
    assert not repository.runs.put_results(run.id, 5, '{"n":6}')
    assert not repository.runs.put_results(run.id, 4, '{"n":4}')
    assert repository.runs.results(run.id) == '{"n":5}'
    assert repository.runs.finish(ended(run), [], None, run.version)
    assert not repository.runs.put_results(run.id, 9, '{"n":9}')
    assert not repository.runs.put_results("no such run", 1, "{}")


def test_values_from_the_api_lie_over_the_workers_key_by_key(repository: Repository) -> None:
    run = running(repository, add(repository))
    assert repository.runs.set_results(run.id, {"mine": 1, "both": "api"})
    assert repository.runs.put_results(run.id, 0, '{"both":"worker","its":2.50}')
    assert msgspec.json.decode(repository.runs.results(run.id)) == {"mine": 1, "both": "api", "its": 2.5}
    assert '"its":2.50' in repository.runs.results(run.id)
    assert repository.runs.set_results(run.id, {"mine": 2})
    assert repository.runs.finish(ended(run), [], '{"its":3}', run.version)
    assert repository.runs.set_results(run.id, {"late": None})
    expected = {"mine": 2, "both": "api", "its": 3, "late": None}
    assert msgspec.json.decode(repository.runs.results(run.id)) == expected
    assert not repository.runs.set_results("no such run", {"a": 1})


def test_streams_are_noted_and_never_shrink_after_the_end(repository: Repository) -> None:
    run = running(repository, add(repository))
    size_10, size_4 = StreamRecord(run.id, 0, 10, 1, "boot", "aa"), StreamRecord(run.id, 0, 4, 2, "boot", "bb")
    notes = StreamRecord(run.id, 2, 1, 3, "boot")
    repository.runs.put_streams([notes, size_10, StreamRecord("no such run", 0, 1, 1, "boot")])
    assert repository.runs.streams(run.id) == [size_10, notes]
    repository.runs.put_streams([size_4])
    assert repository.runs.streams(run.id) == [size_4, notes]
    assert repository.runs.finish(ended(run), [size_10], None, run.version)
    repository.runs.put_streams([size_4])
    assert repository.runs.streams(run.id) == [size_10, notes]
    assert repository.runs.streams("no such run") == []


def test_pending_runs_come_oldest_first_in_pages(repository: Repository) -> None:
    runs = [add(repository, created_at=at(second)) for second in (3, 1, 2, 1)]
    granted(repository, add(repository, created_at=at(0)))
    in_order = sorted(runs, key=lambda run: (run.created_at, run.id))
    assert repository.runs.pending(None, 10) == in_order
    first = repository.runs.pending(None, 2)
    rest = repository.runs.pending(RunKey(first[-1].created_at, first[-1].id), 10)
    assert first + rest == in_order


def test_expired_runs_are_pending_ones_past_their_time(repository: Repository) -> None:
    late = add(repository, expires_at=at(10))
    later = add(repository, expires_at=at(11))
    add(repository)
    granted(repository, add(repository, expires_at=at(1)))
    assert repository.runs.expired(at(9), 10) == []
    assert repository.runs.expired(at(10), 10) == [late]
    assert repository.runs.expired(at(99), 10) == [late, later]
    assert repository.runs.expired(at(99), 1) == [late]


def test_counts_name_every_live_status(repository: Repository) -> None:
    zero = {Status.PENDING: 0, Status.ASSIGNED: 0, Status.RUNNING: 0, Status.LOST: 0}
    assert repository.runs.counts() == zero
    add(repository)
    granted(repository, add(repository))
    run = running(repository, add(repository))
    lost = running(repository, add(repository))
    gone = replace(lost, status=Status.LOST, reason=Reason.WORKER_LOST, sentence="silent")
    assert repository.runs.replace(gone, lost.version)
    assert repository.runs.finish(ended(run), [], None, run.version)
    assert repository.runs.counts() == zero | {Status.PENDING: 1, Status.ASSIGNED: 1, Status.LOST: 1}
    assert {pair[0].status for pair in repository.runs.leased()} == {Status.ASSIGNED, Status.LOST}


def test_times_keep_their_milliseconds(repository: Repository) -> None:
    run = add(repository, created_at=NOW)
    assert stored(repository, run).created_at == NOW
    assert stored(repository, run).created_at.utcoffset() is not None
