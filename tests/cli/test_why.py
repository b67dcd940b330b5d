"""``orchestra run why``: the reason, the conditions and the workers, in columns or as JSON (W2)."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Run
from tests.cli.test_trigger import run
from tests.client.conftest import Reply, Service, problem

FOUND: dict[str, Any] = {
    "run": "0" * 32,
    "project": "p",
    "job": "j",
    "number": 7,
    "status": "pending",
    "kind": "no_worker_fits",
    "sentence": "waits for a worker: none of 30 has os = windows",
    "position": 3,
    "waiting": 120,
    "needs": [{"name": "os", "needs": "os = windows", "met_by": 0}],
    "workers": {"does not fit": 28, "full": 2},
    "items": [
        {"worker": "w1", "state": "full", "sentence": "has all 2 slots in use"},
        {"worker": "w2", "state": "does not fit", "sentence": "needs os = windows, the worker has linux"},
    ],
    "next": "more",
}


def test_req_W2_run_why_says_the_reason_the_place_the_conditions_and_the_nearest_workers(
    ask: Run, service: Service
) -> None:
    service.replies = [Reply(document=run("pending")), Reply(document=FOUND)]
    ran = ask("run", "why", "p/j#7", "--limit", "2")
    assert ran.out.decode().splitlines() == [
        "run     p/j#7",
        "status  pending",
        "why     waits for a worker: none of 30 has os = windows",
        "queue   number 3 of 120",
        "",
        "NEEDS         MET BY",
        "os = windows  0 of 30",
        "",
        "WORKER  STATE         WHY",
        "w1      full          has all 2 slots in use",
        "w2      does not fit  needs os = windows, the worker has linux",
    ]
    assert ran.err == "28 more workers; see them with --limit 30\n"
    assert service.asked[-1].path.endswith("/why?limit=2")


def test_run_why_of_a_run_that_does_not_wait_is_one_sentence(ask: Run, service: Service) -> None:
    over = {**FOUND, "status": "running", "kind": None, "sentence": "it does not wait: it runs on w1", "needs": []}
    over |= {"position": None, "waiting": None, "workers": {}, "items": [], "next": None}
    service.replies = [Reply(document=run("running")), Reply(document=over)]
    ran = ask("run", "why", "p/j#latest")
    assert ran.out.decode() == "run     p/j#7\nstatus  running\nwhy     it does not wait: it runs on w1\n"
    assert (ran.code, ran.err) == (0, "")


def test_run_why_as_json_is_the_document_and_a_run_that_is_not_there_ends_with_3(ask: Run, service: Service) -> None:
    service.replies = [Reply(document=run("pending")), Reply(document=FOUND), problem(404, "no run p/j#9")]
    assert json.loads(ask("run", "why", "p/j#7", "--json").out) == FOUND
    assert ask("run", "why", "p/j#9").code == 3
