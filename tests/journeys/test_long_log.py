"""A log of 200 MB needs no memory that grows with it: while it arrives, when it is looked at, when it is read (F29)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.site import PASSWORD, Program, Site, opened
from tests.journeys.visitor import Visitor

SIZE = 200_000_000
MOST = 64 << 20  # bytes by which a process may grow (R12)
JOBS: list[dict[str, Any]] = [
    {"identifier": "small", "definition": {"commands": [["echo", "small"]]}},
    {
        "identifier": "long",
        "parameters": [{"key": "copy"}],
        "definition": {"commands": [f'head -c {SIZE} /dev/urandom | tee "$PARAM_COPY"']},
    },
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker()
        yield site


def peak(program: Program) -> int:
    """Bytes of memory that a process has had at most."""
    text = Path(f"/proc/{program.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) << 10


def test_fault_F29_goal_R12_a_long_log_of_random_bytes_makes_no_process_grow(site: Site, tmp_path: Path) -> None:
    visitor = Visitor()
    visitor.open(f"{site.url}/login", {"user": "root", "password": PASSWORD}, "/login")

    def look(number: int, job: str) -> float:
        began = time.monotonic()
        assert visitor.open(f"{site.url}/p/journeys/{job}/{number}/log")
        return time.monotonic() - began

    assert site.wait(site.trigger("small"))["status"] == "succeeded"
    look(1, "small")
    programs = {"server": site.server, "worker": site.worker}
    before = {name: peak(program) for name, program in programs.items()}
    run = site.wait(site.trigger("long", copy=str(tmp_path / "copy")))
    assert (run["status"], run["log"]["size"], run["log"]["verified"]) == ("succeeded", SIZE, True), run["sentence"]
    print(f"first view of a log of {SIZE / 1e6:.0f} MB: {look(1, 'long') * 1000:.0f} ms; the goal is 300 ms")
    with (tmp_path / "arrived").open("wb") as file:
        site.out("run", "log", run["id"], stdout=file)
    for name in ("copy", "arrived"):
        with (tmp_path / name).open("rb") as whole:
            assert hashlib.file_digest(whole, "sha256").hexdigest() == run["log"]["sha256"]
    growth = {name: peak(program) - before[name] for name, program in programs.items()}
    print("growth: " + ", ".join(f"{name} {size / (1 << 20):.0f} MiB" for name, size in growth.items()))
    assert all(size <= MOST for size in growth.values()), growth
    site.assert_healthy()
