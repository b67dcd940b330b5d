"""Lives of the master (reliability.md 5.1)."""

from __future__ import annotations

import re

from appliance.db.lineage import LOST_LIFE
from appliance.db.repository import Repository
from tests.db.values import NOW, at

FIRST, SECOND = "a" * 32, "b" * 32


def test_each_life_has_the_next_epoch_and_the_cluster_stays(repository: Repository) -> None:
    one = repository.lineage.open_epoch(FIRST, "boot", NOW)
    two = repository.lineage.open_epoch(SECOND, "boot", at(1))
    assert (one.epoch, two.epoch) == (1, 2)
    assert one.incarnation == FIRST
    assert one.cluster == two.cluster
    assert re.fullmatch("[0-9a-f]{32}", one.cluster)
    assert one.cluster != FIRST


def test_an_incarnation_says_which_life_it_was(repository: Repository) -> None:
    repository.lineage.open_epoch(FIRST, "boot", NOW)
    repository.lineage.open_epoch(SECOND, "boot", NOW)
    assert repository.lineage.epoch_of(FIRST) == 1
    assert repository.lineage.epoch_of(SECOND) == 2
    assert repository.lineage.epoch_of("c" * 32) is None


def test_fault_F24_a_lost_life_is_remembered(repository: Repository) -> None:
    repository.lineage.open_epoch(FIRST, "boot", NOW)
    for _ in range(2):
        repository.lineage.lose(SECOND)
    assert repository.lineage.epoch_of(SECOND) == LOST_LIFE
    assert repository.lineage.epoch_of(FIRST) == 1


def test_fault_F22_the_time_that_is_certain_is_the_one_that_was_stored_last(repository: Repository) -> None:
    assert repository.lineage.clock_mark() is None
    for seconds in (5, 3, 4):
        repository.lineage.put_clock_mark(at(seconds))
        assert repository.lineage.clock_mark() == at(seconds)


def test_fault_F44_whoever_writes_comes_by(repository: Repository) -> None:
    before = repository.lineage.open_epoch(FIRST, "boot", NOW)
    repository.beat()
    assert repository.lineage.open_epoch(SECOND, "boot", NOW).epoch == before.epoch + 1
