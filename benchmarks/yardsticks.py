"""Bare limits of the machine: what the same work costs with nothing around it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.jobs import LOG, LOG_SIZE, NOOP
from benchmarks.lib import Series, sampled

_PIECE = 64 * 1024


def bare_starts(samples: int, lanes: int, count: int = 400) -> Series:
    """``sh -c`` of the no-op job, its output read to the end, in so many lanes at once."""

    def take() -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(lambda _: _start_and_read(), range(count)))
        return count / (time.perf_counter() - begun)

    return sampled(f"bare process starts, {lanes} at once", "starts/s", samples, take)


def pipe_and_digest(samples: int) -> Series:
    """The output of the log job read in pieces of 64 KB, SHA-256 over it, nothing stored."""

    def take() -> float:
        digest = hashlib.sha256()
        begun = time.perf_counter()
        with subprocess.Popen(["/bin/sh", "-c", LOG], stdout=subprocess.PIPE, bufsize=0) as child:
            assert child.stdout is not None
            size = 0
            while piece := os.read(child.stdout.fileno(), _PIECE):
                digest.update(piece)
                size += len(piece)
        if size != LOG_SIZE:
            raise RuntimeError(f"the log job wrote {size} bytes")
        return size / 1e6 / (time.perf_counter() - begun)

    return sampled("pipe read 64 KB + SHA-256", "MB/s", samples, take)


def _start_and_read() -> None:
    read, write = os.pipe()  # close-on-exec: only what the file actions name reaches the child
    pid = os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", NOOP],
        os.environ,
        setsid=True,
        setsigdef=[signal.SIGPIPE],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
            (os.POSIX_SPAWN_DUP2, write, 2),
        ],
    )
    os.close(write)
    try:
        output = bytearray()
        while piece := os.read(read, _PIECE):
            output += piece
    finally:
        os.close(read)
        status = os.waitpid(pid, 0)[1]
    if status != 0 or bytes(output) != b"hello\n":
        raise RuntimeError(f"the no-op job ended with {status} and wrote {bytes(output)!r}")
