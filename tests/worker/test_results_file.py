"""The job's results file may be anything (F38), and counts from the moment it is good."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from appliance.wire import messages as m
from appliance.worker.results_file import LIMIT, BadResults, ResultsFile
from tests.worker.executions import Workshop, workshop


def write(content: bytes) -> Callable[[Path], None]:
    """Makes a file with this content."""

    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def sparse(path: Path) -> None:
    """A gigabyte that takes no space."""
    with path.open("wb") as file:
        file.truncate(1 << 30)


def link(path: Path) -> None:
    """A link to something that would be good."""
    (path.parent / "secret").write_text("{}")
    path.symlink_to("secret")


def nested(levels: int) -> bytes:
    """An object with so many levels, itself included."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "not JSON": (write(b"tests: 3\n"), "not JSON"),
    "empty": (write(b" "), "not JSON"),
    "half written": (write(b'{"a": 1, "b"'), "not JSON"),
    "a list": (write(b"[1]"), "it is not a JSON object"),
    "a text": (write(b'"x"'), "it is not a JSON object"),
    "one gigabyte": (sparse, f"it has {1 << 30} bytes, and {LIMIT} are allowed"),
    "one byte too many": (write(b'{"a":"' + b"x" * LIMIT + b'"}'), "are allowed"),
    "a link": (link, "it is not a regular file"),
    "a FIFO": (lambda path: os.mkfifo(path), "it is not a regular file"),
    "a directory": (lambda path: path.mkdir(), "it is not a regular file"),
    "NaN": (write(b'{"a": NaN}'), "NaN"),
    "infinite": (write(b'{"a": 1e999}'), "too large"),
    "deep": (write(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "deeper"),
    "deeper than a message carries": (write(nested(16)), "deeper than 15"),
    "two equal keys": (write(b'{"a": 1, "a": 2}'), "twice"),
    "not UTF-8": (write(b'{"a": "\xff"}'), "UTF-8"),
    "huge integer": (write(b'{"a": ' + b"9" * 5000 + b"}"), "2^53"),
    "half a surrogate pair": (write(b'{"a": "\\ud800"}'), "surrogate"),
}


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD.keys())
def test_fault_F38_a_bad_results_file_is_refused_with_its_first_bytes(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "results.json"
    make(path)
    with pytest.raises(BadResults, match=reason.replace("^", "\\^")) as refused:
        ResultsFile(str(path)).read()
    if path.is_file() and not path.is_symlink():
        assert refused.value.text == path.open("rb").read(200).decode("utf-8", "replace")


def test_fault_F35_results_as_deep_as_they_may_be_fit_a_message(tmp_path: Path) -> None:
    """What the worker takes and the server refuses would keep the run from ending, for ever."""
    (tmp_path / "results.json").write_bytes(nested(15))
    value = ResultsFile(str(tmp_path / "results.json")).read()
    assert value is not None
    run = "00000000-0000-4000-8000-000000000001"
    told = m.Exited(id=1, run=run, status="succeeded", at=1.0, sizes={}, digests={}, seq=1, value=msgspec.Raw(value))
    heard = m.from_worker(m.encode(told))
    assert isinstance(heard, m.Exited) and bytes(heard.value) == value


def test_a_file_that_is_swapped_for_a_link_after_the_look_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    class Swapped(ResultsFile):
        def _open_and_read(self, limit: int, key: tuple[int, ...]) -> bytes:
            path.unlink()
            link(path)
            return super()._open_and_read(limit, key)

    path.write_text("{}")
    with pytest.raises(BadResults, match="it is a link"):
        Swapped(str(path)).read()


def test_a_good_file_is_read_once_per_state_and_its_values_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = ResultsFile(str(path))
    assert results.read() is None
    path.write_text(' {"z": "2026-01-31", "a": 1.50}\n')
    assert results.read() == b'{"a":1.5,"z":"2026-01-31"}'
    assert results.read() is None
    path.write_text("{}")
    assert results.read() == b"{}"


def test_defect_J32_results_are_told_while_the_run_goes_on(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        run_id = shop.launch(
            ["mkfifo go; echo '{\"step\": 1}' > $ORCHESTRA_RESULTS; cat go; echo '{' > $ORCHESTRA_RESULTS"]
        )
        await shop.told.wait(lambda: shop.told.all("results", run_id))
        assert shop.told.all("results", run_id) == [("results", run_id, 1, {"step": 1})]
        Path(shop.directory(run_id).path, "workspace", "go").write_text("")
        record = await shop.end(run_id)
        assert (record.status, record.seq, record.value) == ("succeeded", 1, b'{"step":1}')
        (note,) = [note for note in shop.notes(run_id) if note["note"] == "results_invalid"]
        assert note["text"] == "{\n"
        assert record.notes[0].startswith("results invalid: not JSON")

    async def in_shop() -> None:
        async with workshop(tmp_path) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


def test_large_results_come_as_a_stream_with_the_end(tmp_path: Path) -> None:
    async def in_shop() -> None:
        async with workshop(tmp_path) as shop:
            script = 'printf \'{"long": "%s"}\' $(head -c 300000 /dev/zero | tr "\\0" x) > $ORCHESTRA_RESULTS'
            run_id = shop.launch([script])
            record = await shop.end(run_id)
            assert (record.status, record.seq, record.value) == ("succeeded", 1, b"")
            stream = shop.journal.read(run_id, 1, 0, 1 << 20)
            assert json.loads(stream) == {"long": "x" * 300_000}
            assert shop.journal.sizes(run_id)[1] == len(stream)
            assert shop.told.all("results", run_id) == []

    asyncio.run(in_shop())
