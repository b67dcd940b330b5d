"""The worker's disk fails at every operation: the run ends with a reason, and the worker lives (F17, F18, J07)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.model.errors import Full, Unavailable
from appliance.wire.local_runs import Identity
from appliance.worker import afterlife, processes
from appliance.worker.disk import StorageTrouble
from appliance.worker.executor import execute
from appliance.worker.journal import Journal
from tests.faults.failing_disk import FailingDisk
from tests.worker.executions import CAP, request_of, workshop

RUN = "00000000-0000-4000-8000-000000000001"
ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO}
REASONS = {"full": "disk_full", "broken": "internal_error"}
COMMANDS = ["echo begun >> $MARKER; echo '{\"n\": 1}' > $ORCHESTRA_RESULTS; echo output; exit 3"]


@contextmanager
def opened(home: Path) -> Iterator[Journal]:
    journal = Journal(home)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


def accepted(journal: Journal, marker: Path) -> None:
    journal.accept(RUN, CAP, request_of(RUN, COMMANDS, environment={"MARKER": str(marker)}), {})


def in_fork(what: Callable[[], object], disk: FailingDisk) -> int:
    """Do it in a process of its own on the failing disk; answers how many changes it made, 255 at most."""
    pid = os.fork()
    if pid == 0:
        try:
            with disk.recording(), suppress(OSError):
                what()
        finally:
            os._exit(min(disk.changes, 255))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def executed(home: Path, marker: Path, number: int, at: int, *, is_for_ever: bool) -> int:
    """Accept a run and execute it on a disk that fails at a change."""
    with opened(home) as journal:
        accepted(journal, marker)
        launch: dict[str, Any] = {
            "run": RUN,
            "directory": journal.run_directory(RUN).path,
            "secrets": None,
            "boot": processes.boot_id(),
            "base": {"PATH": os.environ["PATH"]},
            "environment": {},
        }
        return in_fork(lambda: execute(launch, 0o022), FailingDisk(home, number, at, is_for_ever=is_for_ever))


@pytest.fixture
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once, and less often."""
    monkeypatch.setattr(afterlife, "_FULL_TRIES", 2)
    monkeypatch.setattr(afterlife, "_PAUSE", 0.0)


@pytest.mark.usefixtures("is_impatient")
@pytest.mark.parametrize("is_for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("kind", ERRORS)
def test_fault_F18_a_run_ends_with_a_reason_wherever_the_disk_of_its_executor_fails(
    tmp_path: Path, kind: str, is_for_ever: bool
) -> None:
    at, ended = 0, {}
    while True:
        at += 1
        home, marker = tmp_path / f"{at}", tmp_path / f"{at}.begun"
        made = executed(home, marker, ERRORS[kind], at, is_for_ever=is_for_ever)
        with opened(home) as journal:
            found = journal.recover()
            count = len(marker.read_bytes().split()) if marker.exists() else 0
            if found.waiting:
                assert count == 0  # its executor did not come so far as to begin: another one may
                ended[at] = "waiting"
                continue
            record = journal.record(RUN)
            assert record is not None and count <= 1
            end = (record.status, record.reason)
            log = journal.read(RUN, 0, 0, 100)
            assert (len(log), journal.sizes(RUN)[0]) == (journal.sizes(RUN)[0], len(log))
            assert end == ("failed", "exit_code") or end[0] == "errored", end
            assert end[1] in {"exit_code", REASONS[kind], "executor_killed", "start_interrupted"}, (at, record)
            if end[1] == "exit_code":
                assert count == 1
            ended[at] = str(end[1])
        if made < at:
            break
    assert ended[at] == "exit_code"  # the failure came after all, and changed nothing
    assert (REASONS[kind] if not is_for_ever else "executor_killed") in ended.values()
    print(f"\n{kind}, {'for ever' if is_for_ever else 'once'}: {at - 1} operations; {sorted(set(ended.values()))}")


VERBS: dict[str, Callable[[Journal], object]] = {
    "accept": lambda journal: accepted(journal, Path("/dev/null")),
    "intend_abort": lambda journal: journal.intend_abort(RUN, 1.0),
    "end_unstarted": lambda journal: journal.end_unstarted(RUN, "aborted", "requested", "why"),
    "set_aside": lambda journal: journal.set_aside(RUN, "protocol_error", "why"),
    "commit": lambda journal: journal.commit(RUN),
    "trim": lambda journal: journal.trim(keep_seconds=-1.0),
    "forget": lambda journal: journal.forget(RUN),
    "keep": lambda journal: journal.keep(Identity(journal=journal.identity.journal, cluster="c" * 32, epoch=7)),
}
BEFORE = {
    "accept": (),
    "keep": (),
    "intend_abort": ("accept",),
    "end_unstarted": ("accept",),
    "set_aside": ("accept", "end_unstarted"),
    "commit": ("accept", "end_unstarted"),
    "trim": ("accept", "end_unstarted", "commit"),
    "forget": ("accept", "end_unstarted", "commit"),
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("verb", VERBS)
def test_fault_F18_a_verb_of_the_journal_that_fails_has_changed_nothing_or_may_be_said_again(
    tmp_path: Path, verb: str, kind: str
) -> None:
    for is_for_ever in (False, True):
        for at in range(1, 40):
            home = tmp_path / f"{is_for_ever}-{at}"
            with opened(home) as journal:
                for before in BEFORE[verb]:
                    VERBS[before](journal)
                disk = FailingDisk(home, ERRORS[kind], at, is_for_ever=is_for_ever)
                with disk.recording():
                    try:
                        VERBS[verb](journal)
                        has_failed = False
                    except (Full, Unavailable, OSError):
                        has_failed = True
                    except StorageTrouble:
                        has_failed = False  # it may be here, and is not declined
                assert [run.run for run in journal.runs()] in ([], [RUN])
                if verb == "accept" and has_failed:
                    assert journal.runs() == []  # declined, and another worker may have it now
                VERBS[verb](journal)
                is_there = journal.run(RUN)
                match verb:
                    case "accept" | "intend_abort":
                        assert is_there is not None and is_there.record is None
                    case "commit":
                        assert is_there is not None and is_there.committed
                    case "set_aside":
                        assert is_there is not None and is_there.record is not None
                        assert is_there.record.reason == "protocol_error"
                    case "trim" | "forget":
                        assert is_there is None
                    case "keep":
                        assert journal.identity.epoch == 7
            if disk.changes < at:
                break
        else:
            raise AssertionError("it never got through")


@pytest.mark.parametrize("kind", ERRORS)
def test_defect_J07_a_disk_that_takes_no_end_at_all_still_ends_the_run_for_the_server(
    tmp_path: Path, kind: str
) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["echo ready; sleep 300"])
            await shop.said(run_id, b"ready")
            disk = FailingDisk(tmp_path, ERRORS[kind], 1, is_for_ever=True)
            with disk.recording():
                os.kill(shop.executor(run_id), signal.SIGKILL)
                (_, _, sizes, record), *_ = await shop.told.wait(lambda: shop.told.all("exited", run_id))
            assert (record.status, record.reason, sizes) == ("errored", REASONS[kind], {0: 0, 2: 0})
            assert "the end of the run could not be written" in record.sentence
            assert (await shop.end(shop.launch([["echo", "next"]]))).status == "succeeded"
        async with workshop(tmp_path) as shop:  # the next worker finds the end that the disk did not take
            held = shop.journal.run(run_id)
            assert held is not None and held.record is not None and held.record.reason == "executor_killed"

    asyncio.run(scenario())
