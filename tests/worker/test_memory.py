"""Lack of memory, as control groups tell it (F06).

Few machines that run tests have a memory controller in version 2 (small ones, and containers, often have none), so what
it says is read from files as they were recorded on one that has: ``oom_kill`` of ``memory.events``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.worker import memory, processes
from appliance.worker.journal import Journal
from tests.required import demand
from tests.worker.executions import CAP, request_of

EVENTS = "low 0\nhigh 0\nmax 412\noom 3\noom_kill 2\noom_group_kill 0\n"
V1_EVENTS = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"
V1_MEMORY = Path("/sys/fs/cgroup/memory")
SERVICE = "system.slice/system-orchestra.slice/orchestra-worker@one.service"

RECORDED: dict[str, tuple[str, Mapping[str, str], int, int | None]] = {
    "version 2": (
        f"0::/{SERVICE}\n",
        {f"{SERVICE}/memory.events": EVENTS, f"{SERVICE}/memory.max": "2147483648\n"},
        2,
        2 << 30,
    ),
    "version 2, in a leaf without the controller": (
        f"0::/{SERVICE}/worker\n",
        {
            f"{SERVICE}/worker/cgroup.procs": "",
            f"{SERVICE}/memory.events": EVENTS,
            f"{SERVICE}/memory.max": "max\n",
            "system.slice/memory.max": "1073741824\n",
        },
        2,
        1 << 30,
    ),
    "version 2, before oom_kill": (f"0::/{SERVICE}\n", {f"{SERVICE}/memory.events": "low 0\nmax 1\noom 3\n"}, 0, None),
    "version 1": (
        "9:name=systemd:/\n4:cpu,memory:/jobs\n0::/\n",
        {"memory/jobs/memory.oom_control": V1_EVENTS, "memory/jobs/memory.limit_in_bytes": "536870912\n"},
        5,
        512 << 20,
    ),
    "version 1 without a limit": (
        "4:memory:/jobs\n",
        {
            "memory/jobs/memory.oom_control": V1_EVENTS,
            "memory/jobs/memory.limit_in_bytes": "9223372036854771712\n",
        },
        5,
        None,
    ),
    "nobody counts": ("0::/\n", {}, 0, None),
    "no control groups": ("", {}, 0, None),
}


@pytest.mark.parametrize(("own", "files", "kills", "limit"), RECORDED.values(), ids=RECORDED.keys())
def test_fault_F06_oom_kill_is_read_as_machines_have_told_it(
    tmp_path: Path, own: str, files: Mapping[str, str], kills: int, limit: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert memory.oom_kills(str(tmp_path)) == kills
    assert memory.limit(str(tmp_path)) == limit


@pytest.fixture
def small() -> Iterator[Path]:
    """A control group of version 1 that gives 64 MiB."""
    is_missing = os.geteuid() != 0 or not os.access(V1_MEMORY / "memory.limit_in_bytes", os.R_OK)
    demand("cgroup-v1", "there is no memory controller of version 1 that root may use" if is_missing else None)
    own = next(
        line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line
    )
    path = V1_MEMORY / own.strip("/") / f"orchestra-tests-{uuid.uuid4()}"
    path.mkdir()
    try:
        (path / "memory.limit_in_bytes").write_text(str(64 << 20))
        yield path
    finally:
        path.rmdir()


GREEDY = [sys.executable, "-S", "-c", "x = b'x' * (200 << 20)"]


@pytest.mark.parametrize(
    "command", [GREEDY, f"{shlex.join(GREEDY)}; exit $?"], ids=["the command", "a child of its shell"]
)
def test_fault_F06_a_command_that_the_kernel_killed_for_lack_of_memory_is_named(
    tmp_path: Path, small: Path, command: str | list[str]
) -> None:
    journal = Journal(tmp_path)
    journal.open()
    try:
        run_id = str(uuid.uuid4())
        journal.accept(run_id, CAP, request_of(run_id, [command]), {})
        launch: dict[str, Any] = {
            "run": run_id,
            "directory": journal.run_directory(run_id).path,
            "secrets": None,
            "boot": processes.boot_id(),
            "base": {},
            "environment": {},
        }
        program = "import json, sys; from appliance.worker.executor import execute; execute(json.load(sys.stdin), 0o22)"
        subprocess.run(
            ["sh", "-c", f'echo $$ > {small}/cgroup.procs; exec "$@"', "-", sys.executable, "-c", program],
            input=json.dumps(launch).encode(),
            check=True,
        )
        record = journal.record(run_id)
        assert record is not None
        assert (record.status, record.reason) == ("failed", "out_of_memory")
        assert record.sentence == "command 1 was killed: out of memory (limit 0.062 GiB)"
    finally:
        journal.close()
