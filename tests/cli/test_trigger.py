from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from appliance.client import following
from tests.cli.conftest import Run
from tests.client.conftest import Asked, Reply, Service, problem

RUN = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"


def run(status: str = "pending", **more: Any) -> dict[str, Any]:
    return {"id": RUN, "project": "p", "job": "j", "number": 7, "status": status, "sentence": "", **more}


def log(content: bytes) -> Reply:
    return Reply(body=content, headers={"Orchestra-Log-Size": str(len(content)), "Orchestra-Log-Complete": "true"})


def test_a_trigger_prints_the_name_of_the_run(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, run())]
    ran = ask("trigger", "p/j")
    assert (ran.code, ran.out, ran.err) == (0, b"p/j#7\n", "")
    assert service.asked[0].document == {"parameters": {}}
    assert uuid.UUID(service.asked[0].headers["Idempotency-Key"])


def test_req_T5_the_key_of_the_command_line_is_sent(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, run())]
    ask("trigger", "p/j", "--key", "nightly-2026-01-31")
    assert service.asked[0].headers["Idempotency-Key"] == "nightly-2026-01-31"


def test_with_json_the_run_is_printed(ask: Run, service: Service) -> None:
    service.replies = [Reply(201, run())]
    assert json.loads(ask("trigger", "p/j", "--json").out) == run()


def test_parameters_are_sent_as_what_the_job_declares(ask: Run, service: Service) -> None:
    declared = [
        {"key": "branch", "type": "string"},
        {"key": "count", "type": "int"},
        {"key": "quick", "type": "bool"},
    ]
    service.replies = [
        Reply(document={"identifier": "j", "parameters": declared, "is_enabled": True}),
        Reply(201, run()),
    ]
    ran = ask("trigger", "p/j", "-p", "branch=1.10", "--parameter", "count=3", "-p", "quick=true")
    assert ran.code == 0
    assert service.asked[1].document == {"parameters": {"branch": "1.10", "count": 3, "quick": True}}


@pytest.mark.parametrize("text", ["@/etc/passwd", "$HOME", "~/x", "a=b", "", "*", "%(x)s"])
def test_req_S_35_a_value_is_taken_as_it_stands(ask: Run, service: Service, text: str) -> None:
    service.replies = [Reply(document={"parameters": [{"key": "x"}]}), Reply(201, run())]
    assert ask("trigger", "p/j", "-p", f"x={text}").code == 0
    assert service.asked[1].document == {"parameters": {"x": text}}


def test_what_is_wrong_with_a_parameter_is_named(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={"parameters": [{"key": "count", "type": "int"}]})]
    ran = ask("trigger", "p/j", "-p", "count=many")
    assert ran.code == 1
    assert "count" in ran.err and ran.err.count("\n") == 1
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 1), ("errored", 1), ("aborted", 1), ("cancelled", 1)]
)
def test_waiting_ends_with_the_code_of_the_outcome(ask: Run, service: Service, status: str, code: int) -> None:
    service.replies = [Reply(201, run()), Reply(document=run(status, sentence="why"))]
    ran = ask("trigger", "p/j", "--wait")
    assert (ran.code, ran.out, ran.err) == (code, b"p/j#7\n", f"p/j#7 {status}: why\n")


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1)])
def test_following_copies_the_log_and_tells_the_outcome_apart(
    ask: Run, service: Service, status: str, code: int
) -> None:
    content = b"\x1b[31mred\xff\x00\r\nno newline"
    ended = run(status, sentence="command 1 ended with exit code 3")
    service.replies = [Reply(201, run()), Reply(document=ended), log(content), Reply(document=ended)]
    ran = ask("trigger", "p/j", "--follow")
    assert (ran.code, ran.out) == (code, content)
    assert ran.err == f"p/j#7\np/j#7 {status}: command 1 ended with exit code 3\n"


def test_following_a_run_that_waits_says_why_once_and_when_it_changes(
    ask: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEPS", (0.001,))
    nothing = log(b"")
    away = "far has been silent for {} s; the run still counts as running"
    looks = [
        run(waits="waits for its turn"),  # every run does, right after its trigger
        run(waits="waits for a worker: far does not fit (needs pool = x)"),
        run(waits="waits for a worker: far does not fit (needs pool = x)"),
        run("running", waits=away.format(1)),
        run("running", waits=away.format(2)),
        run("running"),
        run("succeeded"),
    ]

    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return Reply(201, run())
        if "/log?" in asked.path:
            return nothing
        if asked.path.endswith("/events"):
            return Reply(404, {})
        return Reply(document=looks.pop(0) if len(looks) > 1 else looks[0])

    service.replies = [answer]
    ran = ask("trigger", "p/j", "--follow")
    assert ran.out == b""
    assert ran.err.splitlines() == [
        "p/j#7",
        "p/j#7: waits for a worker: far does not fit (needs pool = x)",
        f"p/j#7: {away.format(1)}",
        "p/j#7: goes on",
        "p/j#7 succeeded",
    ]


@pytest.mark.parametrize("line", [("trigger", "p/j", "--wait"), ("run", "wait", "p/j#7")])
def test_waiting_for_a_run_that_waits_says_why(
    ask: Run, service: Service, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    monkeypatch.setattr(following, "SWEEPS", (0.001,))
    waits = run(waits="waits for a worker: there is none yet")
    looks = [waits, waits, waits, run("cancelled")]

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(404, {})
        return Reply(document=looks.pop(0) if len(looks) > 1 else looks[0])

    service.replies = [answer]
    ran = ask(*line)
    assert ran.code == 1
    assert ran.err.count("p/j#7: waits for a worker: there is none yet\n") == 1


def test_a_job_that_is_not_there_is_exit_code_3(ask: Run, service: Service) -> None:
    service.replies = [problem(404, "there is no job 'j' in project 'p'")]
    assert ask("trigger", "p/j", "--wait").code == 3
