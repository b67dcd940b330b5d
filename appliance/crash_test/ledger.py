"""What the test itself did and was told, noted by many threads."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, NamedTuple

from appliance.crash_test.plan import Order


class Wish(NamedTuple):
    """That a run be cancelled or aborted. ``outcome``: as the service answered; None when no answer came."""

    verb: str
    outcome: str | None


class Facts(NamedTuple):
    """What of a run that has ended can never change again (I4, I6)."""

    status: str
    reason: str | None
    finished_at: str | None
    started_at: str | None
    exit: str
    size: int
    sha256: str | None
    is_complete: bool


def facts(document: dict[str, Any]) -> Facts:
    """Of the service's document of a run."""
    log = document["log"]
    return Facts(
        status=document["status"],
        reason=document["reason"],
        finished_at=document["finished_at"],
        started_at=document["started_at"],
        exit=repr(sorted((document["exit"] or {}).items())),
        size=log["size"],
        sha256=log["sha256"],
        is_complete=log["complete"],
    )


class Ledger:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.orders: dict[str, Order] = {}
        self.acknowledged: dict[str, str] = {}
        self.wishes: dict[str, list[Wish]] = {}
        self.hits: dict[str, set[str]] = {}
        self.spared: set[str] = set()
        self.seen: dict[str, Facts] = {}
        self.complaints: list[str] = []
        self.counts: Counter[str] = Counter()

    def ordered(self, order: Order) -> None:
        """A run is about to be triggered."""
        with self._lock:
            self.orders[order.task.key] = order

    def acknowledge(self, key: str, run_id: str) -> None:
        """The trigger was answered with 2xx: from here on the run exists (I1)."""
        with self._lock:
            first = self.acknowledged.setdefault(key, run_id)
            if self.orders[key].is_spared:
                self.spared.add(run_id)
            if first != run_id:
                self.complaints.append(f"the trigger {key} was answered with run {first}, and later with {run_id}")

    def wish(self, run_id: str, verb: str, outcome: str | None) -> None:
        """An abort or cancel was asked."""
        with self._lock:
            self.wishes.setdefault(run_id, []).append(Wish(verb, outcome))

    def hit(self, run_id: str, kind: str) -> None:
        """A process of a run is about to get a signal. ``kind``: who, and the signal: ``executor SIGKILL``."""
        with self._lock:
            self.hits.setdefault(run_id, set()).add(kind)

    def see(self, document: dict[str, Any]) -> None:
        """The service showed a run that has ended. The first sight is kept, and compared with the last."""
        now = facts(document)
        with self._lock:
            before = self.seen.setdefault(document["id"], now)
            if before != now:
                self.complaints.append(f"run {document['id']} changed after its end: {before}, then {now}")

    def count(self, kind: str, number: int = 1) -> None:
        """A fault happened."""
        with self._lock:
            self.counts[kind] += number

    def complain(self, sentence: str) -> None:
        """Something happened that never should."""
        with self._lock:
            self.complaints.append(sentence)
