"""Whether the appliance is alive and ready, and the description of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from appliance.web import openapi
from appliance.web.routes import Parts, Request, Response, Route, document


class HealthDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``status``: ok. ``runs`` (how many are in each live state) only for those who are logged in."""

    status: str
    runs: dict[str, int] | None = None


class ReadyDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """``status``: ready or starting. ``reasons`` only for administrators and auditors."""

    status: str
    reasons: list[str] | None = None


def health(request: Request, parts: Parts) -> Response:
    """Alive: the process answers. Anonymous callers learn nothing more (A1)."""
    if request.principal is None or not _may_see_all(request):
        return document(HealthDocument("ok"))
    return document(HealthDocument("ok", {str(status): count for status, count in parts.runs.counts().items()}))


def ready(request: Request, parts: Parts) -> Response:
    """Ready: the appliance does its work; 503 while it does not."""
    reasons = list(parts.unready())
    shown = reasons if reasons and _may_see_all(request) else None
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return document(ReadyDocument("starting" if reasons else "ready", shown), status)


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
