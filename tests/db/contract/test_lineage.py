"""Lives of the master (reliability.md 5.1)."""

from __future__ import annotations

import re

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


def test_a_pair_is_known_only_as_it_was_issued(repository: Repository) -> None:
    repository.lineage.open_epoch(FIRST, "boot", NOW)
    repository.lineage.open_epoch(SECOND, "boot", NOW)
    assert repository.lineage.knows(1, FIRST)
    assert repository.lineage.knows(2, SECOND)
    assert not repository.lineage.knows(1, SECOND)
    assert not repository.lineage.knows(3, SECOND)
    assert not repository.lineage.knows(0, FIRST)


def test_fault_F22_the_time_that_is_certain_is_the_one_that_was_stored_last(repository: Repository) -> None:
    assert repository.lineage.clock_mark() is None
    for seconds in (5, 3, 4):
        repository.lineage.put_clock_mark(at(seconds))
        assert repository.lineage.clock_mark() == at(seconds)
