"""What a worker in hostile hands can make the master keep or answer: bounded (I7, S-61)."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from appliance.wire import Close, ProtocolError
from appliance.wire.master_end import INVENTORY_SIZES, REFUSALS_A_MINUTE, MasterEnd

HELLO: dict[str, Any] = {
    "type": "hello",
    "id": 1,
    "protocols": [1, 1],
    "software": "raw",
    "journal": "a" * 32,
    "instance": "b" * 32,
    "boot": "boot",
    "at": 1.0,
    "more": True,
}
SIZES = {str(stream): 1 << 50 for stream in range(1000)}
HELD = {"run": str(uuid.UUID(int=1, version=4)), "cap": "0" * 64, "digest": "0" * 64, "state": "exited", "sizes": SIZES}
NOT_YOURS = ProtocolError("this run is not leased to this worker", "not_yours")


@pytest.fixture
def end() -> MasterEnd:
    return MasterEnd("c" * 32, 1, "d" * 32, lambda: 7.0)


def closing(end: MasterEnd) -> int | None:
    return end.closed[0] if end.closed is not None else None


def page(**fields: Any) -> str:
    return msgspec.json.encode({"type": "inventory", "id": 2, "more": True, **fields}).decode()


def test_inv_I7_an_inventory_of_endless_stream_sizes_ends_the_conversation(end: MasterEnd) -> None:
    end.receive(msgspec.json.encode(HELLO).decode())
    pages = INVENTORY_SIZES // (10 * len(SIZES))
    for _ in range(pages):
        assert end.receive(page(runs=[HELD] * 10)) is None
    assert closing(end) is None
    end.receive(page(runs=[HELD]))
    assert closing(end) == Close.PROTOCOL


def test_fault_F14_words_that_may_not_be_said_are_answered_and_too_many_end_the_conversation(end: MasterEnd) -> None:
    for _ in range(REFUSALS_A_MINUTE - 1):
        end.refuse(NOT_YOURS)
    assert closing(end) is None
    end.refuse(NOT_YOURS)
    assert closing(end) == Close.PROTOCOL
    assert len(end.take()) == REFUSALS_A_MINUTE
    end.refuse(NOT_YOURS)
    assert end.take() == []
