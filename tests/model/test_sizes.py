"""Sizes for people."""

import pytest

from appliance.model.sizes import show_bytes


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
