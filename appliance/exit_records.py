"""A worker's exit record: whether the streams agree with it, and what it says, as facts (I3, I4).

That of a run which had been ended without it (a late report) is looked at in the same way, over streams of its own.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from appliance.db.logs import LogStore
from appliance.model import documents, run_state
from appliance.model.entities import Exit, Receipt, Run, StreamRecord
from appliance.model.errors import Invalid
from appliance.model.run_state import Reason, Status
from appliance.wire import NOTES, OUTPUT, RESULTS, RESULTS_LIMIT
from appliance.wire import messages as m

OUTPUT_LIMIT = 64 << 30  # bytes of output the master takes from one run, whatever its job says
PIECE = 1 << 20  # bytes read at once
STREAM_LIMITS = {OUTPUT: OUTPUT_LIMIT, RESULTS: RESULTS_LIMIT, NOTES: 256 << 20}
LATE = 1 << 14  # the streams of a late report stand beside the run's own, so many numbers higher
_REASONS = frozenset(Reason)


class Settled(msgspec.Struct, frozen=True):
    """Streams that are whole and durable here. ``agree``: digests are equal, or the worker has the beginning of ours.

    ``ahead``: bytes we have and the worker did not keep (F07). ``streams`` and their numbers are as on disk.
    """

    streams: tuple[StreamRecord, ...]
    agree: bool
    ahead: int
    output: StreamRecord | None


class Said(msgspec.Struct, frozen=True):
    """What the record says. ``notes`` say also what is wrong with it."""

    status: Status
    reason: Reason | None
    sentence: str
    exit: Exit | None
    receipt: Receipt
    notes: tuple[str, ...]


def settle(logs: LogStore, record: m.Exited, *, may_restart: bool, shift: int = 0) -> Settled | m.Nack:
    """Make the streams durable and compare them with the record; or what the worker must send again.

    A digest that differs is sent again from 0, if ``may_restart`` (F39). ``shift``: what the numbers of the streams on
    disk are higher than the worker's.
    """
    run_id = record.run
    sizes = {stream: record.sizes.get(stream, 0) for stream in (*record.sizes, *STREAM_LIMITS)}
    have = {stream: logs.size(run_id, shift + stream) for stream in sizes}
    if any(have[stream] < size for stream, size in sizes.items()):
        return m.Nack(id=0, run=run_id, sizes={stream: have[stream] for stream in record.sizes})
    synced = logs.sync_run(run_id, [shift + stream for stream, size in have.items() if size])
    differ = []
    for one in synced:
        stream = one.stream - shift
        if not _agrees(logs, one, sizes[stream], record.digests.get(stream)):
            differ.append(one)
    if differ and may_restart:
        for one in differ:
            logs.restart(run_id, one.stream)
        return m.Nack(id=0, run=run_id, sizes=dict.fromkeys(record.sizes, 0), restart=True)
    return Settled(
        streams=tuple(synced),
        agree=not differ,
        ahead=sum(one.size - record.sizes.get(one.stream - shift, 0) for one in synced),
        output=next((one for one in synced if one.stream - shift == OUTPUT), None),
    )


def read(record: m.Exited, settled: Settled) -> Said:
    """The record as facts. What is no fact becomes ``errored`` for the reason ``protocol_error``, with a note."""
    notes = [printable(note) for note in record.notes]
    if not settled.agree:
        notes.append("log_mismatch: the digests of worker and master differ; both are kept")
    elif settled.ahead:
        notes.append(f"log_ahead: the server had {settled.ahead} bytes more than the worker kept; they stay")
    status = Status(record.status)
    said = record.reason or None
    reason = Reason(said) if said in _REASONS else None
    if reason != said or not run_state.fits(status, reason):
        notes.append(f"the worker said {record.status} for the reason {record.reason!r}, which is not one")
        status, reason = Status.ERRORED, Reason.PROTOCOL_ERROR
    has_exit = record.code is not None or record.signal is not None
    return Said(
        status=status,
        reason=reason,
        sentence=printable(record.sentence),
        exit=Exit(code=record.code, signal=record.signal, command=record.command) if has_exit else None,
        receipt=Receipt(
            size=settled.output.size if settled.output else 0,
            sha256=settled.output.sha256 if settled.output else record.digests.get(OUTPUT),
            complete=True,
            verified=settled.agree and not settled.ahead,
        ),
        notes=tuple(notes),
    )


def awaits_report(run: Run) -> bool:
    """Whether the run was ended without its worker's record, which is kept if it comes (4.4)."""
    return run.status in run_state.OUTCOMES and not run.log.complete


def results_of(raw: bytes) -> str:
    """Results as canonical text. Raises Invalid when they are not a JSON object within the limits."""
    value = documents.strict_json(raw, RESULTS_LIMIT)
    if not isinstance(value, dict):
        raise Invalid("results must be a JSON object")
    return documents.canonical(value)


def stamp(at: float, clock_offset: float, now: datetime) -> datetime:
    """A worker's stamp on our clock, in whole milliseconds, never in the future; nonsense becomes now (F23)."""
    try:
        found = datetime.fromtimestamp(round(at, 3), UTC) - timedelta(seconds=clock_offset)
    except (ValueError, OverflowError, OSError):
        return now
    return min(found.replace(microsecond=found.microsecond // 1000 * 1000), now)


def printable(text: str) -> str:
    """A worker's words as people may see them on a terminal or a page (S-16)."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _agrees(logs: LogStore, have: StreamRecord, size: int, digest: str | None) -> bool:
    """Whether what the worker has of a stream is what we have, or the beginning of it (F07).

    A worker whose machine went down may have kept less than it had sent; then ours is the stream.
    """
    if have.size == size:
        return have.sha256 == digest  # public: digests of a log, a receipt and no proof
    prefix = hashlib.sha256()
    for offset in range(0, size, PIECE):
        prefix.update(logs.read(have.run_id, have.stream, offset, min(PIECE, size - offset)))
    return size == 0 or prefix.hexdigest() == digest  # public too
