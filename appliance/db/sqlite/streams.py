"""What of each stream is durable: a row for each while its run is live, packed into the run's row at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from appliance.db.sqlite.run_rows import hex_in, hex_out, id_in
from appliance.db.sqlite.words import Words
from appliance.model.entities import StreamRecord

_PUT = "INSERT OR REPLACE INTO stream (place, stream, size, crc32, boot_id, sha256) VALUES (?, ?, ?, ?, ?, ?)"
_ROWS = "SELECT stream, size, crc32, boot_id, sha256 FROM stream WHERE place = ?"
_RUN = "SELECT place, finished_after, streams, log_sha256 FROM run WHERE id = ?"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, int, int, Any]]).decode


def streams_of(connection: apsw.Connection, words: Words, run_id: str) -> list[StreamRecord]:
    """The streams of a run, by number. For readers."""
    found: dict[int, tuple[Any, ...]] = {}
    for place, _, packed, log_sha256 in _run(connection, run_id):
        found = _known(connection, place, packed, log_sha256)
    return [
        StreamRecord(run_id, stream, size, crc32, words.text(connection, boot), hex_out(sha256))
        for _, (stream, size, crc32, boot, sha256) in sorted(found.items())
    ]


def note_stream(connection: apsw.Connection, words: Words, record: StreamRecord) -> None:
    """Note what is durable of a stream; after the end of its run only what is more. For verbs."""
    for place, finished_after, packed, log_sha256 in _run(connection, record.run_id):
        if finished_after is not None:
            known = _known(connection, place, packed, log_sha256).get(record.stream)
            if known is not None and record.size <= known[1]:
                continue
        connection.execute(_PUT, (place, *_row(connection, words, record)))


def settled(
    connection: apsw.Connection,
    words: Words,
    place: int,
    records: Sequence[StreamRecord],
    log_sha256: bytes | str | None,
) -> bytes | None:
    """The streams of a run that ends, to become part of its row; what was noted of them goes. For verbs."""
    rows: dict[int, Any] = {row[0]: row for row in connection.execute(_ROWS, (place,))}
    if rows:
        connection.execute("DELETE FROM stream WHERE place = ?", (place,))
    for record in records:
        rows[record.stream] = _row(connection, words, record)
    return _pack(rows.values(), log_sha256) if rows else None


def _run(connection: apsw.Connection, run_id: str) -> list[Any]:
    return connection.execute(_RUN, (id_in(run_id),)).fetchall()


def _row(connection: apsw.Connection, words: Words, record: StreamRecord) -> tuple[Any, ...]:
    boot = words.number(connection, record.boot_id)
    return record.stream, record.size, record.crc32, boot, hex_in(record.sha256)


def _known(
    connection: apsw.Connection, place: int, packed: bytes | None, log_sha256: bytes | str | None
) -> dict[int, tuple[Any, ...]]:
    """All rows of a run, by stream; what came after the end wins."""
    found: dict[int, tuple[Any, ...]] = {}
    if packed is not None:
        for *row, sha256 in _decode(packed):
            found[row[0]] = (*row, log_sha256 if sha256 is True else sha256)
    for late in connection.execute(_ROWS, (place,)):
        found[int(late[0])] = late
    return found


def _pack(rows: Iterable[Sequence[Any]], log_sha256: bytes | str | None) -> bytes:
    """All rows as one value. A digest that the run's receipt holds too is not stored twice."""
    return _encode([(*row[:4], True if row[4] is not None and row[4] == log_sha256 else row[4]) for row in rows])
