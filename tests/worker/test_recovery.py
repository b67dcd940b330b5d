"""Kills of executor, worker and starter; the launch gate; another boot (F03, F05, F07, I2)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.worker import gate, processes, rundir
from appliance.worker.journal import Journal, Recovered
from appliance.worker.marks import Marks
from tests.worker.executions import CAP, PATIENCE, Workshop, request_of, workshop

RUN = "11111111-2222-4333-8444-555555555555"
READY = ["mkfifo go; echo $$; echo ready; cat go; exit 7"]


def let_go(shop: Workshop, run_id: str) -> None:
    """Let a run of READY end."""
    Path(shop.directory(run_id).path, "workspace", "go").write_text("on\n")


def run(path: Path, scenario: Any) -> None:
    """Run the scenario in a worker."""

    async def in_shop() -> None:
        async with workshop(path) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


def test_defect_J06_a_run_is_adopted_by_the_next_worker_and_keeps_its_own_result(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(READY)
            await shop.said(run_id, b"ready")
            executor, starter = shop.executor(run_id), shop.supervisor.starter_pid
        assert starter is not None and not processes.is_alive(starter)
        assert processes.is_alive(executor)
        journal = Journal(tmp_path)
        journal.open()
        recovered = journal.recover()
        journal.close()
        assert recovered == Recovered(running=(run_id,))
        async with workshop(tmp_path) as shop:
            assert shop.executor(run_id) == executor
            assert shop.supervisor.live == {run_id}
            let_go(shop, run_id)
            record = await shop.end(run_id)
            assert (record.status, record.code) == ("failed", 7)
            assert shop.log(run_id).endswith(b"ready\non\n")
            assert shop.log(run_id).count(b"ready") == 1

    asyncio.run(scenario())


def test_fault_F03_a_worker_killed_with_signal_9_loses_no_run_and_executes_none_twice(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom tests.worker.executions import workshop\n"
        "async def main():\n"
        "    async with workshop(Path(sys.argv[1])) as shop:\n"
        f"        run_id = shop.launch({READY!r})\n"
        "        await shop.said(run_id, b'ready')\n"
        "        print(run_id, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).resolve().parents[2]
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    run_id = worker.stdout.readline().strip()
    worker.kill()
    worker.wait()
    worker.stdout.close()

    async def scenario(shop: Workshop) -> None:
        let_go(shop, run_id)
        assert (await shop.end(run_id)).code == 7
        assert shop.log(run_id).count(b"ready") == 1

    run(tmp_path, scenario)


def test_a_killed_starter_is_replaced_and_its_runs_go_on(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(READY)
        await shop.said(run_id, b"ready")
        starter = shop.supervisor.starter_pid
        assert starter is not None
        os.kill(starter, signal.SIGKILL)
        other = shop.launch([["echo", "by the next one"]])  # asked of a dead process, or of none
        assert (await shop.end(other)).status == "succeeded"
        assert shop.supervisor.starter_pid not in (None, starter)
        let_go(shop, run_id)
        assert (await shop.end(run_id)).code == 7

    run(tmp_path, scenario)


def test_fault_F05_a_killed_executor_takes_its_commands_along_and_the_run_ends_at_once(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(["sleep 300 & setsid sleep 300 & echo ready; sleep 300"], teardown=["echo never"])
        await shop.said(run_id, b"ready")
        executor = shop.executor(run_id)
        tree = processes.descendants(executor)
        os.kill(executor, signal.SIGKILL)
        record = await shop.end(run_id)
        assert (record.status, record.reason, record.command) == ("errored", "executor_killed", "commands[0]")
        assert record.sentence.startswith("the executor was killed; output until ")
        assert record.notes == ("teardown commands could not run",)
        assert shop.log(run_id) == b"ready\n"
        assert [pid for pid in tree if processes.is_alive(pid)] == []

    run(tmp_path, scenario)


def test_fault_F05_a_command_dies_with_its_executor_even_when_no_worker_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["echo ready; exec sleep 300"])
            await shop.said(run_id, b"ready")
            executor = shop.executor(run_id)
        (command,) = processes.descendants(executor)
        watched = os.pidfd_open(command)
        os.kill(executor, signal.SIGKILL)
        assert select.select([watched], [], [], PATIENCE)[0]
        os.close(watched)
        journal = Journal(tmp_path)
        journal.open()
        assert journal.recover() == Recovered(ended=(run_id,))
        journal.close()

    asyncio.run(scenario())


def test_inv_I2_kills_at_random_never_execute_a_run_twice(tmp_path: Path) -> None:
    dice = random.Random(5)
    counts = tmp_path / "counts"
    counts.mkdir()

    async def scenario(shop: Workshop) -> None:
        loop = asyncio.get_running_loop()

        def kill(run_id: str) -> None:
            found = shop.directory(run_id).executor()
            if found is not None and processes.start_time(found[0]) == found[1]:
                os.kill(found[0], signal.SIGKILL)

        for number in range(40):
            run_id = shop.launch([f"echo x >> {counts / str(number)}; exit 3"])
            loop.call_later(dice.random() * 0.02, kill, run_id)
            record = await shop.end(run_id)
            count = len((counts / str(number)).read_bytes().split()) if (counts / str(number)).exists() else 0
            assert count <= 1
            if record.status == "failed":
                assert count == 1
            else:
                assert record.reason in {"executor_killed", "start_interrupted"}

    run(tmp_path / "worker", scenario)


def test_inv_I2_two_executors_of_one_run_start_it_once(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        marker = tmp_path / "count"
        for _ in range(10):
            run_id = shop.accept([f"echo x >> {marker}"])
            live = shop.supervisor._add(run_id)
            for _ in range(3):
                shop.supervisor._ask_for_executor(run_id, live)
            assert (await shop.end(run_id)).status == "succeeded"
        assert marker.read_bytes() == b"x\n" * 10

    run(tmp_path / "worker", scenario)


def test_fault_F07_a_second_name_that_a_power_loss_left_of_a_gate_that_never_opened_stops_nobody(
    tmp_path: Path,
) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.accept(["echo once"])
        directory = shop.directory(run_id)
        gate.note_begun(directory, directory.path, {"boot": "before"})
        # No call was durable yet, and the file system kept one name of three.
        Path(gate.mark_of(directory.path)).unlink()
        Path(directory.file(rundir.STARTED)).unlink()
        assert not shop.journal.has_begun(run_id)
        shop.supervisor.launch(run_id)
        record = await shop.end(run_id)
        assert (record.status, record.sentence) == ("succeeded", "")

    run(tmp_path, scenario)


def test_the_gate_stays_shut_when_the_executor_dies_before_it_opens(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    program = (
        "import os, signal, sys\nfrom appliance.worker import command\n"
        "child = command.fork(['touch', sys.argv[1]], dict(os.environ), '/', 0o22)\n"
        "print(child.pid, flush=True)\nsys.stdin.read()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    executor = subprocess.Popen(
        [sys.executable, "-c", program, str(marker)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert executor.stdout is not None and executor.stdin is not None
    child = os.pidfd_open(int(executor.stdout.readline()))
    executor.stdin.close()
    assert executor.wait() == -signal.SIGKILL
    executor.stdout.close()
    assert select.select([child], [], [], PATIENCE)[0]
    os.close(child)
    assert not marker.exists()


def crashed(path: Path, *, boot: str, notes: bytes, log: bytes, mark: dict[str, Any] | None = None) -> Journal:
    """A journal with a run that was started and has neither executor nor end."""
    journal = Journal(path, boot_id="this-boot")
    journal.open()
    journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {"ORCHESTRA_TOKEN": "t"})
    directory = journal.run_directory(RUN)
    directory.replace_object(rundir.STARTED, {"format": 1, "boot": boot, "at": 12.5})
    directory.replace(rundir.NOTES, notes)
    directory.replace(rundir.LOG, log)
    if mark is not None:
        Marks(directory).add(mark["offset"], mark["sha256"], mark["boot"])
    return journal


BEGAN = json.dumps({"note": "began", "phase": "commands", "index": 0}).encode() + b"\n"


def test_a_start_without_a_command_is_interrupted_and_never_launched_again(tmp_path: Path) -> None:
    journal = crashed(tmp_path, boot="this-boot", notes=b"", log=b"")
    assert journal.recover() == Recovered(ended=(RUN,))
    record = journal.record(RUN)
    assert record is not None
    assert (record.status, record.reason, record.started_at) == ("errored", "start_interrupted", 12.5)
    assert journal.secrets_file(RUN) is None


def test_fault_F07_after_another_boot_the_log_is_cut_to_its_mark(tmp_path: Path) -> None:
    mark = {"offset": 4, "sha256": rundir.sha256(b"keep"), "boot": "old-boot"}
    journal = crashed(tmp_path, boot="old-boot", notes=BEGAN + b'{"note": "en', log=b"keep\0\0\0\0", mark=mark)
    assert journal.recover() == Recovered(ended=(RUN,))
    record = journal.record(RUN)
    assert record is not None
    assert (record.status, record.reason, record.command) == ("errored", "worker_host_restarted", "commands[0]")
    assert journal.read(RUN, 0, 0, 100) == b"keep"
    assert journal.read(RUN, 2, 0, 100) == BEGAN
    assert journal.sizes(RUN) == {0: 4, 2: len(BEGAN)}
    assert record.digests == {0: rundir.sha256(b"keep"), 2: rundir.sha256(BEGAN)}


@pytest.mark.parametrize(
    "mark",
    [
        None,
        {"offset": 4, "sha256": rundir.sha256(b"else"), "boot": "old-boot"},
        {"offset": 4, "sha256": rundir.sha256(b"keep"), "boot": "an older run of ours"},
        {"offset": 9, "sha256": rundir.sha256(b"keep....."), "boot": "old-boot"},
    ],
)
def test_fault_F07_a_mark_that_does_not_fit_keeps_no_byte(tmp_path: Path, mark: dict[str, Any] | None) -> None:
    journal = crashed(tmp_path, boot="old-boot", notes=BEGAN, log=b"keep....", mark=mark)
    journal.recover()
    assert journal.read(RUN, 0, 0, 100) == b""


def test_after_a_reboot_a_run_that_never_began_waits_for_its_secrets(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.accept(["echo $ORCHESTRA_TOKEN"], secrets={"ORCHESTRA_TOKEN": "lost"})
            secrets = shop.journal.secrets_file(run_id)
            assert secrets is not None
        secrets.unlink()
        async with workshop(tmp_path) as shop:
            found = shop.journal.run(run_id)
            assert found is not None and found.needs_secrets
            assert shop.supervisor.live == frozenset()
            shop.journal.give_secrets(run_id, {"ORCHESTRA_TOKEN": "again"})
            shop.supervisor.launch(run_id)
            assert (await shop.end(run_id)).status == "succeeded"
            assert shop.log(run_id) == b"again\n"

    asyncio.run(scenario())


def test_defect_J07_a_run_whose_executor_cannot_start_ends_alone(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        other = shop.launch(READY)
        await shop.said(other, b"ready")
        run_id = shop.accept([["true"]])
        live = shop.supervisor._add(run_id)
        live.launches = 5  # as after five executors that died before their start
        live.launched_at = time.monotonic()
        record = await shop.end(run_id)
        assert (record.status, record.reason) == ("errored", "start_failed")
        let_go(shop, other)
        assert (await shop.end(other)).code == 7

    run(tmp_path, scenario)


HIDDEN = "env -i setsid sh -c 'echo hidden; sleep 300' & until [ -s ../log ]; do sleep 0.01; done; "


def test_fault_F05_a_process_that_hid_itself_ends_with_its_executor(tmp_path: Path) -> None:
    """It has no environment and a session of its own, so only its place in the tree says whose it was."""

    async def scenario(shop: Workshop) -> None:
        other = shop.launch(READY)
        await shop.said(other, b"ready")
        run_id = shop.launch([HIDDEN + "echo ready; sleep 300"])
        await shop.said(run_id, b"ready")
        tree = processes.descendants(shop.executor(run_id))
        assert len(tree) >= 3
        os.kill(shop.executor(run_id), signal.SIGKILL)
        assert (await shop.end(run_id)).reason == "executor_killed"
        assert [pid for pid in tree if processes.is_alive(pid)] == []
        let_go(shop, other)  # the executor beside it is no stray
        assert (await shop.end(other)).code == 7

    run(tmp_path, scenario)


def test_fault_F05_what_a_killed_executor_left_is_found_by_its_session_when_no_worker_was_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            command = "env -i sh -c 'echo hidden; sleep 300' & until [ -s ../log ]; do sleep 0.01; done; "
            run_id = shop.launch([command + "echo ready; sleep 300"])
            await shop.said(run_id, b"ready")
            executor = shop.executor(run_id)
            tree = processes.descendants(executor)
        os.kill(executor, signal.SIGKILL)
        async with workshop(tmp_path) as shop:
            held = shop.journal.run(run_id)
            assert held is not None and held.record is not None and held.record.reason == "executor_killed"
            assert [pid for pid in tree if processes.is_alive(pid)] == []

    asyncio.run(scenario())


def test_a_session_whose_number_was_given_out_again_is_left_alone() -> None:
    """What began before the run, or carries another run's id, is not the run's."""
    for environment, since in (({processes.COOKIE: "another"}, 0), ({}, 1 << 62)):
        stranger = subprocess.Popen(
            ["sh", "-c", "echo ready; read word"],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert stranger.stdout is not None and stranger.stdout.readline() == b"ready\n"
            assert processes.kill_sessions({stranger.pid}, since, RUN) == 0
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.communicate()
