"""The project files as a whole: what is in force, and reading them again (D3)."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.model.changes import Change
from appliance.model.permissions import Right
from appliance.projects import FoundInFile
from appliance.web.routes import Parts, Request, Response, Route, document


class ApplyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``dry_run``: only tell what would change. ``with_findings``: jobs that something is wrong with are marked, and
    the others go on, as when the server starts; without it they refuse the whole."""

    dry_run: bool = False
    with_findings: bool = False


class AppliedDocument(msgspec.Struct, frozen=True):
    """What was changed, or would be. ``cancelled``: how many runs waited for a job that was removed."""

    is_applied: bool
    changes: list[Change]
    findings: list[FoundInFile]
    cancelled: int


def in_force(request: Request, parts: Parts) -> Response:
    """The configuration in force, as one project file."""
    return document(parts.configuration.in_force())


def apply(request: Request, parts: Parts) -> Response:
    """Read the configured files again and put them in force at once; 422 with all findings, changing nothing."""
    body: ApplyBody = request.body
    if body.dry_run:
        applied = parts.configuration.preview()
    else:
        applied = parts.configuration.apply(request.someone.name, with_findings=body.with_findings)
    return document(
        AppliedDocument(applied.is_applied, list(applied.changes), list(applied.findings), applied.cancelled)
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/config",
        in_force,
        Right.MANAGE_USERS,
        answer=dict[str, Any],
        summary="The configuration in force, as a project file",
    ),
    Route(
        "POST",
        "/api/v1/config/apply",
        apply,
        Right.MANAGE_USERS,
        body=ApplyBody,
        answer=AppliedDocument,
        summary="Read the project files again",
    ),
)
