"""Data frames (reliability.md 5): there and back, and no damage goes unseen."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.wire import CHUNK, Close, ProtocolError, frames
from tests.wire.messages_of import RUN

HEADER = 1 + 16 + 2 + 8 + 4

payloads = st.binary(min_size=1, max_size=300)


@given(st.uuids().map(str), st.integers(0, 65_535), st.integers(0, 1 << 50), payloads)
@example(RUN, 0, 0, b"x" * CHUNK)
def test_a_frame_is_read_as_it_was_made(run: str, stream: int, offset: int, payload: bytes) -> None:
    frame = frames.encode(run, stream, offset, payload)
    assert len(frame) == HEADER + len(payload)
    read = frames.decode(frame)
    assert (read.run, read.stream, read.offset, bytes(read.payload)) == (run, stream, offset, payload)


def test_a_frame_is_laid_out_as_the_protocol_says() -> None:
    frame = frames.encode(RUN, 2, 513, b"abc")
    assert frame.hex() == "01" + RUN.replace("-", "") + "0002" + "0000000000000201" + "352441c2" + "616263"


@given(payloads)
def test_fault_F12_every_shorter_frame_is_refused(payload: bytes) -> None:
    frame = frames.encode(RUN, 0, 7, payload)
    for length in range(len(frame)):
        with pytest.raises(ProtocolError):
            frames.decode(frame[:length])


@given(payloads, st.data())
def test_a_flipped_bit_of_type_checksum_or_payload_is_seen(payload: bytes, choice: st.DataObject) -> None:
    frame = bytearray(frames.encode(RUN, 0, 7, payload))
    place = choice.draw(st.sampled_from([0, *range(HEADER - 4, len(frame))]))
    frame[place] ^= 1 << choice.draw(st.integers(0, 7))
    with pytest.raises(ProtocolError):
        frames.decode(bytes(frame))


@given(payloads, st.integers(1, HEADER - 5), st.integers(0, 7))
def test_a_flipped_bit_of_an_address_speaks_of_something_else_and_of_nothing_more(
    payload: bytes, place: int, bit: int
) -> None:
    """The checksum is of the payload; what it is about is proved by the lease, the offset and the final digest."""
    frame = bytearray(frames.encode(RUN, 0, 7, payload))
    frame[place] ^= 1 << bit
    try:
        read = frames.decode(bytes(frame))
    except ProtocolError:
        return
    assert (read.run, read.stream, read.offset) != (RUN, 0, 7)
    assert bytes(read.payload) == payload


@given(st.binary(max_size=200))
def test_inv_I7_no_bytes_do_more_than_be_refused(frame: bytes) -> None:
    try:
        frames.decode(frame)
    except ProtocolError as error:
        assert error.close is None


def test_fault_F35_a_frame_over_the_limit_closes_the_connection() -> None:
    with pytest.raises(ProtocolError) as error:
        frames.decode(frames.encode(RUN, 0, 0, b"x" * (CHUNK + 1)))
    assert error.value.close == Close.TOO_BIG


def test_fault_F37_a_frame_of_another_type_is_unsupported() -> None:
    with pytest.raises(ProtocolError) as error:
        frames.decode(b"\x02" + frames.encode(RUN, 0, 0, b"x")[1:])
    assert error.value.code == "unsupported"


@pytest.mark.parametrize("offset", [(1 << 50) + 1, (1 << 64) - 1])
def test_an_offset_that_no_file_has_is_refused(offset: int) -> None:
    frame = struct.pack(">B16sHQI", 1, bytes(16), 0, offset, zlib.crc32(b"x")) + b"x"
    with pytest.raises(ProtocolError, match="offset"):
        frames.decode(frame)
