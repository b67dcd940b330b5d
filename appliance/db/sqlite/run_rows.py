"""Runs and leases as rows, in the short form that the schema explains. By hand: this is the hot path.

UUIDs are 16 bytes, hexadecimal digests bytes; a text that is neither is stored as it is. An instant after
``created_at`` is the distance to it, in milliseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import apsw
import msgspec

from appliance.db.sqlite.words import Words
from appliance.model.entities import Lease, NewRun, Receipt, Run
from appliance.model.errors import Conflict
from appliance.model.run_state import Reason, Status
from appliance.model.times import from_millis, to_millis

BITS = 21  # of a place that come from the id
_EMPTY = Receipt()
_STATUS = {str(one): one for one in Status}
_REASON = {str(one): one for one in Reason}

COLUMNS = (
    *("place", "id", "project", "job", "number", "status", "parameters", "source", "definition_version", "reason"),
    *("sentence", "assigned_after", "accepted_after", "started_after", "finished_after", "expires_at", "worker_id"),
    *("worker", "slot", "exit", "log_size", "log_sha256", "log_state", "should_abort", "should_cancel"),
    *("requested_by", "notes", "retry_of", "parent", "batch", "priority", "version", "recovered"),
)
LEASE_COLUMNS = ("lease_worker", "lease_journal", "lease_epoch", "lease_slot", "lease_cap", "lease_after")
NAMES = ", ".join(COLUMNS)

_NEW = (
    *("place", "id", "project", "job", "number", "status", "parameters", "source", "source_type"),
    *("definition_version", "expires_at", "retry_of", "parent", "batch", "priority", "version"),
)
INSERT = f"INSERT INTO run ({', '.join(_NEW)}) VALUES ({', '.join('?' * len(_NEW))})"  # noqa: S608  names of ours

_INSTANTS = ("assigned_after", "accepted_after", "started_after", "finished_after")
_OTHERS = (
    *("reason", "sentence", "slot", "exit", "log_size", "log_sha256", "log_state", "should_abort", "should_cancel"),
    *("requested_by", "notes", "priority", "version", "recovered"),
)
_CHANGES = ", ".join((*(f"{name} = ? - (place >> {BITS})" for name in _INSTANTS), *(f"{name} = ?" for name in _OTHERS)))

_to_json = msgspec.json.Encoder(order="deterministic").encode
_parameters = msgspec.json.Decoder(dict[str, Any]).decode
_notes = msgspec.json.Decoder(tuple[str, ...]).decode


def id_in(text: str) -> bytes | str:
    """An id as it is stored."""
    try:
        packed = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return text
    return packed if len(packed) == 16 and _uuid(packed) == text else text


def id_out(stored: bytes | str) -> str:
    """The id that :func:`id_in` stored."""
    return stored if isinstance(stored, str) else _uuid(stored)


def hex_in(text: str | None) -> bytes | str | None:
    """A digest as it is stored."""
    if text is None:
        return None
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return text
    return packed if packed.hex() == text else text


def hex_out(stored: bytes | str | None) -> str | None:
    """The digest that :func:`hex_in` stored."""
    return stored.hex() if isinstance(stored, bytes) else stored


def place_of(created_at: datetime, run_id: str) -> int:
    """Where a run lies, or would: in the order of (created_at, id)."""
    key = id_in(run_id)
    bits = int.from_bytes(key[:3], "big") >> (24 - BITS) if isinstance(key, bytes) else 0
    return to_millis(created_at) << BITS | bits


def first_place(at: datetime) -> int:
    """The lowest place of an instant."""
    return to_millis(at) << BITS


def parameters_in(parameters: dict[str, Any]) -> str | None:
    """Parameters as they are stored."""
    return _to_json(parameters).decode() if parameters else None


def parameters_out(stored: str | None) -> dict[str, Any]:
    """The parameters that :func:`parameters_in` stored."""
    return {} if stored is None else _parameters(stored)


def new_row(connection: apsw.Connection, words: Words, new: NewRun, place: int, number: int, text: str | None) -> Any:
    """The bindings of INSERT; ``text`` are the parameters as stored."""
    return (
        place,
        id_in(new.id),
        words.number(connection, new.project),
        words.number(connection, new.job),
        number,
        "pending",
        text,
        words.number(connection, _to_json(new.source).decode()),
        new.source.type,
        words.number(connection, new.definition_version),
        None if new.expires_at is None else to_millis(new.expires_at),
        _link_in(new.retry_of),
        _link_in(new.parent),
        _link_in(new.batch),
        new.priority,
        1,
    )


def insert(connection: apsw.Connection, words: Words, new: NewRun, number: int, parameters: str | None) -> int:
    """Store a run in its place; answers that. Raises Conflict when its id is taken."""
    place = place_of(new.created_at, new.id)
    while True:
        try:
            connection.execute(INSERT, new_row(connection, words, new, place, number, parameters))
        except apsw.ConstraintError as error:
            if connection.execute("SELECT 1 FROM run WHERE id = ?", (id_in(new.id),)).get is not None:
                raise Conflict(f"a run with the id {new.id} exists") from error
            if connection.execute("SELECT 1 FROM run WHERE place = ?", (place,)).get is None:
                raise
            place += 1
        else:
            return place


@functools.cache
def update(*more: str) -> str:
    """The SQL that changes a run by its place: all that no index holds, and ``more`` columns.

    What an index holds is named only if it changed: else SQLite would write the index all the same.
    """
    others = "".join(f", {name} = ?" for name in more)
    return f"UPDATE run SET {_CHANGES}{others} WHERE place = ?"  # noqa: S608  names of ours


def changes(connection: apsw.Connection, words: Words, run: Run, version: int) -> tuple[Any, ...]:
    """The first bindings of :func:`update`."""
    log = run.log
    return (
        _instant_in(run.assigned_at),
        _instant_in(run.accepted_at),
        _instant_in(run.started_at),
        _instant_in(run.finished_at),
        run.reason,
        run.sentence or None,
        run.slot,
        None if run.exit is None else words.number(connection, _to_json(run.exit).decode()),
        log.size,
        hex_in(log.sha256),
        log.complete + 2 * log.verified,
        run.should_abort,
        run.should_cancel,
        run.requested_by,
        _to_json(run.notes).decode() if run.notes else None,
        run.priority,
        version,
        run.recovered,
    )


def lease_row(connection: apsw.Connection, words: Words, lease: Lease, place: int) -> tuple[Any, ...]:
    """The values of LEASE_COLUMNS."""
    return (
        words.number(connection, lease.worker_id),
        words.number(connection, lease.journal_id),
        lease.epoch,
        lease.slot,
        hex_in(lease.cap),
        to_millis(lease.granted_at) - (place >> BITS),
    )


def run_of(connection: apsw.Connection, words: Words, row: Sequence[Any]) -> Run:
    """The run of a row that begins with COLUMNS. For readers."""
    place, run_id, project, job, number, status, parameters, source, definition_version, reason = row[:10]
    sentence, assigned, accepted, started, finished, expires, worker_id, worker, slot, ended = row[10:20]
    log_size, log_sha256, log_state, should_abort, should_cancel, requested_by, notes = row[20:27]
    retry_of, parent, batch, priority, version, recovered = row[27:33]
    created = place >> BITS
    text = words.text
    return Run(
        id_out(run_id),
        text(connection, project),
        text(connection, job),
        number,
        _STATUS[status],
        parameters_out(parameters),
        words.source(connection, source),
        text(connection, definition_version),
        from_millis(created),
        None if reason is None else _REASON[reason],
        sentence or "",
        None if assigned is None else from_millis(created + assigned),
        None if accepted is None else from_millis(created + accepted),
        None if started is None else from_millis(created + started),
        None if finished is None else from_millis(created + finished),
        None if expires is None else from_millis(expires),
        None if worker_id is None else text(connection, worker_id),
        None if worker is None else text(connection, worker),
        slot,
        None if ended is None else words.exit(connection, ended),
        _receipt(log_size, log_sha256, log_state),
        should_abort == 1,
        should_cancel == 1,
        requested_by,
        () if notes is None else _notes(notes),
        _link_out(retry_of),
        _link_out(parent),
        _link_out(batch),
        priority,
        version,
        recovered == 1,
    )


def lease_of(connection: apsw.Connection, words: Words, row: Sequence[Any], request: str | None) -> Lease:
    """The lease of a row of place, id and LEASE_COLUMNS; ``request`` is kept apart. For readers."""
    place, run_id, worker, journal, epoch, slot, cap, after = row
    return Lease(
        run_id=id_out(run_id),
        worker_id=words.text(connection, worker),
        journal_id=words.text(connection, journal),
        epoch=epoch,
        slot=slot,
        cap=hex_out(cap) or "",
        request=request or "",
        granted_at=from_millis((place >> BITS) + after),
    )


def _uuid(packed: bytes) -> str:
    text = packed.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _receipt(size: int, sha256: bytes | str | None, state: int) -> Receipt:
    if size == state == 0 and sha256 is None:
        return _EMPTY
    return Receipt(size=size, sha256=hex_out(sha256), complete=state & 1 == 1, verified=state & 2 == 2)


def _instant_in(at: datetime | None) -> int | None:
    return None if at is None else to_millis(at)


def _link_in(text: str | None) -> bytes | str | None:
    return None if text is None else id_in(text)


def _link_out(stored: bytes | str | None) -> str | None:
    return None if stored is None else id_out(stored)
