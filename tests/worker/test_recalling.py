"""A committed run is taken back, durably, because the master was restored (F24)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from appliance.worker.disk import Disk
from appliance.worker.journal import Journal, Recovered
from appliance.worker.recalling import recall
from appliance.worker.rundir import Damaged, RunDirectory
from tests.worker.executions import request_of, workshop


class Watching(Disk):
    """Notes which directories were made durable, and what was in them then."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def sync_directory(self, path: str) -> None:
        self.seen.append((path, (Path(path) / "acked").exists()))
        super().sync_directory(path)


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """A journal in ``tmp_path`` with one committed run; its id."""

    async def scenario() -> str:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch([["echo", "hello"]])
            await shop.end(run_id)
            shop.journal.commit(run_id)
            return run_id

    return asyncio.run(scenario())


def test_fault_F24_a_recalled_run_is_as_if_it_had_never_been_committed(tmp_path: Path, kept: str) -> None:
    journal = Journal(tmp_path)
    journal.open()
    (before,) = journal.runs()
    assert before.committed
    assert before.committed_at > 0
    disk = Watching()
    directory = RunDirectory(journal.run_directory(kept).path, disk)
    assert recall(directory) == request_of(kept, [["echo", "hello"]])
    assert disk.seen == [(directory.path, False)]  # durable before it is told
    (after,) = journal.runs()
    assert (after.committed, after.committed_at, after.record) == (False, 0.0, before.record)
    assert journal.read(kept, 0, 0, 100) == b"hello\n"
    assert journal.trim(keep_seconds=0.0) == []  # it is the only copy again
    assert journal.recover() == Recovered(ended=(kept,))
    assert recall(directory) == request_of(kept, [["echo", "hello"]])
    journal.commit(kept)
    assert journal.runs()[0].committed
    journal.close()


@pytest.mark.parametrize("request_json", [None, "{", json.dumps({"cap": "c"}), json.dumps({"request": 3})])
def test_a_request_that_cannot_be_read_is_said_and_the_run_stays_committed(
    tmp_path: Path, kept: str, request_json: str | None
) -> None:
    journal = Journal(tmp_path)
    journal.open()
    directory = journal.run_directory(kept)
    file = Path(directory.file("request.json"))
    if request_json is None:
        file.unlink()
    else:
        file.write_text(request_json)
    with pytest.raises(Damaged):
        recall(directory)
    assert directory.has("acked")
    journal.close()
