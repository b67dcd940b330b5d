"""Tests are sentences, carry known ids, wait for events, and can fail."""

from __future__ import annotations

import ast
import re

from tests.house.repository_tree import ROOT, at, python_files, tree
from tests.house.test_sources import calls

# Numbered things that tests prove: S- requirements and S goals, invariants, faults, defects, decisions of the product.
KNOWN_ID = re.compile(
    r"test_(req_(S_\d\d_)+|req_([A-Z]\d\d?_)+|inv_(I\d\d?_)+|fault_(F\d\d_)+|goal_[SMR]\d\d?_|defect_(J\d\d_)+)[a-z0-9]"
)
ID_LIKE = re.compile(r"test_(req|inv|fault|goal|defect)(_|$)")


def test_the_id_in_a_tests_name_has_a_known_form() -> None:
    odd = [
        f"{at(path, node.lineno)} {node.name}"
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and ID_LIKE.match(node.name)
        and not KNOWN_ID.match(node.name)
    ]
    assert odd == []


def test_no_test_sleeps() -> None:
    sleeping = [
        at(path, node.lineno)
        for path in python_files("tests")
        for node, name in calls(path)
        if name in {"time.sleep", "sleep", "asyncio.sleep"} and not yields_only(node)
    ]
    assert sleeping == [], "wait for the event instead"


def yields_only(call: ast.Call) -> bool:
    """``asyncio.sleep(0)`` lets others run and waits for nothing."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def test_nothing_is_mocked() -> None:
    mocking = [
        at(path, node.lineno)
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest.mock"))
        or (
            isinstance(node, ast.Import)
            and any(alias.name.startswith(("unittest.mock", "mock")) for alias in node.names)
        )
    ]
    assert mocking == []


def test_no_skip_is_unconditional() -> None:
    skips = [
        at(path, decorator.lineno)
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for decorator in node.decorator_list
        if re.search(r"mark\.(skip|xfail)\b", ast.unparse(decorator))
    ]
    assert skips == []


def test_tests_mirror_the_tree() -> None:
    """A folder of tests is named for a folder of the product, or is one of the few that cut across it."""
    across = {"house", "journeys", "faults", "browser", "benchmarks"}
    folders = {path.parent.relative_to(ROOT / "tests") for path in python_files("tests")}
    strays = [
        str(folder)
        for folder in folders
        if folder.parts
        and folder.parts[0] not in across
        and not (ROOT / "appliance" / folder).is_dir()
        and folder.parts != ("db", "contract")
        and not (ROOT / folder).is_dir()
    ]
    assert strays == []
