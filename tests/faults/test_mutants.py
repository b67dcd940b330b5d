"""The laboratory can fail: it catches each of the listed mutants of the product."""

from __future__ import annotations

import pytest

from tests.faults.mutants import MUTANTS, Mutant, Survived, hunt
from tests.faults.simulate import live_through
from tests.house.repository_tree import ROOT

SEEDS = 40
PAGE = ROOT / "docs/explanation/how-it-is-tested.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught_by_the_simulator(mutant: Mutant) -> None:
    seed, violation = hunt(mutant, SEEDS)
    assert violation.invariant in mutant.caught_by, f"seed {seed}: {violation}"


@pytest.mark.parametrize("favour", sorted({mutant.favour for mutant in MUTANTS}), ids=" ".join)
def test_mutant_or_not_is_what_makes_the_difference(favour: tuple[str, ...]) -> None:
    """The product itself lives through the first of the seeds that mutants are hunted with."""
    for seed in range(1, 9):
        live_through(seed, favour)


def test_mutant_that_breaks_nothing_survives() -> None:
    harmless = Mutant(name="harmless", sentence="Nothing is broken.", patches=(), caught_by=frozenset())
    with pytest.raises(Survived):
        hunt(harmless, 2)


def test_mutants_are_at_least_ten_and_all_explained() -> None:
    explained = PAGE.read_text("utf-8")
    assert len(MUTANTS) >= 10
    assert [mutant.name for mutant in MUTANTS if f"| `{mutant.name}` | {mutant.sentence} |" not in explained] == []
