"""What came of a crash test, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.crash_test.checker import LOG, LOST, OTHER, STATUS, TWICE, Violation

_SHOWN = 30  # violations in the text
_PAST = {"kill": "killed", "stop": "stopped for a while", "terminate": "told to end"}
_PAST |= {
    "cut": "cut",
    "silence": "silenced",
    "dribble": "slowed to single bytes",
    "delay": "delayed",
    "refuse": "refused for a while",
}


class Report(msgspec.Struct, kw_only=True):
    """``faults``: how often each happened, as ``kill server``. ``seconds``: while faults came. ``statuses``: how many
    runs ended so. ``healed_after``: seconds; None: never. ``directory``: kept for people, or None."""

    seed: int
    kills: int
    seconds: float
    faults: Mapping[str, int]
    runs: int
    statuses: Mapping[str, int]
    log_bytes: int
    healed_after: float | None
    violations: Sequence[Violation]
    directory: str | None = None

    @property
    def is_good(self) -> bool:
        """Nothing was lost, doubled or wrong."""
        return not self.violations

    @property
    def verdict(self) -> str:
        """The line that counts."""
        counts = Counter(violation.kind for violation in self.violations)
        return ", ".join(f"{counts[kind]} {kind}" for kind in (LOST, TWICE, STATUS, LOG, OTHER))

    def lines(self) -> list[str]:
        """The report as text."""
        rate = self.kills / self.seconds if self.seconds else 0.0
        told = [f"seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s, {rate:.1f} a second"]
        told.append(f"faults: {', '.join(self._fault(name) for name in sorted(self.faults)) or 'none'}")
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        told.append(f"runs: {self.runs} with {self.log_bytes >> 20} MiB of output: {ends or 'none'}")
        if self.healed_after is not None:
            told.append(f"healed {self.healed_after:.1f} s after the last fault")
        told += [self._violation(violation) for violation in self.violations[:_SHOWN]]
        if (more := len(self.violations) - _SHOWN) > 0:
            told.append(f"... and {more} more violations, which --json shows")
        told.append(self.verdict)
        if self.directory is not None:
            told.append(f"everything was kept in {self.directory}")
        return told

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        names = {LOST: "lost", TWICE: "started_twice", STATUS: "wrong_statuses", LOG: "logs_differ", OTHER: "other"}
        counts = Counter(violation.kind for violation in self.violations)
        return {
            "is_good": self.is_good,
            **{name: counts[kind] for kind, name in names.items()},
            "seed": self.seed,
            "kills": self.kills,
            "seconds": round(self.seconds, 1),
            "healed_after": None if self.healed_after is None else round(self.healed_after, 1),
            "faults": dict(sorted(self.faults.items())),
            "runs": self.runs,
            "statuses": dict(sorted(self.statuses.items())),
            "log_bytes": self.log_bytes,
            "violations": [violation._asdict() for violation in self.violations],
            "directory": self.directory,
        }

    def _fault(self, name: str) -> str:
        how, _, victim = name.partition(" ")
        count = self.faults[name]
        return f"{count} {victim}{'' if count == 1 else 's'} {_PAST[how]}"

    def _violation(self, violation: Violation) -> str:
        where = f"run {violation.run_id}: " if violation.run_id else ""
        return f"{violation.invariant} {violation.kind}: {where}{violation.sentence}"
