"""Ending runs: the whole tree, the first durable fact, and the answers (F27, F42, X6)."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from appliance.worker import processes
from tests.worker.executions import Workshop, workshop

ESCAPES = {
    "setsid": "setsid sleep 300 & echo ready; wait",
    "double fork": "(setsid sh -c 'sleep 300 & sleep 300' &) ; echo ready; sleep 300",
    "orphan with closed output": "(setsid sh -c 'exec >/dev/null 2>&1; sleep 300' &) ; echo ready; sleep 300",
    "ignores SIGTERM": "trap '' TERM; echo ready; while :; do sleep 300; done",
    "all ignore SIGTERM": "trap '' TERM; (sleep 300 & sleep 300) & echo ready; while :; do sleep 300; done",
    "nohup": "nohup sleep 300 >/dev/null 2>&1 & echo ready; sleep 300",
    "stopped": "sleep 300 & kill -STOP $!; echo ready; sleep 300",
    "empty environment": "env -i setsid sleep 300 & echo ready; sleep 300",
}


def run(path: Path, scenario: object) -> None:
    """Run the scenario in a worker."""

    async def in_shop() -> None:
        async with workshop(path) as shop:
            await scenario(shop)  # type: ignore[operator]  # every scenario is an async function of the workshop

    asyncio.run(in_shop())


@pytest.mark.parametrize("command", ESCAPES.values(), ids=ESCAPES.keys())
def test_fault_F27_nothing_of_a_run_survives_its_abort(tmp_path: Path, command: str) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([command])
        await shop.said(run_id, b"ready")
        executor = shop.executor(run_id)
        tree = processes.descendants(executor)
        assert tree
        shop.supervisor.abort(run_id, 0.3)
        record = await shop.end(run_id)
        assert (record.status, record.reason) == ("aborted", "requested")
        assert [pid for pid in tree if processes.is_alive(pid)] == []
        assert processes.carrying(run_id) == []

    run(tmp_path, scenario)


def test_fault_F27_a_fork_bomb_ends(tmp_path: Path) -> None:
    bomb = (
        "trap '' TERM; b() { [ $(ls ../job/tmp | wc -l) -lt 200 ] || { echo ready; sleep 300; }; "
        ": > ../job/tmp/$$.$1; b $1a & b $1b & wait; }; b x"
    )

    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([bomb])
        await shop.said(run_id, b"ready")
        shop.supervisor.abort(run_id, 0.1)
        assert (await shop.end(run_id)).status == "aborted"
        assert processes.carrying(run_id) == []

    run(tmp_path, scenario)


def test_req_X6_an_abort_runs_the_teardown_and_keeps_the_results(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        commands = ["echo '{\"half\": true}' > $ORCHESTRA_RESULTS; echo ready; sleep 300", "echo never"]
        run_id = shop.launch(commands, teardown=["echo down"])
        await shop.said(run_id, b"ready")
        shop.supervisor.abort(run_id, 30.0)
        record = await shop.end(run_id)
        assert (record.status, record.sentence) == ("aborted", "aborted while command 1 was running")
        assert (record.signal, record.value) == ("SIGTERM", b'{"half":true}')
        assert shop.log(run_id) == b"ready\ndown\n"

    run(tmp_path, scenario)


def test_the_grace_is_said_when_it_was_needed(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(["trap '' TERM; echo ready; while :; do sleep 1; done"])
        await shop.said(run_id, b"ready")
        shop.supervisor.abort(run_id, 0.2)
        record = await shop.end(run_id)
        assert record.sentence == "aborted while command 1 was running; killed when the grace was over"

    run(tmp_path, scenario)


def test_an_abort_before_the_start_starts_nothing(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        marker = tmp_path / "ran"
        waiting = shop.accept([["touch", str(marker)]], teardown=[["touch", str(marker)]])
        shop.supervisor.abort(waiting, 1.0)
        record = await shop.end(waiting)
        assert (record.status, record.started_at) == ("aborted", None)
        shop.supervisor.launch(waiting)
        intended = shop.accept([["touch", str(marker)]], teardown=[["touch", str(marker)]])
        assert shop.journal.intend_abort(intended, 1.0)
        shop.supervisor.launch(intended)
        record = await shop.end(intended)
        assert (record.status, record.sentence) == ("aborted", "aborted before command 1 began")
        assert not marker.exists()

    run(tmp_path, scenario)


def test_an_abort_during_the_teardown_ends_it_and_a_failure_before_it_stands(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        for command, status in (("exit 3", "failed"), ("exit 0", "aborted")):
            run_id = shop.launch([command], teardown=["echo ready; sleep 300", "echo never"])
            await shop.said(run_id, b"ready")
            shop.supervisor.abort(run_id, 5.0)
            assert (await shop.end(run_id)).status == status
            assert shop.log(run_id) == b"ready\n"

    run(tmp_path, scenario)


def test_a_signal_from_somebody_else_aborts_nothing(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(["mkfifo go; echo ready; cat go"])
        await shop.said(run_id, b"ready")
        os.kill(shop.executor(run_id), 15)
        os.kill(shop.executor(run_id), 1)
        Path(shop.directory(run_id).path, "workspace", "go").write_text("on\n")
        assert (await shop.end(run_id)).status == "succeeded"

    run(tmp_path, scenario)


def test_fault_F42_an_abort_that_races_with_the_end_has_one_outcome(tmp_path: Path) -> None:
    dice = random.Random(42)

    async def scenario(shop: Workshop) -> None:
        loop = asyncio.get_running_loop()
        run_ids = []
        for _ in range(40):
            run_id = shop.launch(["exit 3"])
            loop.call_later(dice.random() * 0.05, shop.supervisor.abort, run_id, 1.0)
            run_ids.append(run_id)
            await shop.end(run_id)
        for run_id in run_ids:
            record = await shop.end(run_id)
            assert (record.status, record.reason) in {("failed", "exit_code"), ("aborted", "requested")}
            last = [note for note in shop.notes(run_id) if note["note"] == "ended"][-1:]
            if record.status == "failed":
                assert last[0]["code"] == 3

    run(tmp_path, scenario)
