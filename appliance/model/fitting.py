"""Which workers fit a job: the one thing to replace for another matching (X14)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from appliance.model import matching
from appliance.model.definitions import JobDocument
from appliance.model.matching import Condition


class Applicant(Protocol):
    """What is looked at of a worker, connected or not."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def properties(self) -> Mapping[str, Any]:
        """What it said of itself, with the properties of its token over that."""
        ...


Match = Callable[[JobDocument, Applicant], Iterable[Condition]]
"""All conditions of a job, held against a worker, which fits if all are met. What it answers may depend on these two
alone: it is remembered for as long as the worker is connected."""


def match(document: JobDocument, worker: Applicant) -> Iterator[Condition]:
    """By what both declare."""
    return matching.conditions(document.requires, document.properties, worker.properties)
