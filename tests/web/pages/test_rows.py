from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from appliance.model.entities import Run, Source
from appliance.model.run_state import Status
from appliance.model.steps import Step
from appliance.web.pages import rows
from appliance.web.pages.me import browser_name
from appliance.web.pieces import Value

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
    row = rows.run_row(a_run(), NOW + timedelta(seconds=9))
    assert (row.sentence, row.queued, row.duration, row.is_live) == ("waits for a worker", 9.0, None, True)
    assert (row.href, row.source, row.via) == ("/p/p/j/7", "ada", "website")


def test_a_finished_run_shows_how_long_it_waited_and_ran() -> None:
    run = a_run(
        status=Status.FAILED,
        started_at=NOW + timedelta(seconds=3),
        finished_at=NOW + timedelta(seconds=10),
        sentence="commands[0] ended with exit code 1",
    )
    row = rows.run_row(run, NOW + timedelta(days=1))
    assert (row.queued, row.duration, row.is_live) == (3.0, 7.0, False)
    assert row.sentence == "command 1 ended with exit code 1"


def test_a_clock_that_jumped_back_never_shows_a_negative_time() -> None:
    row = rows.run_row(a_run(status=Status.RUNNING, started_at=NOW), NOW - timedelta(seconds=5))
    assert (row.queued, row.duration) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("value", "text", "is_block"),
    [
        ("plain", "plain", False),
        ("2026-01-31", "2026-01-31", False),
        (1, "1", False),
        (1.5, "1.5", False),
        (True, "true", False),
        (None, "null", False),
        ([], "[]", False),
        ({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}', True),
        ("two\nlines", "two\nlines", True),
        ("é" * 300, "é" * 300, True),
    ],
)
def test_any_json_is_shown_as_it_is(value: object, text: str, is_block: bool) -> None:
    assert rows.values({"key": value}) == (Value("key", text, None, is_block),)


@pytest.mark.parametrize("link", ["https://ci.example.org/a?b=c#d", "http://host", "HTTPS://HOST/x"])
def test_defect_J40_links_of_http_and_https_can_be_followed(link: str) -> None:
    assert rows.values({"link": link})[0].href == link


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        " https://x",
        "https://x\n",
        "https://",
        "https:// x",
        'https://x"onclick=',
        "//host",
        "/local",
        "vbscript:x",
        "java\tscript:alert(1)",
        "https://x\\@y",
        ["https://x"],
    ],
)
def test_defect_J40_nothing_else_becomes_a_link(link: object) -> None:
    assert rows.values({"link": link})[0].href is None


def test_secret_parameters_are_never_shown() -> None:
    (value,) = rows.values({"key": "hunter2"}, frozenset({"key"}))
    assert value.text == "(secret)"


def test_very_many_and_very_long_values_are_bounded_and_say_so() -> None:
    shown = rows.values({f"k{n}": "x" * 30_000 for n in range(300)})
    assert len(shown) == rows.VALUES + 1 and "100 more" in shown[-1].text
    assert len(shown[0].text) < 21_000 and "10000 characters more" in shown[0].text


@pytest.mark.parametrize(
    ("fields", "outcome", "ending"),
    [
        ({"code": 0, "seconds": 1.0}, "succeeded", "exit code 0"),
        ({"code": 3, "seconds": 1.0}, "failed", "exit code 3"),
        ({"signal": "SIGSEGV", "seconds": 1.0}, "failed", "killed by SIGSEGV"),
        ({"signal": "SIGTERM", "seconds": 1.0, "ended_by": "abort"}, "aborted", "ended by abort"),
        ({"signal": "SIGTERM", "seconds": 1.0, "ended_by": "timeout"}, "failed", "ended by timeout"),
        ({"error": "no such file 'foo'"}, "errored", "no such file 'foo'"),
        ({"is_skipped": True}, "skipped", "skipped, because an earlier command failed"),
        ({}, "running", ""),
    ],
)
def test_a_step_says_how_it_ended(fields: dict[str, object], outcome: str, ending: str) -> None:
    step = msgspec.convert({"name": "commands[1]", **fields}, Step)
    shown = rows.step(step, a_run(status=Status.RUNNING))
    assert (shown.name, shown.part, shown.outcome, shown.ending) == ("command 2", "command", outcome, ending)


def test_a_step_whose_end_never_came_is_not_shown_as_running_for_ever() -> None:
    shown = rows.step(
        Step("setup_commands[0]", began_at=NOW.timestamp()), a_run(status=Status.ERRORED, finished_at=NOW)
    )
    assert (shown.name, shown.outcome, shown.ending) == ("setup 1", "errored", "its end is not known")


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
