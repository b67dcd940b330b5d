"""F37: {N-1, N, N+1} of master and worker: the highest common version is spoken, or both are told who must upgrade."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.wire import Close
from appliance.wire.master_end import Greeting, MasterEnd, Merged, Stage
from tests.wire.test_worker_end import End, local

N = 7
RANGES = {"N-1": (N - 1, N - 1), "N": (N - 1, N), "N+1": (N, N + 1), "far": (N + 5, N + 9)}
AT = datetime(2026, 1, 1, tzinfo=UTC)


def meet(worker: tuple[int, int], master: tuple[int, int]) -> tuple[End, MasterEnd, Greeting | None]:
    """A worker's end that said its whole hello to a master's end."""
    end = End(local())
    end.protocols = worker
    end.dial()
    other = MasterEnd("c" * 32, 1, "d" * 32, lambda: 0.0, master)
    hello = end.next()
    assert isinstance(hello, str)
    greeting = other.receive(hello)
    assert greeting is None or isinstance(greeting, Greeting)
    return end, other, greeting


@pytest.mark.parametrize("master", RANGES)
@pytest.mark.parametrize("worker", RANGES)
def test_fault_F37_the_highest_common_version_or_4006_with_both_versions(worker: str, master: str) -> None:
    theirs, ours = RANGES[worker], RANGES[master]
    common = set(range(theirs[0], theirs[1] + 1)) & set(range(ours[0], ours[1] + 1))
    end, other, greeting = meet(theirs, ours)
    if common:
        assert greeting is not None and greeting.protocol == max(common)
        other.welcome(greeting, Merged(), AT)
        (welcome,) = other.take()
        end.receive(welcome)
        assert other.stage is Stage.OPEN
        return
    assert other.closed is not None
    code, reason = other.closed
    older = "worker" if theirs[1] < ours[0] else "server"
    age = "old" if older == "worker" else "new"
    assert code == Close.VERSION
    assert reason.startswith(f"the worker is too {age}: it speaks protocol {theirs[0]} to {theirs[1]}")
    (error,) = other.take()
    assert f"the server {ours[0]} to {ours[1]}: upgrade the {older}" in error
    assert len(reason.encode()) <= 123  # of a close frame
    end.receive(error)
    assert list(end.runs) == [local().run]  # it executes on
