"""A job may write to its own run directory. Whatever it puts there, its run ends and the worker goes on (J07, I1)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appliance.worker import rundir
from appliance.worker.journal import Journal
from tests.worker.executions import Workshop, request_of, workshop


def run(directory: Path, scenario: Callable[[Workshop], Awaitable[None]]) -> None:
    async def in_shop() -> None:
        async with workshop(directory) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


FORGERIES = {
    "an empty object": "echo '{}' > exit.json",
    "no object": "echo '[]' > exit.json",
    "wrong types": """echo '{"status":"won","at":0,"sizes":[],"sha256":{},"seq":"x"}' > exit.json""",
    "a FIFO": "mkfifo exit.json",
    "an endless device": "ln -s /dev/zero exit.json",
    "a directory": "mkdir exit.json && touch exit.json/x",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_inv_I1_a_forged_exit_record_gives_way_to_the_true_one(tmp_path: Path, name: str) -> None:
    async def scenario(shop: Workshop) -> None:
        record = await shop.end(shop.launch([f"cd .. && {FORGERIES[name]}; exit 4"]))
        assert (record.status, record.code) == ("failed", 4)

    run(tmp_path, scenario)


@pytest.mark.parametrize("name", FORGERIES)
def test_fault_F05_a_forged_exit_record_of_a_killed_executor_is_set_aside(tmp_path: Path, name: str) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([f"cd .. && {FORGERIES[name]}; echo ready; sleep 300"])
        await shop.said(run_id, b"ready")
        os.kill(shop.executor(run_id), signal.SIGKILL)
        record = await shop.end(run_id)
        assert (record.status, record.reason) == ("errored", "executor_killed")
        other = shop.launch([["echo", "next"]])
        assert (await shop.end(other)).status == "succeeded"

    run(tmp_path, scenario)


def test_inv_I2_a_run_that_has_lost_its_directory_ends_and_is_not_begun_again(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([f'echo once >> {begun}; rm -rf "$(dirname "$PWD")"; exit 0'])
        end = await shop.end(run_id)
        assert (end.status, end.reason) == ("errored", "internal_error")  # no restart of the machine is made up
        assert begun.read_text() == "once\n"

    run(tmp_path / "worker", scenario)


@pytest.mark.parametrize("name", [rundir.EXIT, rundir.STARTED, rundir.REQUEST])
@pytest.mark.parametrize("content", [b"{}", b"[", b"\xff"])
def test_defect_J07_a_spoilt_run_does_not_keep_the_worker_from_starting(
    tmp_path: Path, name: str, content: bytes
) -> None:
    run_id = "00000000-0000-4000-8000-000000000007"
    journal = Journal(tmp_path)
    journal.open()
    journal.accept(run_id, "c" * 64, request_of(run_id, ["true"]), {})
    (tmp_path / "runs" / run_id / name).write_bytes(content)
    journal.close()
    again = Journal(tmp_path)
    again.open()
    again.recover()
    runs = again.runs()
    assert runs == [] or (runs[0].record is not None and runs[0].record.status == "errored")
    again.close()


def test_fault_F05_a_log_that_has_become_a_fifo_is_never_waited_for(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        record = await shop.end(shop.launch(["cd .. && rm -f log && mkfifo log; kill -9 $PPID; sleep 300"]))
        assert (record.status, record.reason) == ("errored", "executor_killed")

    run(tmp_path, scenario)
