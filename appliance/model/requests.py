"""What a worker is asked to do: the request of an assignment, made of a run and the definition of its trigger.

Its exact text is kept with the lease, so that a repeated assignment is identical, and its digest is what the cap signs.
Secrets are no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.model import definitions, documents
from appliance.model.entities import Run

FORMAT = 1
SMALLEST_LOG = 4096  # bytes


class Limits(msgspec.Struct, frozen=True):
    """What holds where a job says nothing of its own. Seconds and bytes."""

    grace: float = 30.0
    teardown_timeout: float = 60.0
    log_size: int = 4 << 30
    expires: float = 86_400.0
    lost_after: float = 3600.0
    url: str = ""  # how jobs reach the service; "" = as their worker does


def build_request(
    run_id: str,
    project: str,
    job: str,
    number: int,
    given: Mapping[str, Any],
    document: definitions.JobDocument,
    limits: Limits,
) -> str:
    """The request as canonical JSON; ``given`` are the run's parameters."""
    return documents.canonical(
        {
            "format": FORMAT,
            "run": run_id,
            "attempt": 1,
            "project": project,
            "job": job,
            "number": number,
            "definition": definitions.commands_of(document.definition),
            "url": limits.url,
            "parameters": dict(given),
            "environment": dict(document.environment),
            "timeout": document.timeout_seconds,
            "teardown_timeout": limits.teardown_timeout,
            "grace": limits.grace if document.grace_seconds is None else document.grace_seconds,
            "log_limit": max(SMALLEST_LOG, document.log_limit_bytes or limits.log_size),
        }
    )


def request_of(run: Run, document: definitions.JobDocument, limits: Limits) -> str:
    """The request of a run that exists."""
    return build_request(run.id, run.project, run.job, run.number, run.parameters, document, limits)
