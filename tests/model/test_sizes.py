"""Sizes for people."""

import pytest

from appliance.model.sizes import show_bytes, show_count


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (209_715_200, "200 MiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert show_bytes(size) == text


def test_what_is_counted_is_written_for_people() -> None:
    assert [show_count(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
