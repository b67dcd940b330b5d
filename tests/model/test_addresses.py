"""What is this machine, and what may be another."""

from __future__ import annotations

import pytest

from appliance.model.addresses import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_req_S_09_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "fe80::1%lo",
        "example.org",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "127.1",
    ],
)
def test_req_S_09_anything_else_may_be_another_machine(host: str) -> None:
    assert not is_loopback(host)
