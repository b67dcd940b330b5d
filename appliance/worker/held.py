"""A run directory read as the protocol wants to tell it."""

from __future__ import annotations

from appliance.wire import RESULTS_INLINE
from appliance.wire.local_runs import LocalRun, Record
from appliance.worker import rundir
from appliance.worker.rundir import RunDirectory


def read_run(directory: RunDirectory, run_id: str, *, has_secrets: bool) -> LocalRun | None:
    """The run as it is on disk now; None when there is none. ``has_secrets``: they are still here. Raises Damaged."""
    request = directory.read_object(rundir.REQUEST)
    if request is None:
        return None
    record = read_record(directory)
    started = None if record else directory.read_object(rundir.STARTED)
    is_waiting = record is None and started is None
    return LocalRun(
        run=run_id,
        cap=request["cap"],
        digest=request["digest"],
        sizes=read_sizes(directory),
        started_at=record.started_at if record else started["at"] if started else None,
        record=record,
        needs_secrets=is_waiting and bool(request["secrets"]) and not has_secrets,
        committed=directory.has(rundir.ACKED),
        results=None if record else inline_results(directory),
    )


def read_sizes(directory: RunDirectory) -> dict[int, int]:
    """Bytes of each stream that may be told now: none before the start, final after the end. Raises Damaged."""
    exit_record = directory.read_object(rundir.EXIT)
    if exit_record is not None:
        return {int(stream): size for stream, size in exit_record["sizes"].items()}
    if not directory.has(rundir.STARTED):
        return {}
    return {stream: size for stream, size in directory.sizes().items() if stream != 1}


def read_record(directory: RunDirectory) -> Record | None:
    """The exit record; None while the run has none. Raises Damaged."""
    found = directory.read_object(rundir.EXIT)
    if found is None:
        return None
    results = inline_results(directory) if found["seq"] else None
    return Record(
        status=found["status"],
        at=found["at"],
        digests={int(stream): digest for stream, digest in found["sha256"].items()},
        reason=found["reason"],
        sentence=found["sentence"],
        code=found.get("code"),
        signal=found.get("signal"),
        command=found.get("command"),
        started_at=found["started_at"],
        seq=found["seq"],
        value=results[1] if results else b"",
        notes=tuple(found["notes"]),
    )


def inline_results(directory: RunDirectory) -> tuple[int, bytes] | None:
    """(seq, JSON object) of the last results, if they fit into a message."""
    found = directory.live_results()
    return found if found is not None and len(found[1]) <= RESULTS_INLINE else None
