"""A checker that cannot fail is worth nothing: each invariant is broken here once, and it must say so."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from appliance.crash_test import job
from appliance.crash_test.checker import LOG, LOST, OTHER, STATUS, TWICE, check
from appliance.crash_test.evidence import Digests, Evidence, Found, Mark
from appliance.crash_test.ledger import Wish, facts
from appliance.crash_test.plan import Order, Task

WELL, FAILS, KILLED, HIT, ABORTED, CANCELLED = (f"{number:08d}-0000-4000-8000-000000000000" for number in range(6))


def task(number: int, **changes: Any) -> Task:
    return Task(**{"key": f"k{number}", "seed": number, "size": 50_000, "shape": "bytes", "seconds": 0.1, **changes})


TASKS = {
    WELL: task(0, has_results=True),
    FAILS: task(1, code=7),
    KILLED: task(2),
    HIT: task(3),
    ABORTED: task(4),
    CANCELLED: task(5),
}


def found(run_id: str, status: str, reason: str | None, size: int, exit_: dict[str, Any] | None = None) -> Found:
    """A run as the service would show it, with the first ``size`` bytes of what its job prints."""
    one = TASKS[run_id]
    content = b"".join(job.pieces(one.seed, one.size, one.shape))[:size]
    digests = Digests(one)
    digests.add(content)
    is_cancelled = status == "cancelled"
    document = {
        "id": run_id,
        "number": int(run_id[:8]) + 1,
        "parameters": {"task": Order(task=one).text},
        "status": status,
        "reason": reason,
        "started_at": None if is_cancelled else "2026-01-01T00:00:01.000Z",
        "finished_at": "2026-01-01T00:00:02.000Z",
        "exit": exit_,
        "log": {
            "size": size,
            "sha256": None if is_cancelled else hashlib.sha256(content).hexdigest(),
            "complete": not is_cancelled,
            "verified": not is_cancelled,
        },
    }
    results = job.results(one.key, True) if one.has_results else None
    return Found(document, digests.size, digests.sha256, digests.is_prefix, results)


def good() -> Evidence:
    """A run of each kind, and nothing wrong with any."""
    runs = [
        found(WELL, "succeeded", None, 50_000, {"code": 0, "command": "commands[0]"}),
        found(FAILS, "failed", "exit_code", 50_000, {"code": 7, "command": "commands[0]"}),
        found(KILLED, "errored", "executor_killed", 20_000),
        found(HIT, "failed", "signal", 30_000, {"signal": "SIGTERM", "command": "commands[0]"}),
        found(ABORTED, "aborted", "requested", 10_000),
        found(CANCELLED, "cancelled", "requested", 0),
    ]
    marks = [Mark(run_id, TASKS[run_id].key, 100 + number) for number, run_id in enumerate(TASKS)]
    return Evidence(
        orders={one.key: Order(task=one) for one in TASKS.values()},
        acknowledged={one.key: run_id for run_id, one in TASKS.items()},
        wishes={ABORTED: [Wish("abort", None), Wish("abort", "aborting")], CANCELLED: [Wish("cancel", "cancelled")]},
        hits={KILLED: {"executor SIGKILL"}, HIT: {"command SIGTERM"}, FAILS: {"executor SIGTERM", "command SIGSTOP"}},
        seen={run.document["id"]: facts(run.document) for run in runs},
        runs=runs,
        starts=[mark for mark in marks if mark.run_id != CANCELLED],
        ends=[mark for mark in marks if mark.run_id in (WELL, FAILS)],
        worker_logs={run.document["id"]: (run.size, run.sha256) for run in runs},
        database=[],
        complaints=[],
        left=[],
        healed_after=3.0,
    )


Doctor = Callable[[Evidence], None]


def run_of(evidence: Evidence, run_id: str) -> Found:
    return next(run for run in evidence.runs if run.document["id"] == run_id)


def change(run_id: str, **fields: Any) -> Doctor:
    """Change the document of a run; its first sight changes along."""

    def doctor(evidence: Evidence) -> None:
        document = run_of(evidence, run_id).document
        document.update(fields)
        evidence.seen = {**evidence.seen, run_id: facts(document)}

    return doctor


def change_log(run_id: str, **fields: Any) -> Doctor:
    """Change what was read of a log."""

    def doctor(evidence: Evidence) -> None:
        evidence.runs = [run._replace(**fields) if run.document["id"] == run_id else run for run in evidence.runs]
        evidence.worker_logs = {}

    return doctor


def change_receipt(run_id: str, **fields: Any) -> Doctor:
    def doctor(evidence: Evidence) -> None:
        run_of(evidence, run_id).document["log"].update(fields)
        evidence.seen = {}

    return doctor


def replace(name: str, value: Callable[[Evidence], Any]) -> Doctor:
    return lambda evidence: setattr(evidence, name, value(evidence))


def without(marks: str, run_id: str) -> Doctor:
    """Take the marks of a run away."""
    return replace(marks, lambda evidence: [one for one in getattr(evidence, marks) if one.run_id != run_id])


def with_mark(marks: str, run_id: str) -> Doctor:
    more = Mark(run_id, "k", 999)
    return replace(marks, lambda evidence: [*getattr(evidence, marks), more])


def without_key(name: str, key: str) -> Doctor:
    return replace(name, lambda evidence: {one: kept for one, kept in getattr(evidence, name).items() if one != key})


def hit(run_id: str, *kinds: str) -> Doctor:
    """Its processes got these signals, and no others."""
    return replace("hits", lambda evidence: {**evidence.hits, run_id: set(kinds)})


def wished(run_id: str, *wishes: Wish) -> Doctor:
    return replace("wishes", lambda evidence: {**evidence.wishes, run_id: list(wishes)})


def first_seen(run_id: str, **fields: Any) -> Doctor:
    """It looked otherwise when it was first shown ended."""
    return replace("seen", lambda evidence: {**evidence.seen, run_id: evidence.seen[run_id]._replace(**fields)})


def twin(evidence: Evidence) -> list[Found]:
    """A second run of the same trigger."""
    other = copy.deepcopy(run_of(evidence, WELL))
    other.document.update(id="f" * 8 + WELL[8:], number=99)
    return [*evidence.runs, other]


def shorter(run_id: str, size: int) -> Doctor:
    """The log, its receipt and the worker's copy agree, and have so many bytes."""

    def doctor(evidence: Evidence) -> None:
        run = run_of(evidence, run_id)
        document = run.document
        evidence.runs = [
            found(run_id, document["status"], document["reason"], size, document["exit"]) if one is run else one
            for one in evidence.runs
        ]
        evidence.worker_logs, evidence.seen = {}, {}

    return doctor


