"""The appliance's own log cannot be filled by what others make it say."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from appliance.logging_setup import LINES_A_MINUTE, set_up_logging


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging("info")
    yield stream
    root.handlers[:], root.level = before, level


def test_req_S_53_lines_of_one_kind_are_limited_and_others_are_still_said(stream: io.StringIO) -> None:
    log = logging.getLogger("flood")
    for number in range(4 * LINES_A_MINUTE):
        log.warning("worker %d spoke about a run of others", number)
    log.warning("the disk is full")
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 2 * LINES_A_MINUTE + 1  # a minute may end meanwhile
    assert any(line.endswith("left out for a minute)") for line in lines)
    assert lines[-1].endswith("the disk is full")
