"""What a worker says on its own machine when it is taken out of service."""

from __future__ import annotations

import logging

import pytest

from appliance.wire.local_runs import Identity, LocalRun
from appliance.wire.worker_end import WorkerEnd
from appliance.worker.draining import Draining

NOTHING = "drained: the server gives this worker no new runs, and it has none left; it may be stopped"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "appliance.worker.draining")
    return caplog


def end_with(*runs: str) -> WorkerEnd:
    held = [LocalRun(run=run, cap="c", digest="d", sizes={}, sent={}, acked={}) for run in runs]
    return WorkerEnd(Identity(journal="j" * 32), held, lambda text: text)


def test_req_W6_the_machine_says_what_is_left_and_when_nothing_is(said: pytest.LogCaptureFixture) -> None:
    end = end_with("a", "b")
    draining = Draining(end)
    draining.told(True)
    draining.told(True)  # again, after a reconnect
    assert draining.is_on
    assert said.messages == ["the server gives this worker no new runs; it has 2 runs left"]
    for run in ("a", "b"):
        del end.runs[run]
        draining.look()
    draining.look()
    assert said.messages[1:] == [NOTHING]


def test_one_without_runs_is_drained_at_once_and_works_again_when_it_is_enabled(said: pytest.LogCaptureFixture) -> None:
    draining = Draining(end_with())
    draining.look()
    assert said.messages == []
    draining.told(True)
    draining.told(False)
    draining.told(True)
    assert said.messages == [NOTHING, "the server gives this worker new runs again", NOTHING]
