"""Bodies that are wrong: the right status, a problem, and nothing happened (S-63, S1)."""

from __future__ import annotations

import pytest

from appliance.model.run_state import Status
from tests.web.world import World

PATH = "/api/v1/projects/alpha/jobs/test/runs"
JSON = "application/json"

BAD: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "white space": (b"  \n", 400),
    "no JSON": (b"hello", 400),
    "half a document": (b'{"parameters": {', 400),
    "two documents": (b"{} {}", 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "UTF-16": ("{}".encode("utf-16"), 400),
    "invalid UTF-8": (b'{"parameters": {"branch": "\xff"}}', 400),
    "a lone surrogate": (b'{"parameters": {"branch": "\\ud800"}}', 400),
    "NUL": (b'{"parameters": {"branch": "a\\u0000"}}', 400),
    "a raw control character": (b'{"parameters": {"branch": "a\x01"}}', 400),
    "NaN": (b'{"parameters": {"count": NaN}}', 400),
    "Infinity": (b'{"parameters": {"count": -Infinity}}', 400),
    "1e999": (b'{"parameters": {"count": 1e999}}', 400),
    "a duplicate key": (b'{"parameters": {}, "parameters": {"branch": "x"}}', 400),
    "a duplicate key further in": (b'{"parameters": {"branch": "a", "branch": "b"}}', 400),
    "100,000 brackets": (b"[" * 100_000, 400),
    "100,000 braces": (b'{"a":' * 100_000, 400),
    "17 levels": (b'{"parameters":' + b"[" * 16 + b"]" * 16 + b"}", 400),
    "2^53": (b'{"parameters": {"count": 9007199254740993}}', 400),
    "10,000 digits": (b'{"parameters": {"count": ' + b"9" * 10_000 + b"}}", 400),
    "a trailing comma": (b'{"parameters": {},}', 400),
    "single quotes": (b"{'parameters': {}}", 400),
    "a comment": (b"{} // fine", 400),
    "over 1 MiB": (b'{"parameters": {"branch": "' + b"a" * (1 << 20) + b'"}}', 413),
    "a list": (b"[]", 422),
    "a text": (b'"parameters"', 422),
    "a number": (b"1", 422),
    "null": (b"null", 422),
    "true": (b"true", 422),
    "an unknown field": (b'{"parameter": {}}', 422),
    "a source": (b'{"source": {"type": "schedule"}}', 422),
    "parameters as a list": (b'{"parameters": []}', 422),
    "parameters as null": (b'{"parameters": null}', 422),
    "parameters as a text": (b'{"parameters": "branch=main"}', 422),
    "an undeclared parameter": (b'{"parameters": {"brunch": "main"}}', 422),
    "a parameter of another type": (b'{"parameters": {"branch": 7}}', 422),
    "true for a number": (b'{"parameters": {"count": true}}', 422),
    "1.5 for an int": (b'{"parameters": {"count": 1.5}}', 422),
    "an object for a text": (b'{"parameters": {"branch": {"$gt": ""}}}', 422),
    "a leading dash": (b'{"parameters": {"branch": "--upload-pack=x"}}', 422),
    "a line break": (b'{"parameters": {"branch": "a\\nb"}}', 422),
    "an unknown on": (b'{"on": "some"}', 422),
    "a huge key": (b'{"' + b"k" * 10_000 + b'": 1}', 422),
}


def test_there_are_at_least_forty() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_with_a_problem(world: World, name: str) -> None:
    body, status = BAD[name]
    answer = world.ask("POST", PATH, {**world.user("ada", alpha="operator"), "Content-Type": JSON}, body)
    assert answer.status == status
    assert answer.header("Content-Type") == "application/problem+json"
    assert answer.document["status"] == status
    assert answer.document["detail"]
    assert len(answer.body) < 2000
    assert world.runs.counts()[Status.PENDING] == 0


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_does_not_say_that_it_is_json_is_415(world: World, content_type: str) -> None:
    headers = {**world.user("ada", alpha="operator"), "Content-Type": content_type}
    assert world.ask("POST", PATH, headers, b"{}").status == 415


@pytest.mark.parametrize("length", ["ten", "-5", "999999999999", "5"])
def test_a_length_that_is_not_true_is_refused(world: World, length: str) -> None:
    from tests.web.world import ask

    headers = {**world.user("ada", alpha="operator"), "Content-Type": JSON}
    answer = ask(world.app, "POST", PATH, headers, b"{}", length=length)
    assert answer.status in (400, 413)


def test_a_field_that_is_wrong_is_named(world: World) -> None:
    headers = world.user("root", ["administrator"])
    answer = world.send("POST", "/api/v1/users", headers, {"name": "ada", "project_roles": {"alpha": 3}})
    assert answer.status == 422
    assert answer.document["errors"][0]["field"].startswith("project_roles")
    answer = world.send("POST", "/api/v1/users", headers, {"nam": "ada"})
    assert "nam" in {error["field"] for error in answer.document["errors"]}
