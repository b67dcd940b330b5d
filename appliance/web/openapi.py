"""The OpenAPI 3.1 document, made from the route table, so that it cannot say anything else than the routes do (A1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

import appliance
from appliance.web.errors import ProblemDocument
from appliance.web.routes import Route

_PARAMETER = re.compile(r"<([a-z_]+)(?::[^>]*)?>")
_REF = "#/components/schemas/{name}"
_PROBLEM = "application/problem+json"


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The document for the routes of the service; pages and static files are no part of it."""
    shown = [route for route in routes if route.kind == "api"]
    types = [kind for route in shown for kind in (route.body, route.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([ProblemDocument, *types], ref_template=_REF)
    named = iter(schemas)
    problem = next(named)
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        body = next(named) if route.body is not None else None
        answer = next(named) if route.answer is not None else None
        operation = _operation(route, body, answer, problem)
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Orchestra Appliance", "version": appliance.__version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "user:token"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-session",
                    "description": "of the website; changes also need the header Orchestra-CSRF",
                },
            },
        },
        "security": [{"token": []}, {"basic": []}, {"session": []}],
    }


def _operation(route: Route, body: Any, answer: Any, problem: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": _description(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {
            **{str(int(status)): _success(route, status, answer) for status in (route.status, *route.statuses)},
            "default": {"description": "What went wrong", "content": {_PROBLEM: {"schema": problem}}},
        },
    }
    if route.right == "public":
        operation["security"] = []
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _success(route: Route, status: int, answer: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if answer is not None:
        described["content"] = {"application/json": {"schema": answer}}
    elif status != HTTPStatus.NO_CONTENT:
        described["content"] = {"application/octet-stream": {}}
    if route.headers:
        described["headers"] = {name: {"schema": {"type": "string"}} for name in route.headers}
    return described


def _description(route: Route) -> str:
    if route.right == "public":
        return "Needs no login."
    if route.right == "self":
        return "Needs a login."
    return f"Needs the right to {route.right}{'' if route.scope == 'site' else ' in the project'}."


def _operation_id(route: Route) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", route.path.removeprefix("/api/v1").lower()).split()
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "required": False, "schema": {"type": "string"}} for name in route.takes]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    schema, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    described = components[schema[0]["$ref"].rsplit("/", 1)[1]]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _inline(one, components)}
        for name, one in described.items()
    ]


def _inline(schema: Any, components: dict[str, Any]) -> Any:
    """A schema without references: parameters stand outside of the shared components."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(components[schema["$ref"].rsplit("/", 1)[1]], components)
        return {name: _inline(one, components) for name, one in schema.items()}
    if isinstance(schema, list):
        return [_inline(one, components) for one in schema]
    return schema