NOT_HEALED: list[tuple[str, Doctor, str, str, str]] = [
    ("never healed", replace("healed_after", lambda _: None), OTHER, "I9", ""),
    ("healed late", replace("healed_after", lambda _: 61.0), OTHER, "I9", ""),
    ("a process is left", replace("left", lambda _: ["77 sleep"]), OTHER, "I9", ""),
]
# Name, what is done to good evidence, kind and invariant of the violation, and the run that it names.
BROKEN: list[tuple[str, Doctor, str, str, str]] = [
    ("a run is gone", replace("runs", lambda e: [r for r in e.runs if r.document["id"] != FAILS]), LOST, "I1", FAILS),
    ("no answer", without_key("acknowledged", "k1"), LOST, "I1", ""),
    ("a run of nobody", without_key("orders", "k1"), LOST, "I1", FAILS),
    ("other parameters", change(FAILS, parameters={"task": "{}"}), LOST, "I1", FAILS),
    ("never ends", change(WELL, status="running", reason=None), LOST, "I1", WELL),
    ("stays lost", change(WELL, status="lost", reason="worker_lost"), LOST, "I1", WELL),
    ("started twice", with_mark("starts", WELL), TWICE, "I2", WELL),
    ("ended twice", with_mark("ends", WELL), TWICE, "I2", WELL),
    ("a trigger made two runs", replace("runs", twin), TWICE, "I6", ""),
    ("cancelled and started", with_mark("starts", CANCELLED), STATUS, "I2", CANCELLED),
    ("wrong code", change(FAILS, exit={"code": 8}), STATUS, "I4", FAILS),
    ("wrong signal", change(HIT, exit={"signal": "SIGKILL"}), STATUS, "I4", HIT),
    ("succeeded though it failed", change(FAILS, status="succeeded", reason=None), STATUS, "I1", FAILS),
    ("failed though it succeeded", change(WELL, status="failed", reason="exit_code"), STATUS, "I1", WELL),
    ("killed by nobody", hit(KILLED), STATUS, "I1", KILLED),
    ("hit by nobody", hit(HIT), STATUS, "I1", HIT),
    ("a stop is no kill", hit(KILLED, "executor SIGSTOP"), STATUS, "I1", KILLED),
    ("SIGTERM of an executor ends no run", hit(KILLED, "executor SIGTERM"), STATUS, "I1", KILLED),
    ("a command's death is not its executor's", hit(KILLED, "command SIGKILL"), STATUS, "I1", KILLED),
    ("aborted by nobody", wished(ABORTED), STATUS, "I1", ABORTED),
    ("a refused wish", wished(ABORTED, Wish("abort", "refused")), STATUS, "I1", ABORTED),
    ("cancelled by nobody", wished(CANCELLED), STATUS, "I1", CANCELLED),
    ("a cancel that was granted is not kept", change(CANCELLED, status="aborted"), STATUS, "I1", CANCELLED),
    ("succeeded without its end", without("ends", WELL), STATUS, "I1", WELL),
    ("succeeded without its start", without("starts", WELL), LOG, "I3", WELL),
    ("without time of end", change(WELL, finished_at=None), STATUS, "I4", WELL),
    ("without time of start", change(WELL, started_at=None), STATUS, "I4", WELL),
    ("changed after its end", first_seen(WELL, finished_at="x"), STATUS, "I6", WELL),
    ("ended before its log", first_seen(WELL, is_complete=False), LOG, "I4", WELL),
    ("other bytes", change_log(WELL, is_prefix=False), LOG, "I3", WELL),
    ("a byte is missing", shorter(WELL, 49_999), LOG, "I3", WELL),
    ("not a prefix of a killed one", change_log(KILLED, is_prefix=False), LOG, "I3", KILLED),
    ("the receipt's size", change_receipt(KILLED, size=1), LOG, "I3", KILLED),
    ("the receipt's digest", change_receipt(KILLED, sha256="0" * 64), LOG, "I3", KILLED),
    ("not complete", change_receipt(WELL, complete=False), LOG, "I3", WELL),
    ("not verified", change_receipt(KILLED, verified=False), LOG, "I3", KILLED),
    ("more on the worker", replace("worker_logs", lambda e: {KILLED: (20_001, "0" * 64)}), LOG, "I3", KILLED),
    ("results are gone", change_log(WELL, results={}), OTHER, "I4", WELL),
    ("results of another", change_log(WELL, results=job.results("k9", True)), OTHER, "I4", WELL),
    ("a number twice", change(FAILS, number=1), OTHER, "I6", ""),
    ("listed twice", replace("runs", lambda e: [*e.runs, e.runs[0]]), OTHER, "I6", WELL),
    ("damage", replace("database", lambda _: ["row 1 missing from index"]), OTHER, "I10", ""),
    ("a traceback", replace("complaints", lambda _: ["server.log: Traceback"]), OTHER, "I7", ""),
    *NOT_HEALED,
]  # fmt: skip


