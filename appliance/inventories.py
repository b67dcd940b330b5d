"""A worker's inventory, merged with what the master knows when the worker connects (journey B; 5.2 steps 2 to 6)."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection, Iterable, Sequence

import msgspec

from appliance.clock import Clock
from appliance.db.logs import LogStore
from appliance.db.repository import Repository
from appliance.leases import Assignment, Holder, Leases
from appliance.model import caps, run_state
from appliance.model.entities import Lease, Run
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.recalls import Recalls
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.wire import messages as m
from appliance.wire.master_end import Merged

_log = logging.getLogger(__name__)

DELAY = 30.0  # seconds that a busy server may take to look at a hello


class Merge(msgspec.Struct, frozen=True):
    """What came of an inventory: the welcome's content, what must be assigned again, and the slots in use by run.

    ``intents``: runs of which something is wanted. ``recall``: runs that a restored database lacks (F24).
    """

    merged: Merged
    again: tuple[Assignment, ...]
    slots: dict[str, int]
    intents: tuple[Run, ...]
    recall: tuple[m.Held, ...] = ()


class Inventories:
    """The use case of a worker that comes back."""

    def __init__(
        self,
        repository: Repository,
        runs: Runs,
        leases: Leases,
        logs: LogStore,
        clock: Clock,
        key: bytes,
        recoveries: Recoveries,
    ) -> None:
        """``key`` is the one that signed the assignments."""
        self.recalls = Recalls(repository, runs, leases, recoveries, clock, key)
        self._recoveries = recoveries
        self._store = repository.runs
        self._runs = runs
        self._leases = leases
        self._logs = logs
        self._clock = clock
        self._key = key

    def reconcile(
        self, holder: Holder, held: Sequence[m.Held], *, takes_work: bool, is_recovering: bool = False
    ) -> Merge:
        """Merge a worker's inventory with what the master knows of it (5.2 steps 2 to 6).

        ``is_recovering``: the worker is still to tell which committed runs it keeps; then call ``finish`` (F24).
        """
        leased = {run.id: (run, lease) for run, lease in self._store.leased_to(holder.worker_id)}
        resume: list[m.Resume] = []
        forget: list[str] = []
        unknown: list[str] = []
        slots: dict[str, int] = {}
        intents: list[Run] = []
        recall: list[m.Held] = []
        again: list[Assignment] = []
        for item in held:
            run, lease = leased.pop(item.run, (None, None))
            if is_recovering and (run is None or lease is None) and self._is_lacking(item.run):
                if self.recalls.wants(holder, item):
                    recall.append(item)
                else:
                    unknown.append(item.run)
            elif run is None or lease is None:
                self._merge_other(holder, item, resume, forget, unknown)
            elif is_recovering and self._is_other_gift(holder, run, lease, item):
                recall.append(item)
            elif not self._leases.is_of(lease, holder) or not hmac.compare_digest(lease.cap, item.cap):
                self._leases.refuse(holder, item.run, "listed a run of another journal")
                unknown.append(item.run)
            else:
                run = self._merge_live(run, item.state)
                resume.append(self._resume(run, lease))
                slots[run.id] = lease.slot
                if run.should_abort or run.should_cancel:
                    intents.append(run)
                elif item.needs_secrets and run.status is Status.RUNNING:
                    again.append(Assignment(run=run, lease=lease))  # its machine restarted before it began (5.4)
        if not is_recovering:
            again += self._merge_missing(holder, leased.values(), takes_work)
        slots |= {one.run.id: one.lease.slot for one in again}
        merged = Merged(resume=tuple(resume), forget=tuple(forget), unknown=tuple(unknown), reconcile=is_recovering)
        return Merge(merged=merged, again=tuple(again), slots=slots, intents=tuple(intents), recall=tuple(recall))

    def finish(self, holder: Holder, listed: Collection[str], complete_since: float, note: str = "") -> None:
        """The worker has told all that it holds, which are these runs (F24). It may be given new ones after this.

        Runs that the backup thinks are with it and that it does not have: what was only assigned was given back or
        never came, and waits with the others of the backup; the rest ends, for nobody can know how it went.
        ``complete_since`` is what the worker's hello says.
        """
        missing = [pair for pair in self._store.leased_to(holder.worker_id) if pair[0].id not in listed]
        self._merge_missing(holder, missing, takes_work=False)
        for run, lease in missing:
            if run.status is not Status.ASSIGNED and self._leases.is_of(lease, holder):
                self._recoveries.count(run.id, is_recovered=False)
        # A hello that came late looks like a clock that is a little behind.
        offset = 0.0 if -DELAY < holder.clock_offset < 0 else holder.clock_offset
        self._recoveries.merged(holder.worker_id, holder.journal_id, complete_since - offset, note)

    def _is_other_gift(self, holder: Holder, run: Run, lease: Lease, item: m.Held) -> bool:
        """Whether the worker was given the run again after the backup, with another request than the backup's."""
        is_other = not hmac.compare_digest(lease.cap, item.cap)
        return is_other and run.status is Status.ASSIGNED and self.recalls.wants(holder, item)

    def _is_lacking(self, run_id: str) -> bool:
        """Whether a run is not here, or has not ended here."""
        run = self._store.get(run_id)
        return run is None or run.status in run_state.LIVE

    def reset(self, worker_id: str, journal_id: str) -> None:
        """The worker came with a new journal: what was leased to its old one ends, for nobody can know how (F26).

        What a backup planned to give to the old one waits on: another worker may have got it since (F24).
        """
        for run, lease in self._store.leased_to(worker_id):
            if lease.journal_id == journal_id:
                continue
            if run.status is Status.ASSIGNED and self._recoveries.holds(run.id):
                self._leases.take_back(run.id)
            else:
                self._leases.end_by_evidence(
                    run, Reason.WORKER_RESET, f"{run.worker} lost its journal; how the run went is not known"
                )

    def _merge_other(
        self, holder: Holder, item: m.Held, resume: list[m.Resume], forget: list[str], unknown: list[str]
    ) -> None:
        """A listed run that is not live here: ended already, deleted, or never ours."""
        if not caps.is_cap(self._key, item.cap, item.run, holder.worker_id, holder.journal_id, item.digest):
            self._leases.refuse(holder, item.run, "listed a run without a valid cap")
            unknown.append(item.run)
            return
        lease = self._store.lease(item.run)
        if lease is None and (self._store.get(item.run) is not None or self._recoveries.could_not(item.run)):
            unknown.append(item.run)  # it had given it back, or it could not be brought back: for the operator
        elif lease is None:
            forget.append(item.run)  # ours once, deleted here since
        elif self._leases.is_of(lease, holder):
            resume.append(
                self._resume(self._runs.get(item.run), lease)
            )  # it says ``exited`` again, and is told committed
        else:
            unknown.append(item.run)

    def _merge_live(self, run: Run, state: str) -> Run:
        try:
            if run.status is Status.ASSIGNED:
                run = self._leases.accept(run.id)
            elif run.status is Status.LOST and state != "exited":
                run = self._leases.find(run.id)
        except IllegalTransition:
            run = self._runs.get(run.id)
        return run

    def _merge_missing(
        self, holder: Holder, missing: Iterable[tuple[Run, Lease]], takes_work: bool
    ) -> tuple[Assignment, ...]:
        """Runs leased to this worker that its inventory does not list."""
        again: list[Assignment] = []
        for run, lease in missing:
            if not self._leases.is_of(lease, holder):
                continue  # of an older journal; ``reset`` ends those
            try:
                if run.status is Status.ASSIGNED and takes_work and not (run.should_cancel or run.should_abort):
                    self._leases.remember(lease, run)
                    again.append(Assignment(run=run, lease=lease))
                elif run.status is Status.ASSIGNED:
                    self._leases.take_back(run.id)
                elif run.accepted_at is None:
                    self._leases.end_by_evidence(
                        run, Reason.WORKER_LOST, f"{run.worker} was lost before the run began; it was never started"
                    )
                else:
                    self._leases.end_by_evidence(
                        run, Reason.WORKER_RESET, f"{run.worker} no longer has the run; how it went is not known"
                    )
            except IllegalTransition:
                _log.info("run %s changed while its worker came back", run.id)
        return tuple(again)

    def _resume(self, run: Run, lease: Lease) -> m.Resume:
        self._leases.remember(lease, run)
        is_live = run.status in run_state.LEASED
        return m.Resume(run=run.id, sizes=self._leases.sizes(run), abort=is_live and run.should_abort)
