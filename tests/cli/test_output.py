from __future__ import annotations

import itertools
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli import output
from tests.client.conftest import Reply, Service

RUN = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"

HOSTILE = [
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    b"\x1b]52;c;aGk=\x07",
    b"\x1b[2J\x1b[H",
    b"\x1bP$q\x1b\\",
    b"\x1bc",
    b"\xc2\x9b31m",
    b"good\rbad ",
    b"a\x08\x08b",
    b"\x07\x0e\x0f\x7f\x00",
    "evil \u202eexe.txt\u2066".encode(),
    "line\u2028separator".encode(),
]


@pytest.mark.parametrize("content", HOSTILE)
def test_req_S_16_a_log_cannot_command_the_terminal(content: bytes) -> None:
    shown = output.LogEscaper().feed(content, is_last=True)
    assert not set(shown) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x2028]))
    assert "\\" in shown


def test_text_lines_and_tabs_are_shown_as_they_are() -> None:
    text = "a\tb\nnaïve 日本 👩‍💻\r\nend"
    assert output.LogEscaper().feed(text.encode(), is_last=True) == text.replace("\r\n", "\n")


def test_what_is_not_utf8_is_shown_as_its_bytes() -> None:
    assert output.LogEscaper().feed(b"a\xff\xc3", is_last=True) == "a\\xff\\xc3"


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_a_log_looks_the_same_wherever_it_is_cut(content: bytes, cuts: list[int]) -> None:
    whole = output.LogEscaper().feed(content, is_last=True)
    escaper = output.LogEscaper()
    borders = [0, *sorted(cuts), len(content)]
    pieces = [escaper.feed(content[a:b]) for a, b in itertools.pairwise(borders)]
    assert "".join(pieces) + escaper.feed(b"", is_last=True) == whole


def test_req_S_16_a_cell_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B"), [("x\n\x1b[2J\ty", True), (None, {"k": "\u202e"})])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in shown] == ["A", "x\\n\\x1b[2J\\ty", "-"]
    assert [line.split("  ")[-1] for line in shown] == ["B", "yes", '{"k": "\\u202e"}']


def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"status": "failed", "why": "", "exit code": 0, "signal": None})
    assert capsys.readouterr().out == "status     failed\nexit code  0\n"


def read_on_a_terminal(arguments: list[str]) -> bytes:
    """What a command writes when its stdout is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "appliance", *arguments], stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # how Linux says that the other side of a terminal is closed
                break
            shown += piece
        os.close(ours)
    assert process.returncode == 0
    return shown


@pytest.mark.parametrize(("more", "shown"), [([], b"\\x1b[31mred\r\n"), (["--raw"], b"\x1b[31mred\r\n")])
def test_req_S_16_on_a_terminal_a_log_is_escaped_unless_raw(service: Service, more: list[str], shown: bytes) -> None:
    run = {"id": RUN, "project": "p", "job": "j", "number": 1, "status": "succeeded"}
    log = Reply(body=b"\x1b[31mred\n", headers={"Orchestra-Log-Size": "9", "Orchestra-Log-Complete": "true"})
    service.replies = [Reply(document=run), log]
    assert read_on_a_terminal(["--url", service.url, "--token", "t", "run", "log", RUN, *more]) == shown
