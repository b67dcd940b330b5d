from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.limits import Buckets, Delays, network


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(per_minute=60, burst=3)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 1.0]
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.5) == pytest.approx(0.5)
    assert buckets.take("a", 1.0) == 0
    assert buckets.take("a", 1.0) > 0
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 1.0]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_no_more_is_given_than_burst_and_rate_allow(steps: list[float]) -> None:
    buckets = Buckets(per_minute=60, burst=5)
    now, given_out = 0.0, 0
    for step in steps:
        now += step
        given_out += buckets.take("a", now) == 0
    assert given_out <= 5 + now + 1e-6


def test_what_is_remembered_is_bounded() -> None:
    buckets, delays = Buckets(60, 1, most_keys=100), Delays(most_keys=100)
    for number in range(1000):
        buckets.take(str(number), 0.0)
        delays.failed(str(number), 0.0)
    assert buckets.take("999", 0.0) > 0
    assert buckets.take("0", 0.0) == 0
    delays.failed("999", 0.0)
    delays.failed("0", 0.0)
    assert delays.left("999", 0.0) == 1
    assert delays.left("0", 0.0) == 0


def test_delays_grow_to_thirty_seconds_and_are_forgotten() -> None:
    delays = Delays()
    grown = []
    for _ in range(9):
        delays.failed("a", 0.0)
        grown.append(delays.left("a", 0.0))
    assert grown == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert delays.left("a", 29.0) == 1
    delays.succeeded("a")
    assert delays.left("a", 0.0) == 0
    for _ in range(5):
        delays.failed("b", 0.0)
    delays.failed("b", 1000.0)
    assert delays.left("b", 1000.0) == 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_addresses_are_counted_by_network(address: str, expected: str) -> None:
    assert network(address) == expected
