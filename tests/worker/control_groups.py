"""Control groups for tests, on machines that let root make some."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.worker.control_group import Group
from tests.required import demand

_HIERARCHIES = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]


@contextmanager
def made_group() -> Iterator[str]:
    """The path of a new control group of version 2; whoever is in it or below it is ended with it."""
    found = [one for one in _HIERARCHIES if (one / "cgroup.controllers").exists() and os.access(one, os.W_OK)]
    is_missing = not found or os.geteuid() != 0
    demand("cgroup", "there are no control groups of version 2 that root may divide" if is_missing else None)
    path = found[0] / f"orchestra-tests-{uuid.uuid4()}"
    path.mkdir()
    try:
        yield str(path)
    finally:
        assert Group(str(path)).end(10.0)
        assert not path.exists()