def test_good_evidence_has_no_violation() -> None:
    assert check(good()) == []


@pytest.mark.parametrize(
    ("doctor", "kind", "invariant", "run_id"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN]
)
def test_what_is_broken_is_found(doctor: Doctor, kind: str, invariant: str, run_id: str) -> None:
    evidence = good()
    doctor(evidence)
    assert (kind, invariant, run_id) in {violation[:3] for violation in check(evidence)}


def test_every_invariant_that_the_checker_knows_is_broken_above() -> None:
    assert {invariant for _, _, _, invariant, _ in BROKEN} == {"I1", "I2", "I3", "I4", "I6", "I7", "I9", "I10"}
    assert {kind for _, _, kind, _, _ in BROKEN} == {LOST, TWICE, STATUS, LOG, OTHER}


def test_an_abort_that_came_too_late_leaves_the_jobs_own_end() -> None:
    evidence = good()
    evidence.wishes = {**evidence.wishes, WELL: [Wish("abort", "aborting")]}
    assert check(evidence) == []


def test_a_killed_executor_may_have_recorded_the_end_before() -> None:
    evidence = good()
    evidence.hits = {**evidence.hits, WELL: {"executor SIGKILL"}}
    assert check(evidence) == []


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 49_999, 50_000])
def test_a_log_is_compared_piece_by_piece_however_it_comes(size: int) -> None:
    content = b"".join(job.pieces(2, 50_000, "bytes"))[:size]
    for step in (1000, 32_768, 50_000):
        digests = Digests(TASKS[KILLED])
        for place in range(0, size, step):
            digests.add(content[place : place + step])
        assert (digests.size, digests.is_prefix) == (size, True)
        assert digests.sha256 == hashlib.sha256(content).hexdigest()


def test_a_log_that_is_longer_or_differs_in_one_byte_is_no_prefix() -> None:
    content = b"".join(job.pieces(2, 50_000, "bytes"))
    for wrong in (content + b"x", b"x" + content[1:], content[:-1] + bytes([content[-1] ^ 1])):
        digests = Digests(TASKS[KILLED])
        digests.add(wrong)
        assert not digests.is_prefix
