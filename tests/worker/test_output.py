"""The log: exact bytes, whatever they are; the limit; the full disk."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.worker import rundir
from appliance.worker.disk import Disk
from appliance.worker.marks import read_marks
from appliance.worker.notes import Notes
from appliance.worker.output import SYNC_BYTES, Output
from appliance.worker.rundir import RunDirectory
from tests.worker.executions import Workshop, workshop

NASTY = b"\xff\xfe\x00NUL \xc3\x28 \x1b[31mred\x1b[0m one\rtwo\r\n\xef\xbb\xbfBOM\n\n no newline at the end \xe2\x82"


@pytest.mark.parametrize("chunk", [1, 7, 65_536])
def test_fault_F30_bytes_are_kept_as_they_are(tmp_path: Path, chunk: int) -> None:
    (tmp_path / "nasty").write_bytes(NASTY * 50)
    program = (
        f"import os\nwith open({str(tmp_path / 'nasty')!r}, 'rb', 0) as f:\n"
        f"  while part := f.read({chunk}): os.write(1, part)\n"
    )

    async def scenario() -> None:
        async with workshop(tmp_path / "worker") as shop:
            record, log = await shop.run([[sys.executable, "-S", "-c", program.replace("{", "{{")]])
            assert record.status == "succeeded"
            assert log == NASTY * 50

    asyncio.run(scenario())


def test_defect_J29_a_line_of_100_megabytes_arrives_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["head -c 100000000 /dev/zero | tr '\\0' x"])
            record = await shop.end(run_id)
            assert record.status == "succeeded"
            assert record.digests[0] == hashlib.sha256(b"x" * 100_000_000).hexdigest()

    asyncio.run(scenario())


def test_req_X10_a_background_child_that_holds_the_output_does_not_hang_the_run(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(["sleep 300 & echo $! > pid; echo done", "echo next"])
        record = await shop.end(run_id)
        assert (record.status, shop.log(run_id)) == ("succeeded", b"done\nnext\n")
        assert record.notes == ("1 background process was ended",)
        ended = [note["seconds"] for note in shop.notes(run_id) if note["note"] == "ended"]
        assert ended[0] < 10  # the 2 s of draining, and not the 300 s of the child
        pid = int(Path(shop.directory(run_id).path, "workspace", "pid").read_text())
        assert not Path(f"/proc/{pid}").exists()

    async def in_shop() -> None:
        async with workshop(tmp_path) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


def test_output_beyond_the_limit_keeps_head_and_tail_and_marks_the_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workshop(tmp_path) as shop:
            run_id = shop.launch(["seq -w 0 99999"], log_limit=6000)
            record = await shop.end(run_id)
            whole = b"".join(b"%05d\n" % n for n in range(100_000))
            assert shop.log(run_id) == whole[:3000] + whole[-3000:]
            cuts = [(n["offset"], n["dropped"]) for n in shop.notes(run_id) if n["note"] == "cut"]
            assert cuts == [(3000, len(whole) - 6000)]
            assert record.status == "succeeded"
            assert record.notes == (f"output over the limit: {len(whole) - 6000} bytes were cut at byte 3000",)

    asyncio.run(scenario())


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(0, 40), chunks=st.lists(st.binary(min_size=1, max_size=30), max_size=12))
def test_the_log_is_head_and_tail_of_what_was_written_for_every_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int, chunks: list[bytes]
) -> None:
    directory = RunDirectory(str(tmp_path_factory.mktemp("run")))
    cuts: list[dict[str, int]] = []
    output = Output(directory, limit, "boot", lambda note, **fields: cuts.append(fields))
    for chunk in chunks:
        output.write(chunk)
    output.finish()
    whole = b"".join(chunks)
    tail = limit // 2
    expected = whole if len(whole) <= limit else whole[: limit - tail] + whole[len(whole) - tail :]
    assert directory.read(rundir.LOG) == expected
    assert (output.size, output.digest()) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert sum(cut["dropped"] for cut in cuts) == len(whole) - len(expected)
    assert not directory.has(rundir.TAIL)


class SmallDisk(Disk):
    """A disk with so many bytes left; more can be made free."""

    def __init__(self, left: int) -> None:
        self.left = left

    def write(self, descriptor: int, content: bytes | memoryview) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, content[: self.left])
        self.left -= written
        return written


def test_fault_F17_a_full_disk_loses_output_and_says_at_which_byte(tmp_path: Path) -> None:
    disk = SmallDisk(4)
    directory = RunDirectory(str(tmp_path), disk)
    gaps: list[dict[str, int]] = []
    output = Output(directory, 1 << 20, "boot", lambda note, **fields: gaps.append({note: 1, **fields}))
    output.write(b"abcdefgh")
    output.write(b"ijkl")
    disk.left = 1000
    output.finish()
    assert directory.read(rundir.LOG) == b"abcd"
    assert output.digest() == hashlib.sha256(b"abcd").hexdigest()
    assert gaps == [{"gap": 1, "offset": 4, "dropped": 8}]
    assert output.remarks == ["the disk of the worker was full: output is incomplete from byte 4"]


def test_fault_F18_a_broken_disk_is_never_taken_for_a_full_one(tmp_path: Path) -> None:
    class Broken(Disk):
        def write(self, descriptor: int, content: bytes | memoryview) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    output = Output(RunDirectory(str(tmp_path), Broken()), 100, "boot", lambda note, **fields: None)
    with pytest.raises(OSError, match="Input/output"):
        output.write(b"x")


def test_notes_wait_for_a_full_disk_and_are_never_half_a_line(tmp_path: Path) -> None:
    disk = SmallDisk(10)
    notes = Notes(str(tmp_path / "notes"), disk)
    notes.add("remark", text="first")
    assert (tmp_path / "notes").read_bytes() == b""
    disk.left = 10_000
    notes.add("remark", text="second")
    content = (tmp_path / "notes").read_bytes()
    assert content.count(b"\n") == 2
    assert (notes.size, notes.digest()) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_mark_says_what_of_the_log_is_durable(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path))
    output = Output(directory, 1 << 30, "this-boot", lambda note, **fields: None)
    much = b"x" * SYNC_BYTES
    output.write(much)
    output.write(b"y")
    first = {"offset": len(much), "sha256": hashlib.sha256(much).hexdigest(), "boot": "this-boot"}
    assert read_marks(directory) == [first]
    assert output.sync_at is not None
    output.write(much)
    assert [mark["offset"] for mark in read_marks(directory)] == [2 * len(much) + 1, len(much)]
    with open(directory.file(rundir.MARK), "r+b") as file:
        file.seek(512)
        file.write(b"torn")
    assert read_marks(directory) == [first]
