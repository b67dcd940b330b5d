"""A master that was restored from a backup, and what there was before: two places that are twins.

Their workers and keys are the same. The ``later`` one is what there was before the restore, the ``place`` under test is
the backup.
"""

from __future__ import annotations

from typing import Any

from appliance.master.conversation import Conversation
from appliance.model.caps import make_proof
from appliance.model.entities import Lease, Recovery, Run, Worker
from appliance.wire import frames
from appliance.wire import messages as m
from tests.lease_place import JOURNAL, KEY, Ear, Place

OTHER_JOURNAL = "9" * 32


class Twins:
    """Two workers, known to both places. What ``later`` does happened after the backup."""

    def __init__(self) -> None:
        self.later, self.place = Place(), Place()
        self.w1, self.w2 = (self.later.worker("w1"), self.later.worker("w2", OTHER_JOURNAL))
        assert (self.w1.id, self.w2.id) == (self.place.worker("w1").id, self.place.worker("w2", OTHER_JOURNAL).id)

    def both(self, do: Any) -> Run:
        """What happened before the backup: the same in both places."""
        later, here = do(self.later), do(self.place)
        assert later.id == here.id
        return here

    def finished(self, worker: Worker, run: Run | None = None) -> Run:
        """A run of the time after the backup that has ended and is committed."""
        given = self.later.assign(worker, run)
        self.later.leases.accepted(self.later.holder(worker), given.id)
        return self.later.end(worker, given)

    def kept(self, run: Run) -> m.Held:
        lease = self.lease(run)
        proof = make_proof(KEY, run.id, lease.worker_id, lease.journal_id)
        return m.Held(run=run.id, cap=lease.cap, digest=self.later.digests[run.id], state="exited", proof=proof)

    def lease(self, run: Run) -> Lease:
        lease = self.later.repository.runs.lease(run.id)
        assert lease is not None
        return lease

    def request(self, run: Run) -> str:
        """What the worker was asked: it keeps the text, whatever the master does."""
        return self.later.requests[run.id]

    def connect(self, worker: Worker, *held: m.Held, **hello: Any) -> Talk:
        journal = JOURNAL if worker.name == "w1" else OTHER_JOURNAL
        return Talk(self.place, worker, self, *held, **{"journal": journal, "recalls": True, **hello})


class Talk:
    """One connection of a worker to the restored master."""

    def __init__(self, place: Place, worker: Worker, twins: Twins, *held: m.Held, **hello: Any) -> None:
        self.twins = twins
        self.conversation: Conversation
        self.ear: Ear
        self.conversation, self.ear, self.welcomes = place.connect(worker, *held, **hello)

    @property
    def recalled(self) -> list[str]:
        """Runs that were asked for."""
        return [one.run for one in self.ear.heard(m.Recall)]

    @property
    def resumed(self) -> list[m.Resume]:
        return [resume for page in self.ear.heard(m.ResumePage) for resume in page.resume]

    def keeps(self, *kept: m.Held, more: bool = False) -> None:
        self.conversation.take(m.InventoryPage(id=5, runs=list(kept), more=more))

    def tells(self, run: Run, request: str | None = None) -> None:
        self.conversation.take(m.Recalled(id=6, run=run.id, request=request or self.twins.request(run)))

    def lacks(self, run: Run) -> None:
        self.conversation.take(m.Unknown(id=6, run=run.id))

    def ends(self, run: Run, output: bytes = b"") -> None:
        if output:
            self.conversation.take(frames.Data(run=run.id, stream=0, offset=0, payload=output))
        self.conversation.take(self.twins.later.exited(run, output))


def newest(place: Place) -> Recovery:
    found = place.recoveries.newest()
    assert found is not None
    return found
