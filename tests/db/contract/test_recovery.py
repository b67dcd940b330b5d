"""What a restored database has yet to hear from its workers (F24)."""

from __future__ import annotations

import msgspec
import pytest

from appliance.db.lineage import NUMBERS_SKIPPED
from appliance.db.repository import Repository
from appliance.model.entities import Lease, Recovery, Run
from appliance.model.run_state import IllegalTransition, Status
from tests.db.values import NOW, add, assigned, at, ended, granted, lease_of, new_run, running, stored, token, worker


def hired(repository: Repository, *names: str) -> None:
    """Workers with these names."""
    for number, name in enumerate(names):
        one = worker(name)
        assert repository.workers.add(one, token(number, "worker", worker_id=one.id))


def unknown(number: int, **changes: object) -> tuple[Run, Lease]:
    """An assigned run that no database knows, and its lease."""
    new = new_run(**changes)
    fields = {name: getattr(new, name) for name in new.__struct_fields__}
    run = assigned(Run(number=number, status=Status.PENDING, recovered=True, **fields))
    return run, lease_of(run)


def newest(repository: Repository) -> Recovery:
    found = repository.lineage.recovery()
    assert found is not None
    return found


def test_a_database_that_was_never_restored_has_no_recovery(repository: Repository) -> None:
    assert repository.lineage.recovery() is None
    assert repository.lineage.waiting_runs() == frozenset()
    assert repository.lineage.merged("nobody", NOW) is None
    assert repository.lineage.release("alice", NOW) is None
    repository.lineage.note_recovered("some run", is_recovered=False)
    assert not repository.lineage.could_not_recover("some run")


def test_fault_F24_a_recovery_waits_for_every_worker_and_notes_every_live_run(repository: Repository) -> None:
    hired(repository, "zoe", "adam")
    waiting = add(repository)
    given = granted(repository, add(repository))
    runs = running(repository, add(repository))
    over = granted(repository, add(repository))
    assert repository.runs.finish(ended(over), [], None, over.version)
    begun = repository.lineage.begin_recovery(NOW, at(-60))
    assert begun == newest(repository)
    assert (begun.began_at, begun.backup_at) == (NOW, at(-60))
    assert [one.name for one in begun.waiting] == ["adam", "zoe"]
    assert begun.is_open
    assert begun.ended_at is None
    assert repository.lineage.waiting_runs() == {waiting.id, given.id, runs.id}


def test_fault_F24_numbers_go_on_far_beyond_those_of_the_backup(repository: Repository) -> None:
    before = add(repository)
    repository.lineage.begin_recovery(NOW)
    assert add(repository).number == before.number + NUMBERS_SKIPPED + 1
    assert add(repository, job="new").number == 1


def test_beginning_twice_is_beginning_once_until_a_worker_has_merged(repository: Repository) -> None:
    hired(repository, "adam", "zoe")
    add(repository)
    first = repository.lineage.begin_recovery(NOW)
    assert repository.lineage.begin_recovery(at(5)) == first
    assert add(repository).number == NUMBERS_SKIPPED + 2
    repository.lineage.merged("id of adam", at(7))
    another = repository.lineage.begin_recovery(at(8))
    assert another.number == first.number + 1
    assert len(another.waiting) == 2
    assert add(repository).number == 2 * NUMBERS_SKIPPED + 3


def test_fault_F24_a_backup_of_a_recovery_that_is_restored_begins_another(repository: Repository) -> None:
    hired(repository, "adam")
    repository.lineage.begin_recovery(NOW, at(-60))
    since = add(repository)  # its run may have been executed after this backup, which does not know that
    again = repository.lineage.begin_recovery(at(5), at(4))
    assert (again.number, again.backup_at) == (2, at(4))
    assert repository.lineage.waiting_runs() == {since.id}
    assert add(repository).number == since.number + NUMBERS_SKIPPED + 1


def test_fault_F24_a_worker_that_came_since_makes_a_sign_another_recovery(repository: Repository) -> None:
    hired(repository, "adam")
    first = repository.lineage.begin_recovery(NOW)
    zoe = worker("zoe")
    assert repository.workers.add(zoe, token(7, "worker", worker_id=zoe.id))
    again = repository.lineage.begin_recovery(at(5))
    assert again.number == first.number + 1
    assert [one.name for one in again.waiting] == ["adam", "zoe"]


def test_fault_F24_the_first_number_of_a_new_job_is_none_that_an_unheard_worker_may_know(
    repository: Repository,
) -> None:
    hired(repository, "adam", "zoe")
    repository.lineage.begin_recovery(NOW)
    repository.lineage.merged("id of adam", at(1))
    assert add(repository, job="new").number == NUMBERS_SKIPPED + 1
    assert add(repository, job="new").number == NUMBERS_SKIPPED + 2
    repository.lineage.merged("id of zoe", at(2))
    assert add(repository, job="newer").number == 1


def test_fault_F24_it_ends_when_the_last_worker_has_merged(repository: Repository) -> None:
    hired(repository, "adam", "zoe")
    repository.lineage.begin_recovery(NOW)
    one = repository.lineage.merged("id of adam", at(1))
    assert one is not None
    assert [worker.name for worker in one.waiting] == ["zoe"]
    assert [(worker.merged_at, worker.note) for worker in one.workers if worker.name == "adam"] == [(at(1), "")]
    assert repository.lineage.merged("id of adam", at(2)) == one
    assert repository.lineage.merged("a stranger", at(2)) == one
    both = repository.lineage.merged("id of zoe", at(3))
    assert both is not None
    assert both.ended_at == at(3)
    assert not both.is_open


