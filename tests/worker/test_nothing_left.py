"""Nothing of a run is left when it has ended, by abort or by the death of its executor (F05, F27).

The tests count over all processes of the machine, by the marks that a job cannot take off without naming itself anew:
its arguments and its directory. Each is tried with control groups, as systemd delegates them, and without.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.worker import control_group, processes
from tests.worker.control_groups import made_group
from tests.worker.executions import PATIENCE, Workshop, workshop

# Each ends with a line "ready" when all of it is there. TOKEN is part of the arguments of every process.
EVIL = {
    "plain": "echo ready; sleep 300; : TOKEN",
    "setsid": "setsid sh -c 'sleep 300; : TOKEN' & echo ready; wait",
    "double fork": "(setsid sh -c 'sh -c \"sleep 300; : TOKEN\" & exit' &); echo ready; sleep 300; : TOKEN",
    "empty environment, elsewhere": "cd /; env -i setsid sh -c 'cd /; sleep 300; : TOKEN' & echo ready; sleep 300",
    "ignores SIGTERM": "trap '' TERM HUP INT; (while :; do sleep 300; done; : TOKEN) & echo ready; wait; wait; : TOKEN",
    "stopped": "setsid sh -c 'trap \"\" TERM; kill -STOP $$; : TOKEN' & echo ready; sleep 300",
    "stops itself": "trap '' TERM; echo ready; kill -STOP $$; sleep 300; : TOKEN",
    "begins others when it is to end": "trap 'setsid sh -c \"sleep 300; : TOKEN\" &' TERM; echo ready; "
    "while :; do sleep 0.05; done; : TOKEN",
    "runs away": "echo 'setsid sh away TOKEN &' > away; sh away TOKEN; echo ready; sleep 300",
}
STORM = (
    "trap '' TERM; b() { [ $(ls ../job/tmp | wc -l) -lt 500 ] || { echo ready; sleep 300; : TOKEN; }; "
    ": > ../job/tmp/$$.$1; b $1a & b $1b & wait; }; b x"
)


@pytest.fixture(params=["control groups", "no control groups"])
def group(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A control group to divide, or None."""
    if request.param == "no control groups":
        yield None
    else:
        with made_group() as path:
            yield path


def left(token: str, path: Path) -> list[str]:
    """Whoever on this machine has the token in its arguments, or works in a workspace below ``path``; no zombies."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            at = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue  # gone
        is_of_job = token.encode() in arguments or (at.startswith(f"{path}/") and "/workspace" in at)
        if is_of_job and pid != os.getpid() and processes.is_alive(pid):
            found.append(f"{pid} {arguments!r} at {at}")
    return found


Scenario = Callable[[Workshop], Coroutine[Any, Any, None]]


def run(path: Path, group: str | None, scenario: Scenario) -> None:
    """In a worker that gives each run a control group below ``group``."""

    async def in_shop() -> None:
        async with workshop(path, group=group) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


@pytest.mark.parametrize("command", EVIL.values(), ids=EVIL.keys())
def test_fault_F27_no_process_of_a_run_is_left_after_its_abort(tmp_path: Path, group: str | None, command: str) -> None:
    token = str(uuid.uuid4())

    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([command.replace("TOKEN", token)])
        await shop.said(run_id, b"ready")
        assert left(token, tmp_path) != []
        shop.supervisor.abort(run_id, 0.1)
        record = await shop.end(run_id)
        assert (record.status, record.reason) == ("aborted", "requested")
        assert left(token, tmp_path) == []

    run(tmp_path, group, scenario)


@pytest.mark.long
def test_fault_F27_no_process_of_a_storm_of_500_is_left_after_its_abort(tmp_path: Path, group: str | None) -> None:
    token = str(uuid.uuid4())

    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([STORM.replace("TOKEN", token)])
        await shop.said(run_id, b"ready")
        assert len(left(token, tmp_path)) > 250
        shop.supervisor.abort(run_id, 0.1)
        assert (await shop.end(run_id)).status == "aborted"
        assert left(token, tmp_path) == []

    run(tmp_path, group, scenario)


@pytest.mark.parametrize("group", ["control groups"], indirect=True)
@pytest.mark.parametrize("name", ["empty environment, elsewhere", "runs away"])
def test_fault_F05_what_hid_itself_is_ended_though_its_executor_died_while_no_worker_was_there(
    tmp_path: Path, group: str, name: str
) -> None:
    """Its session, its environment, its directory and its place in the tree say nothing: its control group does."""
    token = str(uuid.uuid4())

    async def scenario() -> None:
        async with workshop(tmp_path, group=group) as shop:
            run_id = shop.launch([EVIL[name].replace("TOKEN", token)])
            await shop.said(run_id, b"ready")
            executor = shop.executor(run_id)
        os.kill(executor, signal.SIGKILL)
        assert left(token, tmp_path) != []
        async with workshop(tmp_path, group=group) as shop:
            held = shop.journal.run(run_id)
            assert held is not None and held.record is not None and held.record.reason == "executor_killed"
            assert left(token, tmp_path) == []
        assert not os.path.exists(control_group.of_run(group, run_id).path)

    asyncio.run(scenario())


def test_req_X7_a_run_over_its_time_ends_though_no_worker_is_there(tmp_path: Path, group: str | None) -> None:
    token = str(uuid.uuid4())
    command = f"trap '' TERM; echo ready; while :; do sleep 300; done; : {token}"

    async def scenario() -> None:
        async with workshop(tmp_path, group=group) as shop:
            run_id = shop.launch([command], timeout=0.5, grace=0.1)
            await shop.said(run_id, b"ready")
            executor = os.pidfd_open(shop.executor(run_id))
        try:
            assert select.select([executor], [], [], PATIENCE)[0]
        finally:
            os.close(executor)
        assert left(token, tmp_path) == []
        async with workshop(tmp_path, group=group) as shop:
            held = shop.journal.run(run_id)
            assert held is not None and held.record is not None
            assert (held.record.status, held.record.reason) == ("failed", "timeout")

    asyncio.run(scenario())
