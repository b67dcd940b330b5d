"""Runs whose worker cannot be asked: an operator gives them up (reliability.md 4.2, F10, F25). Such an end is final."""

from __future__ import annotations

import contextlib
from typing import Literal

from appliance.db.repository import Repository
from appliance.leases import Leases
from appliance.model import run_state
from appliance.model.entities import Run
from appliance.model.errors import Conflict
from appliance.model.run_state import Reason, Status
from appliance.model.times import show_time
from appliance.model.worker_states import WorkerState
from appliance.runs import Runs
from appliance.workers import Workers

Fate = Literal["keep", "abort", "give_up"]  # of the runs of a worker whose token is taken away


class LostRuns:
    """The use cases of giving up."""

    def __init__(self, repository: Repository, runs: Runs, leases: Leases, workers: Workers) -> None:
        self._store = repository.runs
        self._runs = runs
        self._leases = leases
        self._workers = workers

    def declare(self, run_id: str, by: str) -> Run:
        """End a run whose worker is not connected as ``errored``, for the reason ``declared_lost``.

        What the worker reports later is kept beside it and changes no status. Raises NotFound, Conflict.
        """
        run = self._runs.get(run_id)
        if run.status is Status.PENDING:
            raise Conflict("the run is pending, and no worker has it: cancel it instead")
        if run.status not in run_state.LEASED:
            raise Conflict(f"the run has ended already: {run.status}")
        worker_id = run.worker_id or ""
        if self._workers.presence.is_connected(worker_id):
            raise Conflict(f"{run.worker} is connected: abort the run instead")
        heard = self._workers.last_heard(worker_id)
        since = f"last heard at {show_time(heard)}" if heard else "never heard"
        return self._end(run, Reason.DECLARED_LOST, f"declared lost by {by}; {run.worker} was {since}")

    def revoke(self, name: str, by: str, runs: Fate = "keep") -> WorkerState:
        """Take a worker's token away: it is disconnected at once, and nothing is accepted from it (F25).

        Its jobs go on there, since a mistake must not kill a release. ``runs``: ``keep`` leaves them as they are,
        ``abort`` has them aborted when it is back with a new token, ``give_up`` ends them as ``errored``, for the
        reason ``worker_revoked``. May be called again, to decide about the runs later. Raises NotFound.
        """
        worker = self._workers.revoke(name, by)
        for run, _ in self._store.leased_to(worker.id) if runs != "keep" else ():
            with contextlib.suppress(Conflict):  # it ended meanwhile
                if runs == "abort":
                    self._runs.abort(run.id, by)
                else:
                    self._end(run, Reason.WORKER_REVOKED, f"{by} gave it up with its worker {name}")
        return self._workers.named(name)

    def _end(self, run: Run, reason: Reason, sentence: str) -> Run:
        after = self._leases.end_by_evidence(run, reason, sentence)
        if (after.reason, after.sentence) != (reason, sentence):
            raise Conflict(f"the run changed meanwhile: it is {after.status}")
        return after
