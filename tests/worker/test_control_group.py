"""Control groups of runs: whether they are ours to make, and that none is left over (5.7, F05)."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.worker import control_group
from appliance.worker.control_group import Group
from tests.worker.control_groups import made_group
from tests.worker.executions import PATIENCE, workshop

RUN = "0b7a2c1e-0000-4000-8000-000000000001"


@pytest.fixture
def group() -> Iterator[str]:
    with made_group() as path:
        yield path


def divide_in(group: str) -> tuple[str, str]:
    """What a process in this group is told, and in which group it is then."""
    program = (
        "from appliance.worker.control_group import divide, _own; import sys; print(divide()); print(_own()); "
        "sys.stdout.flush()"
    )
    ran = subprocess.run(
        ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "-", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    told, own = ran.stdout.splitlines()
    return told, own


def test_a_delegated_group_is_divided_and_the_worker_sits_in_a_leaf(group: str) -> None:
    os.setxattr(group, "user.delegate", b"1")
    assert divide_in(group) == (group, f"{group}/worker")
    assert divide_in(group) == (group, f"{group}/worker")  # as the next start of the unit


@pytest.mark.parametrize("mark", [None, b"0"])
def test_a_group_that_nobody_delegated_is_left_as_it_is(group: str, mark: bytes | None) -> None:
    """Root may write to every group; and a worker that a job starts is in the group of its run."""
    if mark is not None:
        os.setxattr(group, "user.delegate", mark)
    assert divide_in(group) == ("None", group)
    assert os.listdir(group) == [name for name in os.listdir(group) if not os.path.isdir(f"{group}/{name}")]


def test_a_start_removes_groups_of_runs_that_are_over_and_no_other(group: str) -> None:
    os.setxattr(group, "user.delegate", b"1")
    over, under_way, other = f"{group}/run-1", f"{group}/run-2", f"{group}/other"
    for path in (over, f"{over}/of-the-job", under_way, other):
        os.mkdir(path)
    with subprocess.Popen(
        ["sh", "-c", f"echo $$ > {under_way}/cgroup.procs; echo in; exec sleep 300"], stdout=-1
    ) as it:
        assert it.stdout is not None and it.stdout.readline() == b"in\n"
        divide_in(group)
        assert [os.path.exists(path) for path in (over, under_way, other)] == [False, True, True]
        assert Group(under_way).pids() == [it.pid]
        assert Group(under_way).end(10.0)


@pytest.mark.parametrize(
    ("path", "is_its_own"),
    [
        (f"/sys/fs/cgroup/a/b.service/run-{RUN}", True),
        (f"/sys/fs/cgroup/unified/run-{RUN}", True),
        ("/sys/fs/cgroup/system.slice/orchestra.service", False),
        (f"/sys/fs/cgroup/run-{RUN}-2", False),
        (f"/sys/fs/cgroup/../../tmp/run-{RUN}", False),
        (f"/tmp/run-{RUN}", False),
        (f"run-{RUN}", False),
        (7, False),
        (None, False),
    ],
)
def test_what_a_job_wrote_into_its_files_names_no_group_but_its_own(path: object, is_its_own: bool) -> None:
    found = control_group.noted(path, RUN)
    assert (found is not None and found.path == path) is is_its_own
    assert found is None or is_its_own


def test_a_run_has_a_control_group_and_leaves_none_behind(tmp_path: Path, group: str) -> None:
    """Not between its commands either, when systemd clears away what is empty, nor with groups of the job's own."""
    commands = [
        "cat /proc/self/cgroup",
        f"g={group}/run-$ORCHESTRA_RUN; mkdir $g/own; sleep 300 >/dev/null 2>&1 & echo $! > $g/own/cgroup.procs",
        "mkfifo go; echo ready; cat go; cat /proc/self/cgroup",
    ]

    async def scenario() -> None:
        async with workshop(tmp_path, group=group) as shop:
            run_id = shop.launch(commands)
            path = f"{group}/run-{run_id}"
            await shop.said(run_id, b"ready")
            assert Group(path).is_populated()
            started = shop.directory(run_id).read_object("started.json")
            assert started is not None and started["cgroup"] == path
            executor = os.pidfd_open(shop.executor(run_id))
            Path(shop.directory(run_id).path, "workspace", "go").write_text("on\n")
            record = await shop.end(run_id)
            assert (record.status, record.notes) == ("succeeded", ("1 background process was ended",))
            told = [line for line in shop.log(run_id).decode().splitlines() if line.startswith("0::")]
            assert [line.endswith(f"/run-{run_id}") for line in told] == [True, True]
            assert select.select([executor], [], [], PATIENCE)[0]
            os.close(executor)
            assert not os.path.exists(path)

    asyncio.run(scenario())


def test_a_run_goes_on_without_a_control_group_where_the_system_gives_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path / "worker", group=str(tmp_path / "gone")) as shop:
            record, log = await shop.run(["echo fine"])
            assert (record.status, log) == ("succeeded", b"fine\n")

    asyncio.run(scenario())
