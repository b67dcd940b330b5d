"""The list of defects names tests that there are, and leaves none out."""

from __future__ import annotations

import ast
import re

from tests.house.repository_tree import ROOT, python_files, tree

PAGE = (ROOT / "docs/reference/defects.md").read_text("utf-8")
OF_SECURITY = {17, 28}


def test_every_test_that_the_list_of_defects_names_is_there() -> None:
    there = {
        node.name
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = set(re.findall(r"`(test_[A-Za-z0-9_]+)`", PAGE))
    assert len(named) > 25
    assert named - there == set()


def test_every_path_that_the_list_of_defects_names_is_there() -> None:
    named = re.findall(r"`((?:benchmarks|tests)/[a-z0-9_/]+\.py)`", PAGE)
    assert [one for one in named if not (ROOT / one).is_file()] == []


def test_no_defect_is_left_out() -> None:
    listed = {int(found) for found in re.findall(r"^\| J(\d\d) \|", PAGE, re.MULTILINE)}
    assert listed == set(range(1, 34)) - OF_SECURITY
