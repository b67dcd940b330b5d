"""Runs that only a worker still knows, brought back into a database that was restored from an older backup (F24).

A worker proves with the cap of a run that this appliance gave it the run, and the cap signs the exact request, so that
nothing about the run can be made up: number, parameters and source are as they were.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from appliance.clock import Clock
from appliance.db.lineage import LOST_LIFE
from appliance.db.repository import Repository
from appliance.exit_records import awaits_report
from appliance.leases import Assignment, Holder, Leases
from appliance.model import caps, run_state
from appliance.model.entities import Lease, NewRun, Run
from appliance.model.errors import Forbidden, Invalid
from appliance.model.requests import read_back
from appliance.model.run_state import IllegalTransition, Reason, Status
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.wire import messages as m

_log = logging.getLogger(__name__)


class Recalls:
    """The use case of a run that comes back."""

    def __init__(
        self, repository: Repository, runs: Runs, leases: Leases, recoveries: Recoveries, clock: Clock, key: bytes
    ) -> None:
        """``key`` is the one that signed the assignments."""
        self._store = repository.runs
        self._lineage = repository.lineage
        self._runs = runs
        self._leases = leases
        self._recoveries = recoveries
        self._clock = clock
        self._key = key

    def begin_if_older(self, holder: Holder, hello: m.Hello, held: Sequence[m.Held]) -> bool:
        """Whether this worker must tell all that it holds, because the database is older than what it knows.

        The first sign of that begins a recovery: that is how one begins without ``orchestra restore``, for example
        after the file was copied back, or the machine went back to a snapshot. A sign is what only a newer database can
        have given: a worker that made one up would hold up all. To be called before the worker's journal is stored.
        Raises Forbidden when it shows a life of the master that never was.
        """
        is_lost = self._knows_a_lost_life(holder, hello)
        why = f"worker {holder.name} knows a life of the server that the database does not" if is_lost else None
        if not self._recoveries.awaits(holder.worker_id):
            why = why or self._sign(holder, hello, held)
            if why is None:
                return False
            self._recoveries.begin(why)
        if is_lost and hello.incarnation is not None:
            self._lineage.lose(hello.incarnation)  # it has begun its recovery, and begins no other
        return True

    def _knows_a_lost_life(self, holder: Holder, hello: m.Hello) -> bool:
        """Whether the worker was connected to a life of this master of which the database knows nothing.

        Raises Forbidden when it shows a life that never was, for it could hold up everybody with such.
        """
        if hello.incarnation is None:
            return False
        epoch = self._lineage.epoch_of(hello.incarnation)
        is_ours = epoch in (hello.epoch, LOST_LIFE) or (
            epoch is None and caps.is_incarnation(self._key, hello.incarnation)
        )
        if not is_ours:
            self._leases.refuse(holder, hello.incarnation, "shows a life of the server that never was")
            raise Forbidden(
                "the worker was connected to another server, or to this one when it had another master.key: its data "
                "directory is kept as it is. Put the old master.key back, or move the directory away and join again"
            )
        return epoch is None

    def _sign(self, holder: Holder, hello: m.Hello, held: Sequence[m.Held]) -> str | None:
        """What else shows that the database is older; None: nothing does.

        Within one life runs show it: that one has ended which has not (only who was told so has the proof), and that
        one is given away which waits. Nothing deletes runs here yet: what will must leave word.
        """
        last = hello.last
        if last is not None and self._lacks(holder, last, run_state.LIVE) and self._was_told(holder, last):
            return f"worker {holder.name} was told that run {last.run} is stored, which it is not"
        for item in held:
            if self._lacks(holder, item, frozenset({Status.PENDING})):
                if not self._lineage.came_back(item.run, item.cap):
                    return f"worker {holder.name} was given run {item.run}, of which the database knows nothing"
                self._leases.refuse(holder, item.run, "listed a run that it had given back")
        return None

    def _lacks(self, holder: Holder, item: m.Held, statuses: frozenset[Status]) -> bool:
        """Whether a run of ours is not here, or in a status that it had left long ago."""
        run = self._store.get(item.run)
        if run is not None and run.status not in statuses:
            return False
        return self.is_ours(holder, item) and not self._recoveries.could_not(item.run)

    def proof(self, holder: Holder, run_id: str) -> str:
        """What goes with the word that the end of the run is stored: a worker can show it to an older database."""
        return caps.make_proof(self._key, run_id, holder.worker_id, holder.journal_id)

    def _was_told(self, holder: Holder, item: m.Held) -> bool:
        return item.proof is not None and caps.is_proof(
            self._key, item.proof, item.run, holder.worker_id, holder.journal_id
        )

    def is_ours(self, holder: Holder, item: m.Held) -> bool:
        """Whether this appliance gave the run to this worker and journal."""
        return caps.is_cap(self._key, item.cap, item.run, holder.worker_id, holder.journal_id, item.digest)

    def wants(self, holder: Holder, item: m.Held) -> bool:
        """Whether the worker must say the request of this run again, which it holds and the master lacks.

        False for a run whose end is known, unless it was ended without its worker: then this is its report (4.4). What
        may not be said is refused, and what cannot be solved is counted.
        """
        run = self._store.get(item.run)
        is_over = run is not None and run.status in run_state.TERMINAL
        if run is not None and is_over and not awaits_report(run):
            return False
        if not self.is_ours(holder, item):
            self._leases.refuse(holder, item.run, "listed a run without a valid cap")
            return False
        lease = None if run is None else self._store.lease(run.id)
        if run is None or (lease is not None and self._leases.is_of(lease, holder)):
            return True
        if is_over:
            return False
        if lease is None or self._is_old_plan(run, lease):
            return True
        _log.error("run %s is with %s, and %s has it too: its copy is left there", run.id, run.worker, holder.name)
        return False

    def take(self, holder: Holder, item: m.Held, request: str, epoch: int, slot: int) -> m.Resume | None:
        """Bring a recalled run back; answers from where the worker tells it. None: it cannot be brought back.

        ``item`` is what ``wants`` has found good. ``epoch``: the last life of the master that the worker knew.
        """
        if caps.request_digest(request) != item.digest:  # public: the digest is no secret, the cap signs it
            self._leases.refuse(holder, item.run, "changed the request of a run")
            return None
        lease = self._new_lease(holder, item, request, epoch, slot)
        known = self._store.get(item.run)
        if known is not None and known.status in run_state.TERMINAL:
            return m.Resume(run=known.id, sizes=self._leases.sizes(known))
        try:
            run = self._adopt(holder, lease)
        except (IllegalTransition, Invalid) as error:
            _log.error("run %s of worker %s cannot be brought back: %s", item.run, holder.name, error)
            return None
        self._recoveries.count(run.id, is_recovered=True)
        self._leases.remember(lease, run)
        return m.Resume(run=run.id, sizes=self._leases.sizes(run), abort=run.should_abort)

    def fail(self, holder: Holder, item: m.Held) -> None:
        """The run cannot be brought back: its worker keeps what it has for the operator.

        If it waits here it ends: the worker has proved that it was given the run, so it may have been executed (I2).
        """
        self._recoveries.count(item.run, is_recovered=False)
        run = self._store.get(item.run)
        if run is None or run.status not in (Status.PENDING, Status.ASSIGNED):
            return
        lease = self._store.lease(item.run)
        is_of = lease is not None and self._leases.is_of(lease, holder)
        if lease is not None and not is_of and not self._is_old_plan(run, lease):
            return
        try:
            if not is_of:
                run = self._lease(holder, run, self._new_lease(holder, item, "", 0, 0))
            sentence = f"{holder.name} was given the run after the backup and cannot tell it; how it went is not known"
            self._leases.end_by_evidence(run, Reason.WORKER_RESET, sentence)
        except IllegalTransition:
            _log.info("run %s changed while %s told what it has", item.run, holder.name)

    def assignment(self, run_id: str) -> Assignment | None:
        """What a worker that has lost the secrets of a recalled run is sent again; None when there is nothing."""
        run, lease = self._runs.get(run_id), self._store.lease(run_id)
        if lease is None or run.status is not Status.RUNNING or run.should_abort:
            return None
        return Assignment(run=run, lease=lease)

    def _is_old_plan(self, run: Run, lease: Lease) -> bool:
        """Whether the assignment is one of the backup: its worker is not given anything before it has told all."""
        return run.status is Status.ASSIGNED and self._recoveries.awaits(lease.worker_id)

    def _lease(self, holder: Holder, run: Run, lease: Lease) -> Run:
        """The run as assigned to this worker, whatever was planned before."""
        if run.status is Status.ASSIGNED:
            self._leases.take_back(run.id, is_moved=True)  # the backup's plan: it came otherwise
        return self._runs.advance(
            run.id,
            run_state.Assign(at=run.created_at),
            store=lambda new, version: self._store.grant(new, lease, version),
            change=lambda _: {"worker_id": lease.worker_id, "worker": holder.name, "slot": lease.slot},
        )

    def _new_lease(self, holder: Holder, item: m.Held, request: str, epoch: int, slot: int) -> Lease:
        return Lease(
            run_id=item.run,
            worker_id=holder.worker_id,
            journal_id=holder.journal_id,
            epoch=epoch,
            slot=slot,
            cap=item.cap,
            request=request,
            granted_at=self._clock.now(),
        )

    def _adopt(self, holder: Holder, lease: Lease) -> Run:
        """The run as running on this worker, new or as it is here already."""
        notes: tuple[str, ...] = (f"recovered: {holder.name} told it again after the server's restore from a backup",)
        run = self._store.get(lease.run_id)
        if run is None:
            run, moved = self._create(holder, lease)
            notes += moved
        known = self._store.lease(lease.run_id)
        # Another cap of the same worker: it was given the run with another request than the backup's.
        if known is None or not self._leases.is_of(known, holder) or known.cap != lease.cap:  # public: both are here
            run = self._lease(holder, run, lease)

        def change(run: Run) -> dict[str, Any]:
            return {
                "recovered": True,
                "accepted_at": run.accepted_at or run.created_at,  # nobody knows any more
                "should_cancel": False,
                "should_abort": run.should_abort or run.should_cancel,
                "notes": (*run.notes, *(note for note in notes if note not in run.notes)),
            }

        return self._runs.advance(run.id, _to_running, change=change)

    def _create(self, holder: Holder, lease: Lease) -> tuple[Run, tuple[str, ...]]:
        new, number = read_back(lease.request)
        if new.id != lease.run_id:
            raise Invalid("the request is of another run")
        fields = {name: getattr(new, name) for name in NewRun.__struct_fields__}
        run = Run(
            number=number,
            status=Status.ASSIGNED,
            assigned_at=new.created_at,
            worker_id=lease.worker_id,
            worker=holder.name,
            slot=lease.slot,
            recovered=True,
            **fields,
        )
        stored = self._store.recover(run, lease)
        if stored is None:
            return self._runs.get(lease.run_id), ()
        if stored.number == number:
            return stored, ()
        return stored, (f"it was number {number}, which a newer run has since the database was restored",)


def _to_running(run: Run) -> tuple[run_state.Event, ...]:
    if run.status is Status.ASSIGNED:
        return (run_state.Accept(),)
    return (run_state.Find(),) if run.status is Status.LOST else ()
