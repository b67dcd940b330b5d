"""The list of faults names tests that there are, leaves no fault and no goal out, and says what is missing."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.repository_tree import ROOT, python_files, tree

ROWS = {
    cells[0].strip(): cells[1:]
    for line in (ROOT / "docs/reference/faults.md").read_text("utf-8").splitlines()
    if re.match(r"\| [FR]\d", line) and (cells := line.strip("|").split("|"))
}
TEST = re.compile(r"`(test_[A-Za-z0-9_]+)`")


def test_no_fault_and_no_goal_is_left_out() -> None:
    assert list(ROWS) == [f"F{number:02d}" for number in range(1, 46)] + [f"R{number}" for number in range(1, 17)]


def test_every_test_that_the_list_of_faults_names_is_there() -> None:
    there = {
        node.name
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = {name for cells in ROWS.values() for name in TEST.findall(cells[-1])}
    assert len(named) > 100
    assert named - there == set()


def test_every_program_that_the_list_of_faults_names_is_there() -> None:
    named = {name for cells in ROWS.values() for name in re.findall(r"`(benchmarks/[a-z0-9_]+\.py)`", cells[-1])}
    assert [one for one in named if not (ROOT / one).is_file()] == []


@pytest.mark.parametrize("fault", ROWS)
def test_every_fault_has_a_test_or_says_that_it_has_none_yet(fault: str) -> None:
    proof = ROWS[fault][-1]
    assert TEST.search(proof) or proof.strip().startswith("not yet")
