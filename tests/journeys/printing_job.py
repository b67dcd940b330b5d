"""What the jobs of the journeys run: prints, keeps a copy of what it printed, and stops at gates.

    printing_job.py PLACE PIECES CODE

In PLACE, outside any workspace: ``starts`` gets a line with the pid at each start, ``copy`` each byte that is printed,
``ends`` the pid at the end. A gate is a FIFO ``gate-begin``, ``gate-middle`` or ``gate-end``: where there is one, the
job stays until a writer has come and gone.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

PACE = 0.001  # seconds between two pieces, so that a kill meets the job while it prints


def stop_at(gate: Path) -> None:
    if gate.exists():
        gate.read_bytes()


def main(place: Path, pieces: int, code: int) -> None:
    with (place / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    stop_at(place / "gate-begin")
    with (place / "copy").open("ab", buffering=0) as copy, open(1, "wb", buffering=0, closefd=False) as output:
        for number in range(pieces):
            piece = b"line %d of %d\r\n" % (number, pieces) if number % 20 else os.urandom(16_384)
            if number == pieces - 1:
                piece = b"no newline at the end \xff\x00"
            copy.write(piece)
            while piece:
                piece = piece[output.write(piece) :]
            if number == pieces // 2:
                stop_at(place / "gate-middle")
            select.select([], [], [], PACE)
    with (place / "ends").open("a") as ends:
        ends.write(f"{os.getpid()}\n")
    stop_at(place / "gate-end")
    sys.exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
