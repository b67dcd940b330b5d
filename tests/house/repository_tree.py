"""The files of this repository, for the tests that read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("appliance", "migrations", "systemd", "benchmarks", "tests", "examples")
NOT_OURS = {"__pycache__", "build", ".venv", ".git"}


def python_files(*below: str) -> Iterator[Path]:
    """Every Python source below the named directories (default: all of ours), sorted."""
    for directory in below or CODE:
        for path in sorted((ROOT / directory).rglob("*.py")):
            if not NOT_OURS & set(path.relative_to(ROOT).parts):
                yield path
    if not below:
        yield ROOT / "setup.py"


@cache
def source(path: Path) -> str:
    """The text of a file."""
    return path.read_text("utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(source(path), str(path))


def at(path: Path, line: int) -> str:
    """Where something was found, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{line}"
