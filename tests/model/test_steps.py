"""The commands of a run, read from its notes (stream 2)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.steps import Step, read_steps


def notes(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


BEGAN = {
    "note": "began",
    "at": 5.5,
    "phase": "commands",
    "index": 0,
    "name": "build",
    "command": "make all",
    "offset": 17,
}
ENDED = {"note": "ended", "at": 8.0, "phase": "commands", "index": 0, "seconds": 2.5, "code": 2}


def test_a_command_has_what_its_notes_say() -> None:
    assert read_steps(notes(BEGAN, ENDED)) == [
        Step("commands[0]", label="build", command="make all", offset=17, began_at=5.5, seconds=2.5, code=2)
    ]


def test_a_command_that_runs_has_no_end_yet() -> None:
    (step,) = read_steps(notes(BEGAN))
    assert (step.began_at, step.seconds, step.code) == (5.5, None, None)


def test_a_command_that_could_not_start_has_only_its_end() -> None:
    (step,) = read_steps(notes({**ENDED, "code": None, "error": "make was not found"}))
    assert (step.name, step.began_at, step.error) == ("commands[0]", None, "make was not found")


def test_signals_and_who_ended_a_command_are_told() -> None:
    (step,) = read_steps(notes(BEGAN, {**ENDED, "code": None, "signal": "SIGKILL", "ended_by": "timeout"}))
    assert (step.code, step.signal, step.ended_by) == (None, "SIGKILL", "timeout")


def test_commands_stand_in_the_order_in_which_they_began() -> None:
    others = [{**BEGAN, "phase": "setup", "index": 0}, BEGAN, {**BEGAN, "note": "skipped", "index": 1}]
    steps = read_steps(notes(*others, {**BEGAN, "phase": "teardown"}))
    assert [step.name for step in steps] == ["setup[0]", "commands[0]", "commands[1]", "teardown[0]"]
    assert [step.is_skipped for step in steps] == [False, False, True, False]


def test_a_command_that_was_skipped_says_what_it_would_have_done() -> None:
    (step,) = read_steps(notes({"note": "skipped", "phase": "commands", "index": 1, "command": "make {x}"}))
    assert (step.name, step.command, step.is_skipped) == ("commands[1]", "make {x}", True)


def test_a_torn_line_and_notes_of_other_kinds_are_left_out() -> None:
    text = notes({"note": "time", "at": 1.0, "offset": 3}, BEGAN) + b"\xff\n\n[1]\n7\n" + notes(ENDED)[:-9]
    assert [step.name for step in read_steps(text)] == ["commands[0]"]


@given(st.binary(max_size=300))
def test_inv_I7_no_bytes_do_more_than_be_left_out(text: bytes) -> None:
    assert [step.name for step in read_steps(notes(BEGAN) + text + b"\n" + notes(ENDED))] == ["commands[0]"]
