"""``orchestra worker drain --wait``: how long it waits, what it says meanwhile, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from appliance.cli.draining import until_drained
from appliance.client import Client, Unreachable
from appliance.model.errors import Conflict, NotFound, Unavailable


def worker(left: int, **changes: Any) -> dict[str, Any]:
    flags = {"is_enabled": True, "is_draining": True, "is_disconnected": False, "is_active": True}
    return {"name": "w1", "left": left, "is_drained": not left, "switched_by": "bob", **flags, **changes}


class Answers:
    """A client that is asked for a worker, and the time that passes while its asker pauses."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers: Iterator[dict[str, Any] | Exception] = iter(answers)
        self.now = 0.0

    def worker(self, name: str) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float = 60.0) -> dict[str, Any]:
        return until_drained(cast(Client, self), "w1", seconds, lambda: self.now, self.pause)


def test_req_W6_it_returns_when_the_last_run_is_over_and_says_what_is_left_when_that_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = worker(1, is_active=False)
    found = Answers(worker(2), worker(2), worker(1), away, worker(0)).wait()
    assert found["is_drained"]
    assert capsys.readouterr().err.splitlines() == [
        "w1 has 2 runs left",
        "w1 has 1 run left",
        "w1 has 1 run left, and it is not connected: they go on there",
    ]


def test_req_W6_a_server_that_restarts_meanwhile_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    gone = Unreachable("nobody answers")
    assert Answers(worker(1), gone, gone, Unavailable("starting"), worker(0)).wait()["is_drained"]
    told = capsys.readouterr().err
    assert told.count("waiting for the server: nobody answers") == 1 and "starting" in told


def test_req_W6_it_waits_no_longer_than_it_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    asked = Answers(*[worker(3)] * 100)
    with pytest.raises(Conflict, match=r"w1 still has 3 runs left after 12\.5 s; it goes on draining"):
        asked.wait(12.5)
    assert asked.now == 12.5
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_draining": False}, "w1 was enabled by bob and drains no more"),
        ({"is_draining": False, "is_enabled": False}, "w1 was disabled by bob"),
        ({"is_draining": False, "is_enabled": False, "is_disconnected": True}, "w1 was disconnected by bob"),
    ],
)
def test_req_W6_a_drain_that_somebody_ends_ends_the_wait(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Conflict, match=said):
        Answers(worker(1), worker(1, is_drained=False, **changes)).wait()


def test_fault_F24_a_worker_that_has_not_told_what_it_has_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    untold = worker(0, is_drained=False, sentence="It has not told what it has.")
    assert Answers(untold, worker(1), worker(0)).wait()["is_drained"]
    assert capsys.readouterr().err.splitlines() == ["w1: It has not told what it has.", "w1 has 1 run left"]


def test_another_worker_of_the_same_name_is_not_waited_for() -> None:
    new = worker(0, is_drained=False, is_draining=False, switched_by=None)
    with pytest.raises(Conflict, match="w1 was removed, and another worker has that name now"):
        Answers(worker(1), new).wait()


def test_a_worker_that_is_removed_meanwhile_is_not_found() -> None:
    with pytest.raises(NotFound):
        Answers(worker(1), NotFound("no worker 'w1'")).wait()
