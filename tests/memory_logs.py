"""Streams of runs in memory, for tests of use cases."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import BinaryIO

from appliance.db.logs import Gap
from appliance.model.entities import StreamRecord


class Logs:
    """The master's log store, in memory."""

    def __init__(self) -> None:
        self.streams: dict[tuple[str, int], bytearray] = {}

    def append(self, run_id: str, stream: int, offset: int, data: bytes | memoryview) -> int:
        have = self.streams.setdefault((run_id, stream), bytearray())
        if offset > len(have):
            raise Gap(len(have))
        have += bytes(data)[len(have) - offset :]
        return len(have)

    def size(self, run_id: str, stream: int) -> int:
        return len(self.streams.get((run_id, stream), b""))

    def read(self, run_id: str, stream: int, offset: int, limit: int) -> bytes:
        return bytes(self.streams.get((run_id, stream), b"")[offset : offset + limit])

    def sync(self, run_id: str, stream: int) -> StreamRecord:
        have = bytes(self.streams.get((run_id, stream), b""))
        return StreamRecord(run_id, stream, len(have), 0, "boot", hashlib.sha256(have).hexdigest())

    def sync_run(self, run_id: str, streams: Iterable[int]) -> list[StreamRecord]:
        return [self.sync(run_id, stream) for stream in sorted(streams)]

    def restart(self, run_id: str, stream: int) -> None:
        self.streams[run_id, stream] = bytearray()

    def close_run(self, run_id: str) -> None:
        """Nothing is held open."""

    def open_file(self, run_id: str, stream: int) -> BinaryIO:
        return io.BytesIO(bytes(self.streams.get((run_id, stream), b"")))
