"""The figures that measurements print."""

from __future__ import annotations

import pytest

from benchmarks.lib import Series, amount, goal


def test_the_p95_of_twenty_samples_is_the_nineteenth() -> None:
    assert Series("runs", "1/s", [float(sample) for sample in range(20, 0, -1)]).p95 == 19


def test_the_p95_of_few_samples_is_the_worst() -> None:
    assert Series("runs", "1/s", [3.0, 1.0, 2.0]).p95 == 3


def test_a_series_tells_median_p95_spread_count_and_noise() -> None:
    said = str(Series("runs", "1/s", [1.0, 2.0, 300.0], noisy=1))
    for part in ("median        2", "p95      300", "spread 1 to 300", "1/s", "n=3", "1 taken on a busy machine"):
        assert part in said


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (0.01234, "0.0123")])
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "at_least", "is_met"), [(30, True, True), (29, True, False), (30, False, True), (31, False, False)]
)
def test_a_goal_is_met_or_said_not_to_be(
    value: float, at_least: bool, is_met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert goal("rate", value, 30, "1/s", at_least=at_least) is is_met
    assert ("NOT MET" in capsys.readouterr().out) is not is_met
