"""Errors leave here and nowhere else: problem+json for the service, a plain page for the website (S-54).

What nobody foresaw is logged with an id, and the answer holds only that id: no traceback, version, path or SQL.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from appliance.model.errors import (
    ApplianceError,
    Conflict,
    Forbidden,
    Full,
    Invalid,
    Malformed,
    NotFound,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from appliance.web.routes import Problem

# The first class that fits counts, so the narrower ones come first.
STATUSES: tuple[tuple[type[ApplianceError], HTTPStatus], ...] = (
    (Malformed, HTTPStatus.BAD_REQUEST),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS),
    (Full, HTTPStatus.INSUFFICIENT_STORAGE),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)

_log = logging.getLogger(__name__)


class Refused(ApplianceError):
    """A refusal that only HTTP knows, by status."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class FieldError(msgspec.Struct, frozen=True):
    """One entry of ``errors``: a dotted path ("" for the whole) and what is wrong with it."""

    field: str
    message: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``application/problem+json`` (RFC 9457)."""

    status: int
    title: str
    detail: str
    errors: list[FieldError] = []
    error_id: str | None = None


def problem_of(error: Exception) -> Problem:
    """What to answer for an error. One that nobody foresaw is logged here with its id."""
    if isinstance(error, Refused):
        return Problem(error.status, error.status.phrase, str(error), headers=error.headers)
    if isinstance(error, ApplianceError):
        for kind, status in STATUSES:
            if isinstance(error, kind):
                return Problem(
                    status,
                    status.phrase,
                    str(error),
                    errors=error.errors if isinstance(error, Invalid) else {},
                    retry_after=max(1, math.ceil(error.retry_after)) if isinstance(error, Unavailable) else None,
                    headers={"WWW-Authenticate": 'Bearer realm="orchestra"'} if status == 401 else {},
                )
    error_id = secrets.token_hex(6)
    _log.error("a request failed in a way that nobody foresaw, id %s", error_id, exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    sentence = f"something went wrong here; the server's log tells more under {error_id}"
    return Problem(status, status.phrase, sentence, error_id=error_id)


def problem_json(problem: Problem) -> bytes:
    """The document of a problem."""
    errors = [FieldError(name, message) for name, message in problem.errors.items()]
    return msgspec.json.encode(
        ProblemDocument(problem.status, problem.title, problem.sentence, errors, problem.error_id)
    )


def problem_text(problem: Problem) -> bytes:
    """A problem as plain text, where there is no page for it."""
    lines = [f"{problem.status} {problem.title}", "", problem.sentence]
    lines += [f"{name}: {message}" for name, message in problem.errors.items()]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")
