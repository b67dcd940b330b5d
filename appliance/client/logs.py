"""Ranges of a run's log."""

from __future__ import annotations

from typing import NamedTuple

from appliance.client.connection import Connection, Unreachable, part

LOG_RANGE = 1 << 20  # bytes asked for at once


class LogPart(NamedTuple):
    """A range of a log. ``size`` is how long the log is now; ``is_complete``: it will not grow any more."""

    content: bytes
    size: int
    is_complete: bool


def run_path(run_id: str) -> str:
    """Where the service keeps a run."""
    return f"/api/v1/runs/{part(run_id)}"


def read_log(connection: Connection, run_id: str, offset: int, limit: int) -> LogPart:
    """At most ``limit`` bytes of the log from byte ``offset`` on; none past its end."""
    answer = connection.call("GET", f"{run_path(run_id)}/log", query={"offset": str(offset), "limit": str(limit)})
    size = answer.headers.get("Orchestra-Log-Size", "")
    if not size.isdecimal():
        raise Unreachable(f"{connection.url} answers without the size of the log; is the address right?")
    return LogPart(answer.body, int(size), answer.headers.get("Orchestra-Log-Complete", "").lower() == "true")
