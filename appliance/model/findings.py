"""What is wrong with a piece of configuration, where, and what follows from it."""

from __future__ import annotations

import enum

import msgspec

Place = tuple[str | int, ...]
"""The way to a value inside a document, as ``("jobs", 0, "timeout")``."""


class Severity(enum.StrEnum):
    """What follows from a finding. ``config check`` fails on any of them."""

    WARNING = "warning"  # the job runs all the same
    BLOCKING = "blocking"  # the job or schedule is there, and cannot run
    REFUSING = "refusing"  # the whole configuration must not be put in force: it cannot be told what is meant


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``sentence`` says what and what to do, ``place`` where in the project's document."""

    place: Place
    sentence: str
    severity: Severity = Severity.WARNING

    def __str__(self) -> str:
        where = show_place(self.place)
        return f"{where}: {self.sentence}" if where else self.sentence


class Sink:
    """Where a reader puts its findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def has(self, place: Place) -> bool:
        """Whether there is a finding about this place, or one inside of it."""
        return any(finding.place[: len(place)] == place for finding in self.findings)

    def warn(self, place: Place, sentence: str) -> None:
        """Something that does not keep the job from running."""
        self.findings.append(Finding(place, sentence))

    def block(self, place: Place, sentence: str) -> None:
        """Something that keeps the job or schedule from running."""
        self.findings.append(Finding(place, sentence, Severity.BLOCKING))

    def refuse(self, place: Place, sentence: str) -> None:
        """Something that keeps the whole configuration from being used."""
        self.findings.append(Finding(place, sentence, Severity.REFUSING))


def show_place(place: Place) -> str:
    """``jobs[0].timeout``."""
    shown = ""
    for step in place:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}" if shown else step
    return shown[:200]
