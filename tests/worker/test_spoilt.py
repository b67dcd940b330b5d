"""A job may write to its own run directory. Whatever it puts there, its run ends and the worker goes on (J07, I1)."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appliance.worker import processes, rundir
from appliance.worker.journal import Journal
from tests.worker.executions import PATIENCE, Workshop, request_of, workshop

ROOT = Path(__file__).resolve().parents[2]


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


WRITTEN = "while [ ! -s ../log ]; do sleep 0.01; done"
SPOILERS = {
    "the log becomes a directory": "rm log && mkdir log && touch log/x",
    "the log becomes a link": "rm log && ln -s /etc/hostname log",
    "the log becomes a FIFO": "rm log && mkfifo log",
    "the log becomes a file of the job": "rm log && echo forged > log",
    "the log is removed": "rm log",
    "the log is emptied": ": > log",
    "the log is written to": "echo more >> log",
    "the notes become a directory": "rm notes && mkdir notes",
    "the notes are emptied": ": > notes",
    "the lock is removed": "rm lock",
    "the lock becomes a FIFO": "rm lock && mkfifo lock",
    "the lock becomes a directory": "rm lock && mkdir lock",
    "the start is removed": "rm started.json",
    "the request is removed": "rm request.json",
    "the directory is removed": 'rm -rf "$PWD"',
    "the directory is moved": 'mv "$PWD" "$PWD.away" && touch "$PWD.away"',
    "the directory becomes a link": 'mv "$PWD" "$PWD.away" && ln -s / "$PWD"',
}


def test_defect_J07_a_job_that_spoils_our_files_ends_errored_at_once_and_begins_only_once(tmp_path: Path) -> None:
    """And not when its worker starts again: its command would go on for five minutes. All side by side."""
    begun = {name: tmp_path / f"begun-{number}" for number, name in enumerate(SPOILERS)}

    def times() -> dict[str, str]:
        return {name: file.read_text() for name, file in begun.items()}

    async def scenario(shop: Workshop) -> None:
        runs = {
            name: shop.launch(
                [f"echo once >> {begun[name]}; echo ready; {WRITTEN}; cd ..; {SPOILERS[name]}; sleep 300"]
            )
            for name, spoil in SPOILERS.items()
        }
        for name, run_id in runs.items():
            record = await shop.end(run_id)
            assert (record.status, record.reason) == ("errored", "internal_error"), name
            assert "removed or spoilt while it ran" in record.sentence, name
            assert processes.carrying(run_id) == [], name
        assert times() == dict.fromkeys(SPOILERS, "once\n")
        assert (await shop.end(shop.launch([["echo", "next"]]))).status == "succeeded"

    run(tmp_path / "worker", scenario)
    journal = Journal(tmp_path / "worker")
    journal.open()
    assert (journal.recover().waiting, times()) == ((), dict.fromkeys(SPOILERS, "once\n"))
    assert all(held.record is not None for held in journal.runs())
    assert len(list(journal.runs())) == len(SPOILERS) + 1
    journal.close()


@pytest.mark.parametrize("name", ["the log becomes a directory", "the log is removed"])
def test_inv_I3_what_a_removed_log_held_is_put_back(tmp_path: Path, name: str) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([f"echo kept; {WRITTEN}; cd ..; {SPOILERS[name]}; sleep 300"])
        await shop.end(run_id)
        assert shop.log(run_id) == b"kept\n"

    run(tmp_path, scenario)


@pytest.mark.parametrize("name", ["live.tmp", "exit.json.tmp", "mark", "started.json.tmp"])
@pytest.mark.parametrize("kind", ["mkfifo", "mkdir", "ln -s /dev/full"])
def test_defect_J07_nothing_is_written_where_a_job_put_something_else(tmp_path: Path, name: str, kind: str) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch([f"""rm -f ../{name}; {kind} ../{name}; echo '{{"a": 1}}' > $ORCHESTRA_RESULTS; exit 3"""])
        record = await shop.end(run_id)
        assert (record.status, record.code, record.value) == ("failed", 3, b'{"a":1}')

    run(tmp_path, scenario)


@pytest.mark.parametrize("removed", ["started.json", ""])
def test_inv_I2_a_run_is_not_begun_again_by_the_next_worker_when_its_job_hid_that_it_had_begun(
    tmp_path: Path, removed: str
) -> None:
    """The job removes the mark, or all of its run, and kills its executor, while no worker looks."""
    begun = tmp_path / "begun"
    told: list[str] = []

    async def first() -> None:
        async with workshop(tmp_path / "worker") as shop:
            away = f"rm -rf ../{removed or '../$ORCHESTRA_RUN'}"
            run_id = shop.launch([f"echo once >> {begun}; mkfifo go; echo ready; cat go; {away}; kill -9 $PPID"])
            await shop.said(run_id, b"ready")
            told.append(run_id)
            told.append(str(shop.executor(run_id)))

    asyncio.run(first())
    run_id, executor = told
    watched = os.pidfd_open(int(executor))
    (tmp_path / "worker" / "runs" / run_id / "workspace" / "go").write_text("on\n")
    assert select.select([watched], [], [], PATIENCE)[0]
    os.close(watched)

    async def second(shop: Workshop) -> None:
        held = shop.journal.run(run_id)
        assert held is not None and held.record is not None
        assert (held.record.status, held.record.reason) == ("errored", "internal_error")
        shop.supervisor.launch(run_id)
        assert (await shop.end(shop.launch([["true"]]))).status == "succeeded"
        assert begun.read_text() == "once\n"

    run(tmp_path / "worker", second)


def test_a_forged_acknowledgement_neither_hides_the_run_nor_deletes_it(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        for forged in ('{"at": 0}', "{}", "[", '{"at": "x"}'):
            run_id = shop.launch([f"echo '{forged}' > ../acked; exit 3"])
            assert (await shop.end(run_id)).code == 3
            held = shop.journal.run(run_id)
            assert held is not None and not held.committed
            assert shop.journal.trim(keep_seconds=-1.0, keep_bytes=0) == []

    run(tmp_path, scenario)


def test_defect_J07_a_job_that_takes_our_rights_to_its_directory_ends_with_its_own_status(tmp_path: Path) -> None:
    """By one that is bound by them, as root is only without its capabilities."""
    program = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom tests.worker.executions import workshop\n"
        "async def main():\n"
        "    async with workshop(Path(sys.argv[1])) as shop:\n"
        "        run_id = shop.launch(['echo ready; chmod 0 ..; sleep 0.01; exit 3'])\n"
        "        record = await shop.end(run_id)\n"
        "        print(record.status, record.code)\n"
        "asyncio.run(main())\n"
    )
    bound = (
        "import ctypes, os, sys\n"
        "for capability in (1, 2):\n"  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        "    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)\n"  # PR_CAPBSET_DROP; who is not root has none
        "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])\n"
    )
    words = [sys.executable, "-c", bound, program, str(tmp_path / "worker")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "failed 3\n", ended.stderr
