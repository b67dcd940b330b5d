"""``orchestra recovery``: what came back after a restore, and what waits (F24)."""

from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.client.conftest import Reply, Service, problem

OPEN = {
    "is_open": True,
    "sentence": "restored from an older backup; 2 runs recovered, 0 could not be; waits for w2",
    "workers": [
        {"name": "w1", "is_enabled": True, "merged_at": "2026-01-31T09:15:00.250Z", "note": "its software is old"},
        {"name": "w2", "is_enabled": False, "merged_at": None, "note": ""},
    ],
}


def test_fault_F24_what_came_back_and_who_is_missing_is_shown(ask: Run, service: Service) -> None:
    service.replies = [Reply(document=OPEN)]
    ran = ask("recovery", "show")
    lines = ran.out.decode().splitlines()
    assert (ran.code, lines[0]) == (0, OPEN["sentence"])
    assert lines[2].split()[:2] == ["w1", "2026-01-31T09:15:00.250Z"]
    assert lines[2].endswith("its software is old")
    assert lines[3].split() == ["w2", "not", "yet", "disabled"]
    assert json.loads(ask("recovery", "show", "--json").out) == OPEN


def test_fault_F24_what_waits_is_released(ask: Run, service: Service) -> None:
    service.replies = [Reply(document={**OPEN, "is_open": False, "sentence": "released by alice"})]
    ran = ask("recovery", "release")
    assert (ran.code, ran.err) == (0, "released by alice\n")
    asked = service.asked[0]
    assert (asked.method, asked.path) == ("POST", "/api/v1/recovery/release")


def test_nothing_to_release_is_a_conflict(ask: Run, service: Service) -> None:
    service.replies = [problem(409, "no recovery waits for anything")]
    ran = ask("recovery", "release")
    assert (ran.code, ran.out) == (1, b"")
    assert "no recovery waits" in ran.err
