"""THE checker: which invariants does the evidence contradict? Pure: it reads nothing and waits for nothing.

A run may end otherwise than its job did only for a cause that the test knows of: a signal to its executor or command, a
wish to cancel or abort it. Whatever no such cause explains is a violation.
"""

from __future__ import annotations

import json
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from appliance.client import TERMINAL
from appliance.crash_test import job
from appliance.crash_test.evidence import Evidence, Found, Mark, printed, task_of
from appliance.crash_test.ledger import facts
from appliance.crash_test.plan import Order, Task

LOST, TWICE, STATUS, LOG, OTHER = "lost", "started twice", "wrong statuses", "logs differ", "other findings"
HEALS_WITHIN = 60.0  # seconds (I9)

_DEADLY = ("SIGKILL", "SIGTERM")

Outcome = tuple[str, str | None]  # status and reason


class Violation(NamedTuple):
    """``kind``: one of the five above. ``invariant``: I1 to I10. ``run_id`` is "" for what concerns no single run."""

    kind: str
    invariant: str
    run_id: str
    sentence: str


def check(evidence: Evidence) -> list[Violation]:
    """Every violation, run by run."""
    found = [*_whole(evidence), *_marks(evidence)]
    starts = {mark.run_id: mark for mark in evidence.starts}
    ends = {mark.run_id: mark for mark in evidence.ends}
    for run in evidence.runs:
        run_id = run.document["id"]
        task = task_of(run.document)
        order = evidence.orders.get(task.key) if task is not None else None
        if task is None or order is None or order.task != task:
            found.append(Violation(LOST, "I1", run_id, f"nobody triggered this: {run.document['parameters']}"))
            continue
        one = _Run(evidence, run, order, starts.get(run_id), ends.get(run_id))
        found += [Violation(kind, invariant, run_id, sentence) for kind, invariant, sentence in one.check()]
    return found


def _whole(evidence: Evidence) -> Iterator[Violation]:
    """What concerns all runs together, or none."""
    ids = Counter(run.document["id"] for run in evidence.runs)
    keys: defaultdict[str, set[str]] = defaultdict(set)
    numbers = Counter(run.document["number"] for run in evidence.runs)
    for run in evidence.runs:
        if (task := task_of(run.document)) is not None:
            keys[task.key].add(run.document["id"])
    for key, run_id in evidence.acknowledged.items():
        if run_id not in ids:
            yield Violation(LOST, "I1", run_id, f"its trigger {key} was answered, and it does not exist")
    for key in evidence.orders:
        if key not in evidence.acknowledged:
            yield Violation(LOST, "I1", "", f"the trigger {key} was never answered")
        if len(keys[key]) > 1:
            yield Violation(TWICE, "I6", "", f"the trigger {key} made {len(keys[key])} runs: {sorted(keys[key])}")
    for run_id, count in ids.items():
        if count > 1:
            yield Violation(OTHER, "I6", run_id, f"it is listed {count} times")
    for number, count in numbers.items():
        if count > 1:
            yield Violation(OTHER, "I6", "", f"{count} runs have the number {number}")
    if evidence.healed_after is None or evidence.healed_after > HEALS_WITHIN:
        took = "had not healed" if evidence.healed_after is None else f"took {evidence.healed_after:.0f} s to heal"
        yield Violation(OTHER, "I9", "", f"it {took}; {HEALS_WITHIN:g} s are allowed")
    for finding in evidence.database:
        yield Violation(OTHER, "I10", "", f"the database: {finding}")
    for complaint in evidence.complaints:
        yield Violation(OTHER, "I7", "", complaint)
    for words in evidence.left:
        yield Violation(OTHER, "I9", "", f"a process is left over: {words}")


def _marks(evidence: Evidence) -> Iterator[Violation]:
    """What the jobs say themselves (I2)."""
    known = {run.document["id"] for run in evidence.runs}
    started = Counter(mark.run_id for mark in evidence.starts)
    for run_id, count in started.items():
        if count > 1:
            yield Violation(TWICE, "I2", run_id, f"its command was started {count} times")
        if run_id not in known:
            yield Violation(LOST, "I1", run_id, "its command was started, and it does not exist")
    for run_id, count in Counter(mark.run_id for mark in evidence.ends).items():
        if count > started[run_id]:
            yield Violation(TWICE, "I2", run_id, f"its command ended {count} times and was started {started[run_id]}")


