"""The table of how a run ends (reliability.md 4.3), as a walk through it."""

from __future__ import annotations

import itertools

import pytest

from appliance.model.run_state import REASONS, Reason, Status
from appliance.worker.verdict import COMMANDS, SETUP, TEARDOWN, Ending, Verdict

RUN_LIMIT = "longer than 5 s, the limit of the run"
OWN_LIMIT = "longer than 5 s, its limit"

ENDINGS = {
    "good": Ending(code=0),
    "code": Ending(code=3),
    "signal": Ending(signal="SIGSEGV"),
    "memory": Ending(signal="SIGKILL", is_out_of_memory=True, memory_limit=" (limit 2 GiB)"),
    "start": Ending(error="no such file 'x'", reason="start_failed"),
    "format": Ending(error="unknown name 'x'", reason="format_error"),
    "run limit": Ending(signal="SIGTERM", ended_by="timeout", limit=RUN_LIMIT, is_run_over=True),
    "own limit": Ending(code=0, ended_by="timeout", limit=OWN_LIMIT),
    "abort": Ending(signal="SIGTERM", ended_by="abort"),
    "survivor": Ending(signal="SIGKILL", ended_by="abort", survivors=[12, 13]),
}
TABLE = {
    (SETUP, "code"): ("errored", "setup_failed", "setup 1 ended with exit code 3"),
    (SETUP, "signal"): ("errored", "setup_failed", "setup 1 was killed by SIGSEGV"),
    (SETUP, "start"): ("errored", "start_failed", "setup 1 could not start: no such file 'x'"),
    (SETUP, "format"): ("errored", "format_error", "setup 1: unknown name 'x'"),
    (SETUP, "run limit"): ("failed", "timeout", f"setup 1 was ended: {RUN_LIMIT}"),
    (SETUP, "own limit"): ("errored", "setup_failed", f"setup 1 was ended: {OWN_LIMIT}"),
    (COMMANDS, "good"): ("succeeded", None, ""),
    (COMMANDS, "code"): ("failed", "exit_code", "command 1 ended with exit code 3"),
    (COMMANDS, "signal"): ("failed", "signal", "command 1 was killed by SIGSEGV"),
    (COMMANDS, "memory"): ("failed", "out_of_memory", "command 1 was killed: out of memory (limit 2 GiB)"),
    (COMMANDS, "own limit"): ("failed", "timeout", f"command 1 was ended: {OWN_LIMIT}"),
    (COMMANDS, "abort"): ("aborted", "requested", "aborted while command 1 was running"),
    (COMMANDS, "survivor"): ("errored", "still_running", "processes that could not be ended: 12, 13"),
    (TEARDOWN, "code"): ("errored", "teardown_failed", "teardown 1 ended with exit code 3"),
    (TEARDOWN, "start"): ("errored", "teardown_failed", "teardown 1 could not start: no such file 'x'"),
    (TEARDOWN, "abort"): ("aborted", "requested", "aborted while teardown 1 was running"),
}


@pytest.mark.parametrize(("phase", "ending"), TABLE)
def test_a_command_decides_the_run(phase: str, ending: str) -> None:
    verdict = Verdict()
    verdict.add(phase, f"{phase}[0]", ENDINGS[ending])
    assert (verdict.status, verdict.reason, verdict.sentence) == TABLE[phase, ending]


@pytest.mark.parametrize("phase", [SETUP, COMMANDS, TEARDOWN])
def test_every_end_is_one_that_the_state_machine_knows(phase: str) -> None:
    for ending in ENDINGS.values():
        verdict = Verdict()
        verdict.add(phase, f"{phase}[0]", ending)
        allowed = REASONS.get(Status(verdict.status), frozenset())
        assert (verdict.reason is None) == (verdict.status == "succeeded")
        assert verdict.reason is None or Reason(verdict.reason) in allowed


def test_the_first_failure_stands_and_later_ones_are_notes() -> None:
    for first, later in itertools.product(["code", "abort", "start"], ["code", "abort", "own limit"]):
        verdict = Verdict()
        verdict.add(COMMANDS, "commands[0]", ENDINGS[first])
        before = (verdict.status, verdict.reason, verdict.sentence, verdict.exit)
        verdict.add(TEARDOWN, "teardown_commands[0]", ENDINGS[later])
        verdict.abort("too late")
        assert (verdict.status, verdict.reason, verdict.sentence, verdict.exit) == before
        assert len(verdict.notes) == 1


def test_a_survivor_outweighs_what_was_decided_and_keeps_it_as_a_note() -> None:
    verdict = Verdict()
    verdict.add(COMMANDS, "commands[0]", ENDINGS["code"])
    verdict.add(TEARDOWN, "teardown_commands[0]", ENDINGS["survivor"])
    assert (verdict.status, verdict.reason) == ("errored", "still_running")
    assert verdict.notes == ["command 1 ended with exit code 3"]


def test_the_exit_is_that_of_the_deciding_command() -> None:
    verdict = Verdict()
    verdict.add(SETUP, "setup_commands[0]", ENDINGS["good"])
    verdict.add(COMMANDS, "commands[0] (unit tests)", ENDINGS["code"])
    verdict.add(TEARDOWN, "teardown_commands[0]", ENDINGS["good"])
    assert verdict.exit == {"code": 3, "command": "commands[0]"}
    assert verdict.sentence == "command 1 (unit tests) ended with exit code 3"
