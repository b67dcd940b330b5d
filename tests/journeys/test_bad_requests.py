"""Bad requests over real HTTP: refused with the right status and a problem, and nothing is created (S-63, S1)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from tests.journeys.site import LONG_ENOUGH, Site, opened
from tests.web.test_bad_bodies import BAD, JSON, PATH

JOB: dict[str, Any] = {
    "identifier": "test",
    "definition": {"commands": ["true"]},
    "parameters": [{"key": "branch", "default": "main"}, {"key": "count", "type": "int", "default": 1}],
}
PROJECTS: dict[str, Any] = {"projects": [{"identifier": "alpha", "display_name": "Alpha", "jobs": [JOB]}]}


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    yield module_site
    assert list(module_site.client.runs()) == []
    module_site.assert_healthy()


def assert_problem(response: HTTPResponse, status: int) -> None:
    body = response.read()
    assert response.status == status, body
    assert response.getheader("Content-Type") == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    assert len(body) < 2000
    assert b"Traceback" not in body and b".py" not in body


@pytest.mark.parametrize("name", BAD)
def test_req_S_63_a_bad_body_is_refused_with_a_problem(site: Site, name: str) -> None:
    body, status = BAD[name]
    connection = HTTPConnection("127.0.0.1", site.port, timeout=LONG_ENOUGH)
    try:
        connection.request("POST", PATH, body, {"Authorization": f"Bearer {site.token}", "Content-Type": JSON})
        assert_problem(connection.getresponse(), status)
    finally:
        connection.close()


def head(site: Site, *lines: str, method: str = "POST", path: str = PATH) -> bytes:
    first = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {site.token}"]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("lines", "body", "statuses"),
    [
        (["Content-Type: text/plain", "Content-Length: 2"], b"{}", {415}),
        (["Content-Length: 2"], b"{}", {415}),
        (["Content-Type: application/json", "Content-Length: ten"], b"{}", {400}),
        (["Content-Type: application/json", "Content-Length: -2"], b"{}", {400}),
        (["Content-Type: application/json", "Content-Length: 2", "Content-Length: 3"], b"{}}", {400}),
        (["Content-Type: application/json", "Content-Length: 99999999999"], b"{}", {413}),
        (["Content-Type: application/json", "Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n", {400}),
        (["Content-Type: application/json", "Transfer-Encoding: gzip", "Content-Length: 2"], b"{}", {400, 501}),
        (["Content-Type: application/json", "Content-Length: 2", "X: " + "x" * 20_000], b"{}", {431}),
        (["Content-Type: application/json", "Content-Length: 2", "Idempotency-Key: " + "k" * 201], b"{}", {400, 422}),
        (["Content-Type: application/json", "Content-Length: 2", " folded"], b"{}", {400}),
    ],
    ids=lambda given: given[-1][:40] if isinstance(given, list) else "",
)
def test_req_S_60_a_bad_request_is_refused(site: Site, lines: list[str], body: bytes, statuses: set[int]) -> None:
    with socket.create_connection(("127.0.0.1", site.port), LONG_ENOUGH) as connection:
        connection.sendall(head(site, *lines) + body)
        response = HTTPResponse(connection)
        response.begin()
        assert response.status in statuses, response.read()
        assert_problem(response, response.status)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/runs/none", 404),
        ("/api/v1/runs/%00", 404),
        ("/api/v1/runs/%ff", 404),
        ("/api/v1/runs/..%2f..%2fetc%2fpasswd", 404),
        ("/api/v1/projects/alpha/jobs/test/runs/%D9%A1", 404),
        ("/api/v1/projects/alpha/jobs/test/runs/" + "9" * 5000, 404),
        ("/api/v1/runs?limit=x", 422),
        ("/api/v1/runs?cursor=x", 422),
        ("/api/v1/runs?since=yesterday", 422),
        ("/api/v1/runs?unknown=1", 422),
    ],
)
def test_defect_J38_a_bad_path_or_query_is_a_problem_too(site: Site, path: str, status: int) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=LONG_ENOUGH)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {site.token}"})
        response = connection.getresponse()
        if response.status == 400:
            status = 400
        assert_problem(response, status)
    finally:
        connection.close()
