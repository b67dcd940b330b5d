"""What a worker is asked to do: the request of an assignment, made of a run and the definition of its trigger.

Its exact text is kept with the lease, so that a repeated assignment is identical, and its digest is what the cap signs.
Secrets are no part of it. It says enough of its run (``origin``) to make the run again where only the worker still has
it: after a restore from an older backup (F24).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from appliance.model import definitions, documents
from appliance.model.entities import NewRun, Run, Source
from appliance.model.errors import Invalid
from appliance.model.times import from_millis, to_millis

FORMAT = 1
SMALLEST_LOG = 4096  # bytes
LARGEST = 1 << 20  # bytes of a request that is read back


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
    *,
    origin: Mapping[str, Any] | None = None,
    grant: int = 1,
) -> str:
    """The request as canonical JSON; ``given`` are the run's parameters, ``origin`` is of :func:`origin_of`.

    ``grant``: the version of the run that is given away, so that no two assignments of it have the same cap.
    """
    return documents.canonical(
        {
            "format": FORMAT,
            "run": run_id,
            "grant": grant,
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
            "on_log_full": document.on_log_full or "truncate",
            "log_limit": max(SMALLEST_LOG, document.log_limit_bytes or limits.log_size),
            "origin": dict(origin or {}),
        }
    )


def origin_of(run: Run | NewRun) -> dict[str, Any]:
    """What a request says of its run beyond what the worker needs; instants as milliseconds since 1970."""
    return {
        "created_at": to_millis(run.created_at),
        "expires_at": None if run.expires_at is None else to_millis(run.expires_at),
        "definition_version": run.definition_version,
        "source": msgspec.to_builtins(run.source),
        "retry_of": run.retry_of,
        "parent": run.parent,
        "batch": run.batch,
        "priority": run.priority,
    }


def request_of(run: Run, document: definitions.JobDocument, limits: Limits) -> str:
    """The request of a run that exists."""
    return build_request(
        run.id,
        run.project,
        run.job,
        run.number,
        run.parameters,
        document,
        limits,
        origin=origin_of(run),
        grant=run.version,
    )


class _Origin(msgspec.Struct):
    created_at: int
    definition_version: str
    source: Source
    expires_at: int | None = None
    retry_of: str | None = None
    parent: str | None = None
    batch: str | None = None
    priority: int = 0


class _Request(msgspec.Struct):
    run: str
    project: str
    job: str
    number: Annotated[int, msgspec.Meta(ge=1)]
    parameters: dict[str, Any]
    origin: _Origin


def read_back(request: str) -> tuple[NewRun, int]:
    """The run that a request was made of, as its trigger brought it, and its number.

    Only for text whose digest a valid cap signs. Raises Invalid when it does not say enough.
    """
    try:
        said = msgspec.convert(documents.strict_json(request, LARGEST), _Request)
        origin = said.origin
        expires_at = None if origin.expires_at is None else from_millis(origin.expires_at)
        new = NewRun(
            id=said.run,
            project=said.project,
            job=said.job,
            parameters=said.parameters,
            source=origin.source,
            definition_version=origin.definition_version,
            created_at=from_millis(origin.created_at),
            expires_at=expires_at,
            retry_of=origin.retry_of,
            parent=origin.parent,
            batch=origin.batch,
            priority=origin.priority,
        )
    except (msgspec.ValidationError, OverflowError) as error:
        raise Invalid(f"the request does not say which run it was: {error}") from None
    return new, said.number