class _Run:
    """One run, and all that is known of it."""

    def __init__(
        self, evidence: Evidence, found: Found, order: Order, started: Mark | None, ended: Mark | None
    ) -> None:
        self.document = found.document
        self.found, self.task, self.started, self.ended = found, order.task, started, ended
        run_id = found.document["id"]
        self.hits = evidence.hits.get(run_id, set())
        self.wishes = [wish for wish in evidence.wishes.get(run_id, ()) if wish.outcome != "refused"]
        self.seen = evidence.seen.get(run_id)
        self.worker_log = evidence.worker_logs.get(run_id)
        self.outcome: Outcome = (found.document["status"], found.document["reason"])

    def check(self) -> Iterator[tuple[str, str, str]]:
        """(kind, invariant, sentence) of each violation."""
        if self.outcome[0] not in TERMINAL:
            yield LOST, "I1", f"it has not ended: it is {self.outcome[0]}"
            return
        yield from self._check_status()
        yield from self._check_log()
        yield from self._check_together()

    # ---- the status (I1, I2)

    def _check_status(self) -> Iterator[tuple[str, str, str]]:
        if self.outcome[0] == "cancelled" and self.started is not None:
            yield STATUS, "I2", f"it is cancelled, and its command was started by process {self.started.pid}"
        allowed = self._allowed()
        if self.outcome not in allowed:
            told = ", ".join(sorted("/".join(filter(None, one)) for one in allowed)) or "nothing"
            yield STATUS, "I1", f"it is {_words(self.outcome)}; {self._history()} explain {told}"
        elif self.ended is not None or self.outcome == ("failed", "signal"):
            yield from self._check_exit()

    def _check_exit(self) -> Iterator[tuple[str, str, str]]:
        exit_ = self.document["exit"] or {}
        told = exit_.get("signal"), exit_.get("code")
        explained: set[tuple[str | None, int | None]] = {(name, None) for name in self._signals()}
        if self.ended is not None:
            explained.add(own_exit(self.task))
        if self.outcome in (own_outcome(self.task), ("failed", "signal")) and told not in explained:
            yield STATUS, "I4", f"its exit is {exit_}; {self._history()} explain {sorted(explained, key=str)}"

    def _signals(self) -> set[str]:
        """The signals that may have ended the command, of those that we sent."""
        return {name for kind, name in map(str.split, self.hits) if kind in ("command", "child") and name in _DEADLY}

    def _allowed(self) -> set[Outcome]:
        """Every end that something explains."""
        if any(wish.outcome == "cancelled" for wish in self.wishes):
            return {("cancelled", "requested")}
        allowed: set[Outcome] = set()
        if self.ended is not None:
            allowed.add(own_outcome(self.task))
        if self.wishes:
            allowed.add(("aborted", "requested"))
            if self.started is None:
                allowed.add(("cancelled", "requested"))
        if self.hits & {"executor SIGKILL", "child SIGKILL", "child SIGTERM"}:
            allowed |= {("errored", "executor_killed"), ("errored", "start_interrupted")}
        if self._signals():
            allowed.add(("failed", "signal"))
        return allowed

    def _history(self) -> str:
        what = ["its command was started" if self.started else "its command was never started"]
        what.append("reached its end" if self.ended else "did not reach its end")
        what += sorted(self.hits) + [f"{wish.verb} ({wish.outcome or 'unanswered'})" for wish in self.wishes]
        return ", ".join(what)

    # ---- the log (I3)

    def _check_log(self) -> Iterator[tuple[str, str, str]]:
        found, log = self.found, self.document["log"]
        size = printed(self.task)
        if not found.is_prefix:
            yield LOG, "I3", f"its log of {found.size} bytes is not what the job printed"
        elif found.size != size and self.ended is not None and self._must_be_whole():
            yield LOG, "I3", f"its log has {found.size} bytes, and the job printed {size}"
        elif found.size and self.started is None:
            yield LOG, "I3", f"its log has {found.size} bytes, and its command was never started"
        if self.outcome[0] == "cancelled":
            return
        if (log["size"], log["sha256"]) != (found.size, found.sha256):
            yield LOG, "I3", f"its receipt says {log['size']} bytes, {log['sha256']}; its log is {found.size} bytes"
        if not (log["complete"] and log["verified"]):
            yield LOG, "I3", "its log is not complete and verified"
        if self.worker_log is not None and self.worker_log != (found.size, found.sha256):
            yield LOG, "I3", f"its log has {found.size} bytes, and {self.worker_log[0]} on its worker, or other ones"

    def _must_be_whole(self) -> bool:
        """The job printed all before its mark of the end; only the death of the executor can lose any of that."""
        return self.outcome[1] not in ("executor_killed", "start_interrupted")

    # ---- all at once, and for ever (I4, I6)

    def _check_together(self) -> Iterator[tuple[str, str, str]]:
        if self.document["finished_at"] is None:
            yield STATUS, "I4", "it has ended, and has no time of its end"
        if self.outcome == own_outcome(self.task) and self.document["started_at"] is None:
            yield STATUS, "I4", "its command was started, and it has no time of its start"
        yield from self._check_results()
        if self.seen is None:
            return
        if self.seen != facts(self.document):
            yield STATUS, "I6", f"it was {self.seen} when it was first shown ended, and is {facts(self.document)}"
        if not self.seen.is_complete and self.seen.status != "cancelled":
            yield LOG, "I4", "it was shown ended before its log was complete"

    def _check_results(self) -> Iterator[tuple[str, str, str]]:
        if self.found.results is None:
            return
        final, half = (job.results(self.task.key, is_final) for is_final in (True, False))
        is_whole = self.outcome == own_outcome(self.task) and self.ended is not None
        if self.found.results not in ([final] if is_whole else [final, half, {}]):
            yield OTHER, "I4", f"its results are {json.dumps(self.found.results)[:200]}"


def own_outcome(task: Task) -> Outcome:
    """How a run ends that nothing disturbs."""
    if task.signal:
        return "failed", "signal"
    return ("failed", "exit_code") if task.code else ("succeeded", None)


def own_exit(task: Task) -> tuple[str | None, int | None]:
    """(signal, code) that the service then says of its command."""
    return (signal.Signals(task.signal).name, None) if task.signal else (None, task.code)


def _words(outcome: Outcome) -> str:
    return "/".join(filter(None, outcome))
