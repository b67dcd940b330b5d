"""What the runs of a crash test do. Standard library only: it is started by its path, without our package.

    job.py PLACE RUN RESULTS TASK

RUN is the run's id, RESULTS the file for its results, TASK the JSON of a ``plan.Task``. In PLACE, outside of all
workspaces, the file ``starts`` gets a line at the begin and ``ends`` one just before the end: run, key and pid. Each is
appended by one write, so that lines of many jobs never mix.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

STARTS, ENDS = "starts", "ends"
PIECE = 32_768  # bytes printed at once


def pieces(seed: int, size: int, shape: str) -> Iterator[bytes]:
    """The output of a job, in the pieces that it prints: ``size`` bytes, the same for the same seed.

    ``shape``: ``bytes`` is binary, ``line`` is binary without a line break, ``text`` is one short line (whatever
    ``size`` says).
    """
    if shape == "text":
        yield b"job %d says one line\n" % seed
        return
    for number in range(-(-size // PIECE)):
        length = min(PIECE, size - number * PIECE)
        piece = hashlib.shake_128(b"%d:%d" % (seed, number)).digest(length)
        yield piece.replace(b"\n", b".") if shape == "line" else piece


def results(key: str, is_final: bool) -> dict[str, Any]:
    """What a job with results sets half-way, and what at its end. Some look like dates and numbers, and are none."""
    if is_final:
        return {"key": key, "stage": "end", "day": "2026-01-01", "number": "1.50"}
    return {"key": key, "stage": "half"}


def main(place: str, run_id: str, results_file: str, text: str) -> None:
    """Do the task."""
    task = json.loads(text)
    _mark(place, STARTS, f"{run_id} {task['key']}")
    if task["has_child"]:
        _leave_child()
    parts = list(pieces(task["seed"], task["size"], task["shape"])) if task["size"] < 1 << 20 else None
    count = max(1, -(-task["size"] // PIECE))
    for number, piece in enumerate(parts or pieces(task["seed"], task["size"], task["shape"])):
        _print(1 + number % 2, piece)
        if number == count // 2 and task["has_results"]:
            _set_results(results_file, task["key"], is_final=False)
        time.sleep(task["seconds"] / count)
    if task["has_results"]:
        _set_results(results_file, task["key"], is_final=True)
    _mark(place, ENDS, f"{run_id} {task['key']}")
    if task["signal"]:
        os.kill(os.getpid(), task["signal"])
        signal.pause()
    sys.exit(task["code"])


def _mark(place: str, name: str, who: str) -> None:
    descriptor = os.open(f"{place}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    line = f"{who} {os.getpid()}\n".encode()
    if os.write(descriptor, line) != len(line):
        sys.exit("the file of marks takes no more")  # a full disk: the marks would lie
    os.close(descriptor)


def _print(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _set_results(path: str, key: str, *, is_final: bool) -> None:
    with open(path + ".new", "w") as file:
        json.dump(results(key, is_final), file)
    os.rename(path + ".new", path)


def _leave_child() -> None:
    """A descendant that leaves the session and would stay for ever: the executor ends it, else the worker."""
    if os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        while True:
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
