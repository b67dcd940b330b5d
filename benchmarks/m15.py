"""M15: installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lib import Series, tell, title

ROOT = Path(__file__).resolve().parents[1]
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")


def size(directory: Path) -> float:
    """MB of all files below."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def main(samples: int) -> bool:
    """Measure and print; there is no goal for the first release."""
    title(
        "M15",
        "installation",
        "a fresh virtual environment, `pip install` of the wheel with its dependencies as the machine's pip gets them"
        " (its cache included), then the files below the environment; pip itself is part of them",
    )
    seconds, megabytes = Series("make environment and install", "s"), Series("the environment", "MB")
    empty, wheel_size = Series("an environment with nothing but pip, for comparison", "MB"), Series("the wheel", "MB")
    clean = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }  # this checkout is not installed
    for _ in range(max(1, samples // 2)):
        with tempfile.TemporaryDirectory(prefix="install-") as home:
            place = Path(home)
            copy = shutil.copytree(ROOT, place / "checkout", ignore=_LEFT_OUT)  # a build leaves traces beside setup.py
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(copy)]
            subprocess.run(pip, check=True, capture_output=True, env=clean)
            (wheel,) = place.glob("*.whl")
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
            made = size(place / "venv")
            subprocess.run([place / "venv/bin/pip", "install", "-q", wheel], check=True, capture_output=True, env=clean)
            seconds.samples.append(time.perf_counter() - begun)
            subprocess.run([place / "venv/bin/orchestra", "--help"], check=True, capture_output=True, env=clean)
            empty.samples.append(made)
            megabytes.samples.append(size(place / "venv"))
            wheel_size.samples.append(wheel.stat().st_size / 1e6)
    tell(seconds, megabytes, empty, wheel_size)
    return True
