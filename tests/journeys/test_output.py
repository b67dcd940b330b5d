"""Whatever a job prints arrives unchanged: from its pipe to the file that ``orchestra run log`` writes (F28, F30)."""

from __future__ import annotations

import filecmp
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.site import Site, is_alive, opened, wait_for_end

PRINTS = {
    "nothing": "true",
    "one-byte": "printf x",
    "a-line-of-100-MB": "head -c 100000000 /dev/zero | tr '\\0' x",
    "a-million-lines": "seq 1 1000000",
    "bytes-that-are-no-UTF-8": r"printf '\377\376\200 \303\050 \355\240\200 \364\220\200\200 \303'",
    "NUL": r"printf 'a\000b\000\000\n\000'",
    "CR-and-CRLF": r"printf 'one\rtwo\r\nthree\n\rfour\r'",
    "no-newline-at-the-end": r"printf 'one\ntwo'",
    "a-byte-order-mark": r"printf '\357\273\277text\n'",
    "escape-sequences": r"printf '\033[2J\033]0;title\007\033]52;c;eA==\007\233m\n'",
    "every-byte": r"""awk 'BEGIN { for (i = 0; i < 256; i++) printf("%c", i) }' </dev/null | head -c 300""",
    "what-looks-like-a-command-to-CI": r"printf '##vso[task.setvariable]x\n::set-output name=a::b\n::error::no\n'",
    "both-streams": "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done",
    "nothing-but-errors": "printf 'only on stderr' >&2",
}
STRAYS = {
    "a-sleep-in-the-background": ["sh", "-c", "sleep 300 & echo $! done"],
    "a-sleep-in-a-session-of-its-own": ["sh", "-c", "setsid sleep 300 & echo $! done"],
    "a-sleep-that-ignores-signals": ["sh", "-c", "(trap '' TERM HUP INT; exec sleep 300) & echo $! done"],
}
JOBS: list[dict[str, Any]] = [
    *({"identifier": name, "definition": {"commands": [script]}} for name, script in PRINTS.items()),
    *({"identifier": name, "definition": {"commands": [command]}} for name, command in STRAYS.items()),
]
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": JOBS}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker()
        yield site


@pytest.mark.parametrize("name", PRINTS)
def test_fault_F30_output_arrives_as_it_was_printed(site: Site, tmp_path: Path, name: str) -> None:
    by_hand, arrived = tmp_path / "by-hand", tmp_path / "arrived"
    with by_hand.open("wb") as file:
        subprocess.run(["/bin/sh", "-c", PRINTS[name]], stdout=file, stderr=subprocess.STDOUT, check=True)
    run = site.wait(site.trigger(name))
    assert run["status"] == "succeeded", run["sentence"]
    assert run["log"]["size"] == by_hand.stat().st_size
    with arrived.open("wb") as file:
        site.out("run", "log", run["id"], stdout=file)
    assert filecmp.cmp(by_hand, arrived, shallow=False)
    site.assert_healthy()


@pytest.mark.parametrize("name", STRAYS)
def test_fault_F28_a_process_that_outlives_its_command_is_ended_after_the_drain(site: Site, name: str) -> None:
    began = time.monotonic()
    run = site.wait(site.trigger(name))  # the sleep lasts longer than any test may
    print(f"{name}: ended after {time.monotonic() - began:.2f} s")
    assert run["status"] == "succeeded", run["sentence"]
    pid, word = site.log(run["id"]).split()
    assert word == b"done"
    assert not is_alive(int(pid))
    wait_for_end(int(pid))
    site.assert_healthy()
