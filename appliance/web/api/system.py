"""Whether the appliance is alive and ready, and the description of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from appliance.model.times import show_time
from appliance.web import openapi
from appliance.web.routes import Parts, Request, Response, Route, document


class HealthDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``status``: ok, or degraded: alive, and the disk is full. ``runs`` (how many are in each live state) only for
    those who are logged in."""

    status: str
    runs: dict[str, int] | None = None


class ReadyDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``status``: ready, starting, or degraded: reads work, and the disk is full. ``reasons`` only for administrators
    and auditors."""

    status: str
    reasons: list[str] | None = None


def health(request: Request, parts: Parts) -> Response:
    """Alive: the process answers. Anonymous callers learn nothing more (A1)."""
    status = "degraded" if parts.full_since() else "ok"
    if request.principal is None or not _may_see_all(request):
        return document(HealthDocument(status))
    return document(HealthDocument(status, {str(state): count for state, count in parts.runs.counts().items()}))


def ready(request: Request, parts: Parts) -> Response:
    """Ready: the appliance does all of its work; 503 while it does not."""
    reasons, full_since = list(parts.unready()), parts.full_since()
    name = "starting" if reasons else "degraded" if full_since else "ready"
    if full_since:
        reasons.append(f"disk full since {show_time(full_since)}")
    shown = reasons if reasons and _may_see_all(request) else None
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return document(ReadyDocument(name, shown), status)


def _may_see_all(request: Request) -> bool:
    return request.principal is not None and bool(request.principal.site_roles)


def description(request: Request, parts: Parts) -> Response:
    """The OpenAPI document of the routes that this server has."""
    return document(openapi.describe(request.routes))


ROUTES = (
    Route("GET", "/health", health, "public", answer=HealthDocument, summary="Whether the server is alive"),
    Route(
        "GET",
        "/ready",
        ready,
        "public",
        answer=ReadyDocument,
        statuses=(HTTPStatus.SERVICE_UNAVAILABLE,),
        summary="Whether the server does its work",
    ),
    Route("GET", "/api/v1/openapi.json", description, "self", answer=dict[str, Any], summary="This description"),
)
