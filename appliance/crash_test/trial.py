"""One crash test from begin to end: stage, load, storm, healing, evidence, verdict."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from appliance.crash_test import job
from appliance.crash_test.checker import check
from appliance.crash_test.evidence import Evidence, read_complaints, read_marks, read_runs, read_worker_logs
from appliance.crash_test.ledger import Ledger
from appliance.crash_test.load import LIVE, Load
from appliance.crash_test.plan import KILLED, Plan
from appliance.crash_test.report import Report
from appliance.crash_test.stage import Stage, check_space
from appliance.crash_test.storm import Storm
from appliance.model.errors import Unavailable

PATIENCE = 180.0  # seconds of healing after which what is still live is a finding
_TELL_EVERY = 5.0  # seconds
_LOOK_EVERY = 0.1  # seconds

Tell = Callable[[str], None]


def crash_test(plan: Plan, tell: Tell, *, keep: bool = False, place: Path | None = None) -> Report:
    """Do a plan in a temporary directory (below ``place``), and answer what came of it. ``tell`` hears how it goes.

    The directory is kept when there is a violation, or ``keep``. Raises Full or Unavailable when it cannot even begin.
    """
    check_space(place or Path(tempfile.gettempdir()), plan.kills)
    directory = Path(tempfile.mkdtemp(prefix="orchestra-crash-test-", dir=place))
    is_kept = keep
    try:
        report = _Trial(plan, directory, tell).play()
        is_kept = is_kept or not report.is_good
        report.directory = str(directory) if is_kept else None
        return report
    finally:
        if not is_kept:
            _remove(directory)


def _remove(directory: Path) -> None:
    """A process that was killed just now may still write."""
    for _ in range(5):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return


class _Trial:
    """The state of one test."""

    def __init__(self, plan: Plan, directory: Path, tell: Tell) -> None:
        self._plan, self._tell = plan, tell
        self._over = threading.Event()  # everything ends now
        self._ledger = Ledger()
        self._stage = Stage(directory, plan.workers, random.Random())  # noqa: S311  # a free port, no secret
        self._told_at = 0.0

    def play(self) -> Report:
        with ExitStack() as parts:
            parts.callback(self._stage.close)
            self._tell(
                f"seed {self._plan.seed}: making a server and {self._plan.workers} workers in {self._stage.directory}"
            )
            self._stage.open()
            load = Load(self._stage, self._plan.orders(), self._ledger, self._over)
            storm = Storm(self._stage, self._plan, self._ledger, self._over)
            parts.callback(load.close)
            parts.callback(storm.close)
            parts.callback(self._over.set)  # the first to be called
            load.begin()
            storm.begin()
            while not storm.is_over:
                load.check()
                self._progress(load)
                self._over.wait(_LOOK_EVERY)
            return self._judge(load, storm)

    def _progress(self, load: Load) -> None:
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._told_at = time.monotonic()
            self._tell(
                f"{self._kills} of {self._plan.kills} kills; {len(self._ledger.orders)} runs triggered, "
                f"{load.ended} seen to have ended"
            )

    @property
    def _kills(self) -> int:
        return sum(self._ledger.counts[f"kill {victim}"] for victim in KILLED)

    def _judge(self, load: Load, storm: Storm) -> Report:
        self._tell(f"{self._kills} kills done; healing")
        healed_after = self._heal(load)
        with self._stage.client() as client:
            runs = list(read_runs(client, self._tell_reading))
        self._ledger.complaints += self._stage.stop()
        left = self._left()
        evidence = Evidence(
            orders=self._ledger.orders,
            acknowledged=self._ledger.acknowledged,
            wishes=self._ledger.wishes,
            hits=self._ledger.hits,
            seen=self._ledger.seen,
            runs=runs,
            starts=read_marks(self._stage.marks / job.STARTS),
            ends=read_marks(self._stage.marks / job.ENDS),
            worker_logs=read_worker_logs(self._stage),
            database=self._stage.check_database(),
            complaints=[*self._ledger.complaints, *read_complaints(self._stage)],
            left=left,
            healed_after=healed_after,
        )
        return Report(
            seed=self._plan.seed,
            kills=self._kills,
            seconds=storm.seconds,
            faults=dict(self._ledger.counts),
            runs=len(runs),
            statuses=Counter(run.document["status"] for run in runs),
            log_bytes=sum(run.size for run in runs),
            healed_after=healed_after,
            violations=check(evidence),
        )

    def _heal(self, load: Load) -> float | None:
        """Let everything be up, and wait until no run is live; seconds, or None after PATIENCE."""
        began = time.monotonic()
        patience = threading.Timer(PATIENCE, self._over.set)
        patience.start()
        try:
            self._ledger.complaints += self._stage.heal()
            load.stop()
            while not self._over.is_set():
                with contextlib.suppress(Unavailable), self._stage.client() as client:
                    if next(client.runs(limit=1, status=LIVE), None) is None:
                        return time.monotonic() - began
                self._over.wait(_LOOK_EVERY)
        finally:
            patience.cancel()
        return None

    def _tell_reading(self, number: int) -> None:
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._told_at = time.monotonic()
            self._tell(f"comparing logs: {number} of {len(self._ledger.orders)}")

    def _left(self) -> list[str]:
        """Processes of runs that are there though all runs have ended, and stay."""
        until = time.monotonic() + 5.0  # zombies and what is just ending
        while (left := self._stage.left()) and time.monotonic() < until:
            self._over.wait(_LOOK_EVERY)
        return [f"{pid} {words[:200]}" for pid, words in left.items()]
