"""After a restore a worker that no longer knows all that it executed since is not taken for one that does (F24)."""

from __future__ import annotations

import pytest

from appliance.model.entities import Run
from appliance.recoveries import show_recovery
from tests.restored_place import Twins, newest


@pytest.fixture
def twins() -> Twins:
    return Twins()


def _told_all(twins: Twins, complete_since: float) -> Run:
    """A run that waits in the backup, and both workers that have told all they hold; one has forgotten something."""
    waiting = twins.both(lambda place: place.trigger())
    twins.place.clock.advance(3600)
    twins.place.recoveries.begin("restored", twins.place.clock.now())
    twins.place.clock.advance(86_400 * 3)
    twins.connect(twins.w1, complete_since=complete_since, at=twins.place.now_stamp()).keeps()
    twins.connect(twins.w2, at=twins.place.now_stamp()).keeps()
    return waiting


def test_fault_F24_what_a_worker_may_have_executed_and_deleted_since_is_executed_on_an_operators_word_only(
    twins: Twins,
) -> None:
    waiting = _told_all(twins, complete_since=twins.place.now_stamp() + 7200)
    assert newest(twins.place).is_open
    assert twins.place.recoveries.holds(waiting.id)
    assert "w1 may have executed it since" in twins.place.recoveries.why(waiting.id)
    assert "w1" in show_recovery(newest(twins.place))
    twins.place.recoveries.release("alice")
    assert not twins.place.recoveries.holds(waiting.id)


def test_fault_F24_a_worker_that_has_deleted_nothing_since_the_backup_releases_it(twins: Twins) -> None:
    waiting = _told_all(twins, complete_since=twins.place.now_stamp() + 1800)
    assert not newest(twins.place).is_open
    assert not twins.place.recoveries.holds(waiting.id)


def test_fault_F24_a_worker_whose_journal_is_younger_than_the_backup_leaves_it_to_an_operator(twins: Twins) -> None:
    waiting = twins.both(lambda place: place.trigger())
    twins.place.clock.advance(3600)
    twins.place.recoveries.begin("restored", twins.place.clock.now())
    twins.connect(twins.w1, journal="7" * 32).keeps()
    twins.connect(twins.w2).keeps()
    assert [(one.name, one.note) for one in newest(twins.place).less] == [
        ("w1", "its journal is younger than the backup")
    ]
    assert twins.place.recoveries.holds(waiting.id)


def test_fault_F24_a_clock_that_is_wrong_makes_no_journal_younger_than_it_is(twins: Twins) -> None:
    waiting = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("restored", twins.place.clock.now())
    twins.connect(twins.w1, at=twins.place.now_stamp() - 500).keeps()
    twins.connect(twins.w2, at=twins.place.now_stamp() + 500).keeps()
    assert newest(twins.place).ended_at is not None
    assert not twins.place.recoveries.holds(waiting.id)


def test_fault_F24_with_nothing_waiting_it_does_not_matter_what_a_worker_has_deleted(twins: Twins) -> None:
    twins.place.recoveries.begin("restored", twins.place.clock.now())
    for worker in (twins.w1, twins.w2):
        twins.connect(worker, complete_since=twins.place.now_stamp() + 500).keeps()
    assert newest(twins.place).ended_at is not None


def test_fault_F24_without_the_age_of_the_backup_only_a_worker_older_than_what_waits_releases_it(
    twins: Twins,
) -> None:
    waiting = twins.both(lambda place: place.trigger())
    twins.place.recoveries.begin("copied back by hand")
    twins.connect(twins.w1, complete_since=waiting.created_at.timestamp() + 1).keeps()
    twins.connect(twins.w2, complete_since=waiting.created_at.timestamp()).keeps()
    assert [one.name for one in newest(twins.place).less] == ["w1"]
    assert twins.place.recoveries.holds(waiting.id)
