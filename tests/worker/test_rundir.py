"""The run directory: what is there after a crash at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.worker import rundir
from appliance.worker.disk import Disk
from appliance.worker.journal import Journal
from appliance.worker.rundir import Damaged, RunDirectory
from tests.worker.executions import CAP, request_of

RUN = "11111111-2222-4333-8444-555555555555"


class Crash(BaseException):
    """The machine stopped here."""


class CrashingDisk(Disk):
    """Stops at the N-th operation; a write that it stops at is half done."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.order: list[str] = []

    def _step(self, name: str) -> None:
        self.order.append(name)
        self.left -= 1
        if self.left < 0:
            raise Crash

    def write(self, descriptor: int, content: bytes | memoryview) -> int:
        try:
            self._step("write")
        except Crash:
            super().write(descriptor, content[: len(content) // 2])
            raise
        return super().write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        super().sync(descriptor)

    def rename(self, old: str, new: str) -> None:
        self._step("rename")
        super().rename(old, new)

    def sync_directory(self, path: str) -> None:
        self._step("sync_directory")
        super().sync_directory(path)


def crash_everywhere(path: Path, act: Callable[[Journal], None], check: Callable[[Journal, bool], None]) -> int:
    """Do it with a crash at each operation, then open the journal anew and check; answers how many there were."""
    for count in range(100):
        home = path / str(count)
        first = Journal(home)
        first.open()
        first.close()
        disk = CrashingDisk(count)
        journal = Journal(home, disk=disk)
        is_done = False
        try:
            journal.open()
            act(journal)
            is_done = True
        except Crash:
            pass
        journal.close()
        again = Journal(home)
        again.open()
        again.recover()
        check(again, is_done)
        again.close()
        if is_done:
            return count
    raise AssertionError("it never got through")


def test_fault_F07_a_run_is_accepted_whole_or_not_at_all(tmp_path: Path) -> None:
    request = request_of(RUN, [["true"]])

    def check(journal: Journal, is_done: bool) -> None:
        runs = journal.runs()
        assert len(runs) <= 1
        assert runs or not is_done
        if runs:
            stored = journal.run_directory(RUN).read_object(rundir.REQUEST)
            assert stored is not None and stored["request"] == request

    assert crash_everywhere(tmp_path, lambda journal: journal.accept(RUN, CAP, request, {}), check) == 5


def test_fault_F07_an_end_is_recorded_and_acknowledged_whole_or_not_at_all(tmp_path: Path) -> None:
    def act(journal: Journal) -> None:
        journal.accept(RUN, CAP, request_of(RUN, [["true"]]), {})
        assert journal.end_unstarted(RUN, "aborted", "requested", "why")
        journal.commit(RUN)

    def check(journal: Journal, is_done: bool) -> None:
        for run in journal.runs():
            assert not run.committed or run.record is not None
            assert run.record is None or (run.record.status, run.record.sentence) == ("aborted", "why")
            assert run.committed or not is_done

    crash_everywhere(tmp_path, act, check)


def test_a_file_is_durable_only_after_its_content_then_its_name(tmp_path: Path) -> None:
    disk = CrashingDisk(100)
    RunDirectory(str(tmp_path), disk).replace("f", b"content")
    assert disk.order == ["write", "sync", "rename", "sync_directory"]
    disk.order.clear()
    RunDirectory(str(tmp_path), disk).write_exit({"sentence": "s", "notes": []})
    assert disk.order == ["write", "sync", "rename", "sync_directory"]


@pytest.mark.parametrize("notes", [[], ["n" * 10_000] * 30, ["ü\U0001f600" * 300] * 20])
def test_fault_F17_an_exit_record_always_fits_its_space(tmp_path: Path, notes: list[str]) -> None:
    directory = RunDirectory(str(tmp_path))
    directory.reserve(rundir.EXIT)
    assert (tmp_path / rundir.EXIT_SPACE).stat().st_size == rundir.EXIT_LIMIT
    record: dict[str, Any] = {"status": "failed", "sentence": "é" * 100_000, "notes": notes}
    directory.write_exit(record)
    raw = (tmp_path / rundir.EXIT).read_bytes()
    assert len(raw) <= rundir.EXIT_LIMIT
    assert json.loads(raw)["status"] == "failed"


def test_liveness_is_the_lock_and_looking_at_it_does_not_take_it(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path))
    assert not directory.is_locked()
    lock = directory.lock()
    assert lock is not None
    assert directory.is_locked()
    assert directory.lock() is None
    with open(lock, "w"):
        pass
    assert not directory.is_locked()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"a": '])
def test_a_damaged_file_is_told_from_a_missing_one(tmp_path: Path, content: bytes) -> None:
    directory = RunDirectory(str(tmp_path))
    assert directory.read_object("f") is None
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(Damaged, match="damaged"):
        directory.read_object("f")