def test_fault_F24_a_worker_that_could_not_tell_all_leaves_the_end_to_an_operator(repository: Repository) -> None:
    hired(repository, "adam", "zoe")
    repository.lineage.begin_recovery(NOW)
    repository.lineage.merged("id of adam", at(1), "an old worker")
    both = repository.lineage.merged("id of zoe", at(2))
    assert both is not None
    assert both.waiting == ()
    assert [(worker.name, worker.note) for worker in both.less] == [("adam", "an old worker")]
    assert both.is_open
    assert both.ended_at is None
    released = repository.lineage.release("alice", at(3))
    assert released is not None
    assert not released.is_open
    assert released.ended_at == at(3)


def test_a_worker_that_is_removed_is_not_waited_for(repository: Repository) -> None:
    hired(repository, "adam", "zoe")
    repository.lineage.begin_recovery(NOW)
    repository.lineage.merged("id of adam", at(1))
    assert repository.workers.remove("id of zoe")
    assert not newest(repository).is_open


def test_a_recovery_without_workers_ends_at_once(repository: Repository) -> None:
    assert repository.lineage.begin_recovery(NOW).ended_at == NOW


def test_fault_F24_an_operator_can_release_it_and_late_workers_still_merge(repository: Repository) -> None:
    hired(repository, "adam")
    repository.lineage.begin_recovery(NOW)
    released = repository.lineage.release("alice", at(4))
    assert released is not None
    assert (released.released_by, released.released_at, released.ended_at) == ("alice", at(4), at(4))
    assert not released.is_open
    assert [one.name for one in released.waiting] == ["adam"]
    assert repository.lineage.release("bob", at(5)) is None
    late = repository.lineage.merged("id of adam", at(6))
    assert late is not None
    assert late.waiting == ()
    assert late.ended_at == at(4)


def test_each_run_counts_once_in_the_newest_recovery(repository: Repository) -> None:
    hired(repository, "adam")
    waiting = add(repository)
    repository.lineage.begin_recovery(NOW)
    repository.lineage.note_recovered("one", is_recovered=False)
    repository.lineage.note_recovered("two", is_recovered=False)
    repository.lineage.note_recovered(waiting.id, is_recovered=True)
    repository.lineage.note_recovered(waiting.id, is_recovered=True)
    assert (newest(repository).recovered, newest(repository).failed) == (1, 2)
    assert repository.lineage.could_not_recover("one")
    assert not repository.lineage.could_not_recover(waiting.id)
    repository.lineage.note_recovered("one", is_recovered=True)
    assert (newest(repository).recovered, newest(repository).failed) == (2, 1)
    assert not repository.lineage.could_not_recover("one")
    assert repository.lineage.waiting_runs() == {waiting.id}
    repository.lineage.merged("id of adam", at(1))
    repository.lineage.begin_recovery(at(2))
    assert (newest(repository).recovered, newest(repository).failed) == (0, 0)
    assert repository.lineage.could_not_recover("two")
    repository.lineage.note_recovered("two", is_recovered=True)
    assert not repository.lineage.could_not_recover("two")


def test_fault_F24_a_run_that_is_not_here_is_stored_with_its_number_and_its_lease(repository: Repository) -> None:
    first = add(repository)
    run, lease = unknown(7)
    assert repository.runs.recover(run, lease) == stored(repository, run)
    found = stored(repository, run)
    assert found == msgspec.structs.replace(run, version=1)
    assert found.recovered
    assert not first.recovered
    assert repository.runs.lease(run.id) == lease
    assert repository.runs.numbered("website", "test", 7) == found
    assert repository.runs.newest("website", "test") == found
    assert [one.id for one, _ in repository.runs.leased_to("worker-1")] == [run.id]
    assert add(repository).number == 7 + NUMBERS_SKIPPED + 1


def test_fault_F24_no_number_is_given_twice(repository: Repository) -> None:
    add(repository)
    repository.lineage.begin_recovery(NOW)
    newer = add(repository)
    low, low_lease = unknown(5)
    kept = repository.runs.recover(low, low_lease)
    assert kept is not None
    assert kept.number == 5
    assert add(repository).number == newer.number + 1
    taken, lease = unknown(newer.number)
    moved = repository.runs.recover(taken, lease)
    assert moved is not None
    assert moved.number == newer.number + 2
    assert repository.runs.numbered("website", "test", newer.number) == newer
    assert add(repository).number == newer.number + 3


def test_a_run_of_a_job_that_was_never_here_begins_its_numbers(repository: Repository) -> None:
    run, lease = unknown(3, project="gone", job="work")
    assert repository.runs.recover(run, lease) is not None
    assert add(repository, "gone", "work").number == 3 + NUMBERS_SKIPPED + 1


def test_a_run_that_is_here_is_left_alone(repository: Repository) -> None:
    here = add(repository)
    run = assigned(here)
    assert repository.runs.recover(run, lease_of(run)) is None
    assert stored(repository, here) == here
    assert repository.runs.lease(here.id) is None


def test_only_an_assigned_run_is_recovered(repository: Repository) -> None:
    run, lease = unknown(1)
    with pytest.raises(IllegalTransition):
        repository.runs.recover(msgspec.structs.replace(run, status=Status.RUNNING), lease)
    assert repository.runs.get(run.id) is None
    assert run.created_at == NOW
