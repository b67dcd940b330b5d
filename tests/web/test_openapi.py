"""The description of the service is true: every route is in it, and real answers are as it says (A1)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from appliance.web.openapi import describe
from appliance.web.service import ROUTES
from tests.web.principals import Cast
from tests.web.test_authorization import fill
from tests.web.world import PASSWORD, World

API = [route for route in ROUTES if route.kind == "api"]
BODIES: dict[str, Any] = {
    "POST /api/v1/login": {"user": "target", "password": PASSWORD},
    "POST /api/v1/me/password": {"current": PASSWORD, "password": "another fine long pass phrase"},
    "POST /api/v1/me/tokens": {"label": "laptop"},
    "POST /api/v1/users/<user>/tokens": {"label": "nightly build"},
    "PATCH /api/v1/projects/<project>": {"is_enabled": True},
    "PATCH /api/v1/projects/<project>/jobs/<job>": {"is_enabled": True},
    "POST /api/v1/projects/<project>/jobs/<job>/runs": {"parameters": {"branch": "dev"}},
    "PATCH /api/v1/runs/<run_id>/results": {"score": 1},
    "PATCH /api/v1/workers/<worker>": {"is_enabled": True},
    "POST /api/v1/workers/tokens": {"name": "w2"},
    "POST /api/v1/users": {"name": "newcomer"},
    "PATCH /api/v1/users/<user>": {"site_roles": ["auditor"]},
}


def schema_path(path: str) -> str:
    return re.sub(r"<([a-z_]+)>", r"{\1}", path)


def faults(value: Any, schema: Any, components: dict[str, Any], at: str = "$") -> list[str]:
    """What of a value is not as a JSON Schema says, for the keywords that ours use."""
    if "$ref" in schema:
        return faults(value, components[schema["$ref"].rsplit("/", 1)[1]], components, at)
    if "anyOf" in schema:
        tries = [faults(value, one, components, at) for one in schema["anyOf"]]
        return [] if [] in tries else [f"{at}: fits none of {len(tries)}"]
    found: list[str] = []
    kinds = {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "null": value is None,
    }
    if "type" in schema and not kinds[schema["type"]]:
        return [f"{at}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
        found.append(f"{at}: {value!r} is no time with milliseconds")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        if properties and schema.get("additionalProperties") is not True:
            found += [f"{at}: {name} is not described" for name in value if name not in properties]
        for name, one in value.items():
            if name in properties:
                found += faults(one, properties[name], components, f"{at}.{name}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, one in enumerate(value):
            found += faults(one, schema["items"], components, f"{at}[{index}]")
    return found


def test_req_A1_every_route_of_the_service_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, methods in describe(ROUTES)["paths"].items() for method in methods}
    assert described == {(route.method, schema_path(route.path)) for route in API}


def test_every_operation_has_a_name_of_its_own_and_a_summary() -> None:
    operations = [one for methods in describe(ROUTES)["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"] for one in operations)


def test_every_reference_leads_somewhere() -> None:
    text = describe(ROUTES)
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", repr(text)))
    assert references
    assert references <= set(text["components"]["schemas"])


def test_req_S_64_every_text_of_a_request_has_a_longest_length() -> None:
    """Free values (parameters, properties, results) are bounded by the size of the body."""
    text = describe(ROUTES)
    components = text["components"]["schemas"]
    unbounded = []
    for path, methods in text["paths"].items():
        for method, operation in methods.items():
            asked = [one["schema"] for one in operation["parameters"] if one["in"] == "query"]
            asked += [one["schema"] for one in operation.get("requestBody", {}).get("content", {}).values()]
            unbounded += [f"{method} {path}: {place}" for one in asked for place in open_texts(one, components)]
    assert unbounded == []


def open_texts(schema: Any, components: dict[str, Any], at: str = "$") -> list[str]:
    if "$ref" in schema:
        return open_texts(components[schema["$ref"].rsplit("/", 1)[1]], components, at)
    if schema.get("type") == "string" and not {"maxLength", "enum"} & set(schema):
        return [at]
    inner = [(f"{at}[]", schema["items"])] if isinstance(schema.get("items"), dict) else []
    inner += [(f"{at}.{name}", one) for name, one in schema.get("properties", {}).items()]
    inner += [(at, one) for one in schema.get("anyOf", [])]
    return [place for where, one in inner for place in open_texts(one, components, where)]


def test_req_A1_real_answers_are_as_described(tmp_path: Path) -> None:
    described = describe(ROUTES)
    components = described["components"]["schemas"]
    found: list[str] = []
    for number, route in enumerate(API):
        world = World(tmp_path / str(number))
        name = f"{route.method} {route.path}"
        cast = Cast(world)
        if route.path == "/api/v1/login":
            world.accounts.set_password("target", PASSWORD)
        administrator = cast.headers("administrator", is_page=False)
        if route.path.startswith("/api/v1/me/password"):
            world.accounts.set_password("administrator", PASSWORD)
        if route.path == "/api/v1/recovery/release":
            world.workers.create("missing", "administrator")
            world.recoveries.begin("a backup was put back")
        target = fill(route.path, cast, world)
        body = BODIES.get(name)
        if route.method == "GET":
            answer = world.ask("GET", target, administrator)
        else:
            answer = world.send(route.method, target, administrator, body or {})
        operation = described["paths"][schema_path(route.path)][route.method.lower()]
        assert str(answer.status) in operation["responses"], (name, answer.status, answer.body)
        response = operation["responses"][str(answer.status)]
        for header in response.get("headers", {}):
            assert answer.header(header) is not None, (name, header)
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema is not None:
            found += [f"{name} {fault}" for fault in faults(answer.document, schema, components)]
        world.logs.close()
    assert found == []


def test_req_A1_a_refusal_is_as_described(world: World) -> None:
    described = describe(ROUTES)
    schema = described["paths"]["/api/v1/runs"]["get"]["responses"]["default"]["content"]["application/problem+json"]
    for answer in (world.ask("GET", "/api/v1/runs"), world.ask("GET", "/api/v1/runs?limit=0", world.user("ada"))):
        assert faults(answer.document, schema["schema"], described["components"]["schemas"]) == []
