"""Data frames of one connection that wait for a lane. Frames that follow each other are written as one piece, so that a
flood of output costs one write, one digest and one turn of a thread for many frames.
"""

from __future__ import annotations

import threading

from appliance.wire.frames import Data


class Piles:
    """One pile for each stream of a run. Put by the gateway's thread, taken by lanes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._piles: dict[tuple[str, int], list[Data]] = {}

    def put(self, frame: Data) -> bool:
        """Lay a frame on its pile. True: the pile is new, and somebody must be told to take it."""
        key = (frame.run, frame.stream)
        with self._lock:
            pile = self._piles.get(key)
            if pile is None:
                self._piles[key] = [frame]
                return True
            pile.append(frame)
            return False

    def take(self, run_id: str, stream: int) -> tuple[int, list[Data]]:
        """How many frames were on the pile, and what they say in as few pieces as possible, in their order."""
        with self._lock:
            pile = self._piles.pop((run_id, stream), [])
        pieces: list[Data] = []
        start = 0
        for at, frame in enumerate(pile, 1):
            end = frame.offset + len(frame.payload)
            if at == len(pile) or pile[at].offset != end:
                together = pile[start:at]
                payload = together[0].payload if len(together) == 1 else b"".join(one.payload for one in together)
                pieces.append(Data(run=run_id, stream=stream, offset=together[0].offset, payload=payload))
                start = at
        return len(pile), pieces
