"""The binary data frame, big endian: type u8, run 16 bytes, stream u16, offset u64, crc32 u32, 1 to CHUNK bytes."""

from __future__ import annotations

import struct
import uuid
import zlib

import msgspec

from appliance.wire import CHUNK, ProtocolError

_HEADER = struct.Struct(">B16sHQI")
_DATA = 1
_FURTHEST = 1 << 50


class Data(msgspec.Struct, frozen=True):
    """A piece of a stream of a run."""

    run: str
    stream: int
    offset: int
    payload: bytes | memoryview


def encode(run: str, stream: int, offset: int, payload: bytes) -> bytes:
    """The frame to send; ``payload`` is 1 to CHUNK bytes."""
    head = _HEADER.pack(_DATA, uuid.UUID(run).bytes, stream, offset, zlib.crc32(payload))
    return head + payload


def decode(frame: bytes) -> Data:
    """Read a frame; the payload is a view into it. Raises ProtocolError."""
    if len(frame) <= _HEADER.size:
        raise ProtocolError("data frame without payload")
    if len(frame) > _HEADER.size + CHUNK:
        raise ProtocolError(f"data frame of {len(frame)} bytes", "too_big", close=1009)
    kind, run, stream, offset, crc = _HEADER.unpack_from(frame)
    if kind != _DATA:
        raise ProtocolError(f"binary frame of unknown type {kind}", "unsupported")
    if offset > _FURTHEST:
        raise ProtocolError("offset out of range")
    payload = memoryview(frame)[_HEADER.size :]
    if zlib.crc32(payload) != crc:
        raise ProtocolError("crc of a data frame does not match")
    return Data(run=str(uuid.UUID(bytes=run)), stream=stream, offset=offset, payload=payload)
