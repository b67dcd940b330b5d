"""Instants and durations as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.times import from_millis, from_rfc3339, parse_duration, rfc3339, show_duration, to_millis


def test_an_instant_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(datetime(2026, 1, 31, 9, 15, 0, 250_000, UTC)) == "2026-01-31T09:15:00.250Z"
    assert rfc3339(datetime(1, 1, 1, tzinfo=UTC)).endswith("-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T09:15:00Z",
        "2026-01-31T09:15:00.000Z",
        "2026-01-31T10:15:00+01:00",
        "2026-01-31T09:15:00.0009Z",
    ],
)
def test_an_instant_with_a_zone_is_read(text: str) -> None:
    assert from_rfc3339(text) == datetime(2026, 1, 31, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T09:15:00",
        "2026-02-31T09:15:00Z",
        "2026-01-31T24:01:00Z",
        "2026-01-31T09:15:61Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2026-01-31T09:15:00Z\n",
        "٢٠٢٦-01-31T09:15:00Z",
        "2026-01-31T09:15:00Z" + " " * 100,
    ],
    ids=ascii,
)
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(Invalid, match="not an RFC 3339 time"):
        from_rfc3339(text)


instants = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001  # hypothesis wants bounds without a zone
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
)


@settings(max_examples=200, deadline=None)
@given(instants)
def test_an_instant_comes_back_from_its_text_and_its_number(at: datetime) -> None:
    assert from_rfc3339(rfc3339(at)) == at
    assert from_millis(to_millis(at)) == at
    elsewhere = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_millis(elsewhere) == to_millis(at)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("0s", 0), ("007s", 7)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "m", "30 m", "1h30m", "-1s", "1.5h", "30M", "1y", "30m\n", "١m", "9" * 5000 + "s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid, match="not a duration such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.34, "340 ms"),
        (12.345, "12.3 s"),
        (303, "5 min 03 s"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_is_shown_for_people(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown
