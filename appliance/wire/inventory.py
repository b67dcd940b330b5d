"""What a worker says that it holds, in pages that fit a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from appliance.wire import INVENTORY_PAGE, MESSAGE_LIMIT
from appliance.wire import messages as m
from appliance.wire.local_runs import Abort, LocalRun

PAGE_BYTES = MESSAGE_LIMIT - 4096  # of a page with all that is around it


def held(run: LocalRun) -> m.Held:
    """A run as the inventory lists it."""
    return m.Held(
        run=run.run,
        cap=run.cap,
        digest=run.digest,
        state="exited" if run.record else "started" if run.started_at is not None else "accepted",
        sizes=run.sizes,
        needs_secrets=run.needs_secrets,
    )


def kept(run: LocalRun) -> m.Held:
    """A committed run, as it is listed for a master that was restored: what it holds is told when it is recalled."""
    return m.Held(run=run.run, cap=run.cap, digest=run.digest, state="exited", proof=run.proof)


def aborts(runs: Mapping[str, LocalRun], resumes: Iterable[m.Resume]) -> list[Abort]:
    """What a master that resumes wants ended, of runs that have not ended yet."""
    wanted = {one.run: one.grace for one in resumes if one.abort}
    return [Abort(run=run, grace=wanted[run]) for run in wanted if run in runs and runs[run].record is None]


def pages(runs: Iterable[m.Held], used: int = 0) -> list[list[m.Held]]:
    """The runs in pages, at least one. ``used``: bytes that the first page's message has without them."""
    found: list[list[m.Held]] = [[]]
    for run in runs:
        size = len(msgspec.json.encode(run)) + 1
        if len(found[-1]) == INVENTORY_PAGE or used + size > PAGE_BYTES:
            found.append([])
            used = 0
        found[-1].append(run)
        used += size
    return found
