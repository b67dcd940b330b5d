"""A run directory read as the protocol wants to tell it."""

from __future__ import annotations

import contextlib
import os
from typing import Literal, TypeVar

import msgspec

from appliance.wire import RESULTS_INLINE
from appliance.wire.local_runs import LocalRun, Record
from appliance.worker import rundir
from appliance.worker.rundir import Damaged, RunDirectory

_File = TypeVar("_File", bound=msgspec.Struct)


class _Request(msgspec.Struct):
    cap: str
    digest: str
    secrets: list[str]


class _Started(msgspec.Struct):
    at: float


class _Acked(msgspec.Struct):
    at: float
    proof: str | None = None


class _Exit(msgspec.Struct):
    status: Literal["succeeded", "failed", "errored", "aborted"]
    at: float
    sizes: dict[int, int]
    sha256: dict[int, str]
    seq: int
    reason: str | None = None
    sentence: str = ""
    notes: list[str] = []
    started_at: float | None = None
    code: int | None = None
    signal: str | None = None
    command: str | None = None


def read_run(directory: RunDirectory, run_id: str, *, has_secrets: bool) -> LocalRun | None:
    """The run as it is on disk now; None when there is none. ``has_secrets``: they are still here. Raises Damaged."""
    request = _read(directory, rundir.REQUEST, _Request)
    if request is None:
        return None
    record = read_record(directory)
    started = None if record else _read(directory, rundir.STARTED, _Started)
    is_waiting = record is None and started is None
    is_committed = record is not None and directory.has(rundir.ACKED)
    acked = _read_acked(directory) if is_committed else None
    return LocalRun(
        run=run_id,
        cap=request.cap,
        digest=request.digest,
        sizes=read_sizes(directory),
        started_at=record.started_at if record else started.at if started else None,
        record=record,
        needs_secrets=is_waiting and bool(request.secrets) and not has_secrets,
        committed=is_committed,
        committed_at=acked.at if acked else 0.0,
        proof=acked.proof if acked else None,
        results=None if record else inline_results(directory),
    )


def read_sizes(directory: RunDirectory) -> dict[int, int]:
    """Bytes of each stream that may be told now: none before the start, final after the end. Raises Damaged."""
    found = _read_exit(directory)
    if found is not None:
        return dict(found.sizes)
    if not directory.has(rundir.STARTED):
        return {}
    return {stream: size for stream, size in directory.sizes().items() if stream != 1}


def read_record(directory: RunDirectory) -> Record | None:
    """The exit record; None while the run has none. Raises Damaged."""
    found = _read_exit(directory)
    if found is None:
        return None
    results = inline_results(directory) if found.seq else None
    return Record(
        status=found.status,
        at=found.at,
        digests=dict(found.sha256),
        reason=found.reason,
        sentence=found.sentence,
        code=found.code,
        signal=found.signal,
        command=found.command,
        started_at=found.started_at,
        seq=found.seq,
        value=results[1] if results else b"",
        notes=tuple(found.notes),
    )


def _read_acked(directory: RunDirectory) -> _Acked | None:
    try:
        return _read(directory, rundir.ACKED, _Acked)
    except Damaged:
        return None  # a power loss has left it empty: that it is there is what counts


def acked_at(directory: RunDirectory) -> float | None:
    """When the master's word came that it has the end (seconds since 1970); None: not yet. Raises OSError."""
    found = _read_acked(directory)
    if found is not None:
        return found.at
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(directory.file(rundir.ACKED)).st_mtime
    return None


def inline_results(directory: RunDirectory) -> tuple[int, bytes] | None:
    """(seq, JSON object) of the last results, if they fit into a message."""
    found = directory.live_results()
    return found if found is not None and len(found[1]) <= RESULTS_INLINE else None


def _read_exit(directory: RunDirectory) -> _Exit | None:
    return _read(directory, rundir.EXIT, _Exit)


def _read(directory: RunDirectory, name: str, kind: type[_File]) -> _File | None:
    """One of our files, checked: its job could write to it (J07). Raises Damaged."""
    found = directory.read_object(name)
    if found is None:
        return None
    try:
        return msgspec.convert(found, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise Damaged(f"{directory.file(name)} is damaged: {error}") from None
