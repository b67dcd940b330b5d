"""What is run, by the product, by the floor and bare: the same commands everywhere."""

from __future__ import annotations

NOOP = "echo hello; /bin/true"
STAMP = "date +%s%N; /bin/true"  # the first line of output says when the command ran
LINE = ("2026-01-01T00:00:00 INFO compiling module alpha/beta/gamma " + "x" * 99)[:99]
LOG_SIZE = 100_000_000  # bytes: 1,000,000 lines
LOG = f"yes '{LINE}' | head -c {LOG_SIZE}"
SLEEP = "exec sleep 600"

COMMANDS = {"noop": NOOP, "stamp": STAMP, "big-log": LOG, "sleep": SLEEP}
