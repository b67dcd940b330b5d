"""What a test needs from the machine: skipped with its reason where that is missing, failed where it is required.

``ORCHESTRA_REQUIRE`` names what must be there, with commas between: browser, axe, nu, netns, tmpfs, openssl,
setpriv, systemd, cgroup (version 2), cgroup-v1 (with its memory controller).
``ORCHESTRA_CHECKERS`` is the directory with ``axe.min.js`` and ``vnu.jar`` that ``.ci/fetch-checkers`` makes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def demand(name: str, missing: str | None) -> None:
    """``missing``: why it is not there, ``None`` if it is."""
    if missing is None:
        return
    if name in os.environ.get("ORCHESTRA_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required, and {missing}")
    pytest.skip(f"{name}: {missing}")


def checker(name: str, file: str) -> Path:
    """A file of the checkers' directory."""
    place = Path(os.environ.get("ORCHESTRA_CHECKERS", "")) / file
    is_there = "ORCHESTRA_CHECKERS" in os.environ and place.is_file()
    demand(name, None if is_there else f"{file} is not there: .ci/fetch-checkers DIR, then ORCHESTRA_CHECKERS=DIR")
    return place
