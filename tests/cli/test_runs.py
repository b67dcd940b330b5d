from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.cli.test_trigger import RUN, log, run
from tests.client.conftest import Asked, Reply, Service, problem


def test_a_list_shows_a_run_a_line(ask: Run, service: Service) -> None:
    shown = run("failed", worker="w", created_at="2026-01-31T09:15:00.250Z", sentence="ended with exit code 3")
    service.replies = [Reply(document={"items": [shown], "next": "more"})]
    ran = ask("run", "list", "--status", "failed", "--status", "errored", "--project", "p", "--limit", "1")
    line = "p/j#7  failed  w       2026-01-31T09:15:00.250Z  ended with exit code 3"
    assert ran.out.decode().splitlines()[1] == line
    assert service.asked[0].path == "/api/v1/runs?project=p&status=failed&status=errored&limit=1"
    assert len(service.asked) == 1


def test_everything_about_a_run_is_shown_or_printed_as_json(ask: Run, service: Service) -> None:
    shown = run(
        "failed",
        exit={"code": 3, "command": "commands[0]"},
        log={"size": 12, "sha256": "ab", "complete": True, "verified": True},
        notes=["2 background processes were ended"],
    )
    service.replies = [Reply(document=shown)]
    text = ask("run", "show", "p/j#latest").out.decode()
    assert "exit code   3\n" in text
    assert "12 bytes, complete and verified" in text
    assert "2 background processes were ended" in text
    assert json.loads(ask("run", "show", RUN, "--json").out) == shown


def test_a_command_is_called_the_same_in_each_line_of_a_run(ask: Run, service: Service) -> None:
    sentence = "command 2 (build) ended with exit code 3"
    ending = {"code": 3, "command": "commands[1] (build)"}
    service.replies = [Reply(document=run("failed", sentence=sentence, exit=ending))]
    text = ask("run", "show", "p/j#7").out.decode()
    assert "command    command 2 (build)\n" in text
    assert "commands[" not in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "user", "user": "ana", "via": "website"}, "ana (website)"),
        ({"type": "user", "user": "bot", "token_id": RUN, "via": "service"}, "bot (service, with a token)"),
        ({"type": "schedule"}, "schedule"),
    ],
)
def test_who_started_a_run_is_told_in_words(ask: Run, service: Service, source: dict[str, str], words: str) -> None:
    service.replies = [Reply(document=run("succeeded", source=source))]
    assert f"source  {words}\n" in ask("run", "show", "p/j#7").out.decode()


def test_a_run_that_waits_is_shown_with_the_reason(ask: Run, service: Service) -> None:
    service.replies = [Reply(document=run("pending", sentence="", waits="waits for a worker: there is none yet"))]
    assert "why     waits for a worker: there is none yet\n" in ask("run", "show", "p/j#latest").out.decode()


def test_the_log_is_printed_byte_for_byte(ask: Run, service: Service) -> None:
    content = bytes(range(256)) * 5000 + b"no newline at the end"

    def part(asked: Asked) -> Reply:
        if "/log?" not in asked.path:
            return Reply(document=run("succeeded"))
        offset = int(asked.path.partition("offset=")[2].partition("&")[0])
        return Reply(body=content[offset : offset + (1 << 20)], headers={"Orchestra-Log-Size": str(len(content))})

    service.replies = [part]
    ran = ask("run", "log", "p/j#7")
    assert (ran.code, ran.out, ran.err) == (0, content, "")


def test_the_log_of_a_run_that_goes_on_ends_where_it_was(ask: Run, service: Service) -> None:
    growing = iter(range(1, 100))

    def part(asked: Asked) -> Reply:
        if "/log?" not in asked.path:
            return Reply(document=run("running"))
        return Reply(body=b"x" * (1 << 20), headers={"Orchestra-Log-Size": str((1 << 20) * next(growing) + 5)})

    service.replies = [part]
    assert len(ask("run", "log", "p/j#7").out) == (1 << 20) + 5


def test_a_followed_log_ends_with_the_outcome(ask: Run, service: Service) -> None:
    service.replies = [
        Reply(document=run("running")),
        Reply(document=run("failed")),
        log(b"all"),
        Reply(document=run("failed")),
    ]
    ran = ask("run", "log", "p/j#7", "--follow")
    assert (ran.code, ran.out, ran.err) == (1, b"all", "p/j#7 failed\n")


def test_results_are_printed_as_json(ask: Run, service: Service) -> None:
    service.replies = [Reply(document=run()), Reply(document={"answer": 42, "on": "2026-01-31"})]
    assert json.loads(ask("run", "results", "p/j#7").out) == {"answer": 42, "on": "2026-01-31"}
    assert service.asked[1].path == f"/api/v1/runs/{RUN}/results"


@pytest.mark.parametrize("verb", ["cancel", "abort"])
def test_a_run_is_asked_to_end_and_the_answer_is_told(ask: Run, service: Service, verb: str) -> None:
    service.replies = [Reply(document=run()), Reply(202, run(outcome="aborting", message="it was told to stop"))]
    ran = ask("run", verb, "p/j#7")
    assert (ran.code, ran.out) == (0, b"it was told to stop\n")
    assert (service.asked[1].method, service.asked[1].path) == ("POST", f"/api/v1/runs/{RUN}/{verb}")


@pytest.mark.parametrize("verb", ["cancel", "abort"])
def test_a_run_that_has_ended_cannot_be_ended(ask: Run, service: Service, verb: str) -> None:
    service.replies = [Reply(document=run("succeeded")), problem(409, "the run has finished")]
    ran = ask("run", verb, "p/j#7")
    assert (ran.code, ran.err) == (1, "orchestra: the run has finished\n")


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("aborted", 1)])
def test_waiting_tells_how_it_ended(ask: Run, service: Service, status: str, code: int) -> None:
    service.replies = [Reply(document=run(status))]
    ran = ask("run", "wait", RUN)
    assert (ran.code, ran.out) == (code, f"p/j#7 {status}\n".encode())
