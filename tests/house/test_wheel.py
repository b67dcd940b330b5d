"""What a user installs holds all that the checkout has."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.repository_tree import ROOT

INSTALLED_AS = {"appliance": "appliance", "migrations": "appliance/migrations", "systemd": "appliance/systemd"}


def files(directory: Path) -> set[str]:
    """Relative paths of all files of ours below a directory."""
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


@pytest.mark.long
def test_the_wheel_holds_every_file_of_the_package_and_no_other(tmp_path: Path) -> None:
    """Built from a copy, because a build leaves its traces beside setup.py."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in INSTALLED_AS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "wheel", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob("orchestra_appliance-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "orchestra = appliance.__main__:main" in archive.read(entry_points).decode()
    expected = {f"{place}/{name}" for source, place in INSTALLED_AS.items() for name in files(ROOT / source)}
    assert held == expected
