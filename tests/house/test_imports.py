"""Imports go down only, and each library has one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository_tree import ROOT, at, python_files, tree

# Library → the only places of the product that may import it.
HOMES = {
    "apsw": ("appliance/db/sqlite/",),
    "sqlite_utils": ("appliance/db/sqlite/", "migrations/"),
    "bottle": ("appliance/web/",),
    "jinja2": ("appliance/web/",),
    "markupsafe": ("appliance/web/",),
    "waitress": ("appliance/web/",),
    "websockets": (
        "appliance/master/",
        "appliance/worker/link.py",
        "appliance/worker/joining.py",  # a first try, before there is a link
        "appliance/worker/reasons.py",  # what a failed connection means, in words
        "appliance/client/",
    ),
    "yaml": ("appliance/project_files.py",),
    "croniter": ("appliance/model/schedules.py",),
    "click": ("appliance/cli/", "appliance/__main__.py"),
    "sqlite3": (),
}


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and top-level name of every import of a file, those inside functions too."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.lineno, node.module.partition(".")[0]))
    return found


def test_imports_go_down_only() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("library", sorted(HOMES))
def test_each_library_has_one_home(library: str) -> None:
    strays = [
        at(path, line)
        for path in python_files("appliance", "migrations", "systemd")
        for line, name in imported(path)
        if name == library and not str(path.relative_to(ROOT)).startswith(HOMES[library])
    ]
    assert strays == []


def test_every_library_the_product_imports_is_a_dependency() -> None:
    known = sys.stdlib_module_names | set(HOMES) | {"appliance", "msgspec", "__future__"}
    strangers = [
        f"{at(path, line)} {name}"
        for path in python_files("appliance", "migrations", "systemd")
        if "examples" not in path.parts
        for line, name in imported(path)
        if name not in known
    ]
    assert strangers == []


def test_a_worker_process_loads_no_database_web_or_yaml_library() -> None:
    program = (
        "import sys, pkgutil, importlib, appliance.worker as w\n"
        "for m in pkgutil.walk_packages(w.__path__, 'appliance.worker.'): importlib.import_module(m.name)\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    banned = {"apsw", "sqlite3", "sqlite_utils", "bottle", "waitress", "jinja2", "yaml", "click", "croniter"}
    assert banned & set(loaded.stdout.split()) == set()
