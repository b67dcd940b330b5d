"""A run of the printing job: what it does, its gates, and what must be true of it at the end."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.journeys.site import Site

PIECES = 600
JOB: dict[str, Any] = {
    "identifier": "print",
    "parameters": [
        {"key": "place"},
        {"key": "pieces", "type": "int", "default": PIECES},
        {"key": "code", "type": "int", "default": 0},
    ],
    "definition": {
        "commands": [
            [
                sys.executable,
                str(Path(__file__).with_name("printing_job.py")),
                "{parameters[place]}",
                "{parameters[pieces]}",
                "{parameters[code]}",
            ]
        ]
    },
}
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": [JOB]}]}


class Printing:
    """One run of it, not yet triggered. ``gates``: begin, middle, end."""

    def __init__(self, site: Site, place: Path, *gates: str, code: int = 0, pieces: int = PIECES) -> None:
        self.site, self.place, self.code, self.pieces = site, place, code, pieces
        self.run_id = ""
        place.mkdir(exist_ok=True)
        for gate in gates:
            os.mkfifo(place / f"gate-{gate}", 0o600)

    def trigger(self, job: str = "print") -> str:
        """Begin."""
        self.run_id = self.site.trigger(job, place=str(self.place), code=self.code, pieces=self.pieces)
        return self.run_id

    @contextmanager
    def at(self, gate: str) -> Iterator[int]:
        """Wait until the job stands at a gate; it goes on at the end of the block. Answers its pid."""
        with (self.place / f"gate-{gate}").open("wb"):
            yield self.pid

    @property
    def pid(self) -> int:
        """Of the job, once it has begun; fails if it began twice."""
        (pid,) = map(int, (self.place / "starts").read_text().split())
        return pid

    def assert_ended_well(self) -> dict[str, Any]:
        """It ran once, by one process, to its own end; its status is true and its log whole (I1 to I4)."""
        run = self.site.wait(self.run_id)
        told = {name: run[name] for name in ("status", "reason", "sentence", "exit")}
        assert run["status"] == ("succeeded" if self.code == 0 else "failed"), told
        assert run["exit"]["code"] == self.code, told
        assert (self.place / "ends").read_text() == f"{self.pid}\n"
        written = (self.place / "copy").read_bytes()
        assert len(written) > 300_000
        assert self.site.log(self.run_id) == written
        assert run["log"]["size"] == len(written)
        assert run["log"]["sha256"] == hashlib.sha256(written).hexdigest()
        assert run["log"]["complete"] and run["log"]["verified"]
        return run
