from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from appliance.model.entities import Run, Source
from appliance.model.run_state import Status
from appliance.web.pages import rows
from appliance.web.pages.me import browser_name

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_run(**fields: object) -> Run:
    run = Run("id", "p", "j", 7, Status.PENDING, {}, Source("user", user="ada", via="website"), "v", NOW)
    return msgspec.structs.replace(run, **fields)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_how_long_ago_is_said_in_one_unit(seconds: int, text: str) -> None:
    assert rows.ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_a_run_that_waits_says_what_for_and_how_long() -> None:
    row = rows.run_row(a_run(), NOW + timedelta(seconds=9), "waits for a worker: there is none yet")
    assert (row.sentence, row.queued, row.duration, row.is_live) == (
        "waits for a worker: there is none yet",
        9.0,
        None,
        True,
    )
    assert (row.href, row.source, row.via) == ("/p/p/j/7", "ada", "website")


def test_a_finished_run_shows_how_long_it_waited_and_ran() -> None:
    run = a_run(
        status=Status.FAILED,
        started_at=NOW + timedelta(seconds=3),
        finished_at=NOW + timedelta(seconds=10),
        sentence="command 1 ended with exit code 1",
    )
    row = rows.run_row(run, NOW + timedelta(days=1))
    assert (row.queued, row.duration, row.is_live) == (3.0, 7.0, False)
    assert row.sentence == "command 1 ended with exit code 1"


def test_a_clock_that_jumped_back_never_shows_a_negative_time() -> None:
    row = rows.run_row(a_run(status=Status.RUNNING, started_at=NOW), NOW - timedelta(seconds=5))
    assert (row.queued, row.duration) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1", "Safari on iOS"),
        ("something else", "something else"),
        ("", "unknown"),
    ],
)
def test_a_browser_is_named_for_people(agent: str, name: str) -> None:
    assert browser_name(agent) == name
