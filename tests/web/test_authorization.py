"""Every route x method x principal, against the table kept by hand (security.md section 7, S-01, S-02)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from appliance.model.run_state import Assign
from appliance.web.routes import Route
from appliance.web.service import ROUTES
from tests.web.principals import Cast
from tests.web.world import Answer, World, bearer

TABLE = yaml.safe_load((Path(__file__).parent / "authz.yaml").read_text("utf-8"))
PRINCIPALS: list[str] = TABLE["principals"]
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
PATHS = sorted({route.path for route in ROUTES})


def rule_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_req_S_01_every_route_has_a_rule_in_the_table_and_every_rule_a_route() -> None:
    assert {rule_of(route) for route in ROUTES} == set(TABLE["routes"])
    assert set(TABLE["routes"].values()) <= set(TABLE["rules"])
    assert all(len(line) == len(PRINCIPALS) == 14 for line in TABLE["rules"].values())


def test_goal_S2_the_matrix_has_at_least_3000_cells() -> None:
    assert len(PATHS) * len(METHODS) * len(PRINCIPALS) >= 3000


@pytest.mark.parametrize("path", PATHS)
def test_goal_S2_each_method_of_a_path_answers_each_principal_as_the_table_says(tmp_path: Path, path: str) -> None:
    deviations = []
    for number, principal in enumerate(PRINCIPALS):
        world = World(tmp_path / str(number), has_pages=True)
        cast = Cast(world)
        is_page = all(route.kind == "page" for route in ROUTES if route.path == path)
        headers = cast.headers(principal, is_page=is_page)
        for method in METHODS:
            target = fill(path, cast, world)
            expected = expected_answer(path, method, number)
            if expected is None:
                continue
            is_public = expected_answer(path, method, 0) == "allow"
            found = kind_of(send(world, method, target, headers, is_page=is_page), is_public=is_public)
            if found != expected:
                deviations.append(f"{principal}: {method} {target}: {found}, not {expected}")
        world.logs.close()
    assert deviations == []


def fill(path: str, cast: Cast, world: World) -> str:
    values = {
        "project": "alpha",
        "job": "test",
        "number": "1",
        "run_id": cast.run.id,
        "worker": "w1",
        "user": "target",
        "token_id": cast.target_token_id if "<user>" in path else cast.token_id,
        "session_id": cast.session_id,
        "version": world.static_files.version,
        "name": min(world.static_files.names),
    }
    return re.sub(r"<([a-z_]+)(?::path)?>", lambda found: quote(values[found[1]]), path)


def expected_answer(path: str, method: str, principal: int) -> str | None:
    """The cell's answer; None where another path's route takes this method of the address."""
    looked_up = "GET" if method == "HEAD" else method
    for route in ROUTES:
        if route.path == path and route.method == looked_up:
            return str(TABLE["rules"][TABLE["routes"][rule_of(route)]][principal])
    taken = any(
        other.path != path and other.method == looked_up and "<" in other.path and covers(other.path, path)
        for other in ROUTES
    )
    return None if taken else "405"


def covers(pattern: str, path: str) -> bool:
    """Whether a route with names takes the address of another one."""
    return re.fullmatch(re.sub(r"<[^>]+>", "[^/]+", pattern), path) is not None


def send(world: World, method: str, target: str, headers: dict[str, str], *, is_page: bool) -> Answer:
    if is_page and method in ("POST", "PUT", "PATCH", "DELETE"):
        form = f"csrf={headers.get('Orchestra-CSRF', '')}".encode()
        return world.ask(method, target, {**headers, "Content-Type": "application/x-www-form-urlencoded"}, form)
    if method in ("POST", "PUT", "PATCH", "DELETE"):
        return world.ask(method, target, {**headers, "Content-Type": "application/json"}, b"{}")
    return world.ask(method, target, headers)


def kind_of(answer: Answer, *, is_public: bool) -> str:
    location = answer.header("Location") or ""
    if answer.status == 303 and location.startswith("/login") and not answer.all("Set-Cookie"):
        return "401"
    if is_public and answer.status in (401, 404):
        return "allow"  # the handler's own word: a login or a setup link that is not good
    if answer.status in (401, 403, 404, 405):
        return str(answer.status)
    assert answer.status < 500, answer.body
    return "allow"


def test_req_S_84_a_run_token_reads_and_ends_its_own_children_only(world: World) -> None:
    parent, stranger = world.trigger(), world.trigger()
    child = world.child(parent)
    world.runs.advance(parent.id, Assign(world.clock.now()))
    token = bearer(world.accounts.run_token(parent.id))
    assert world.ask("GET", f"/api/v1/runs/{child.id}", token).status == 200
    assert world.ask("GET", f"/api/v1/runs/{stranger.id}", token).status == 404
    assert world.ask("POST", f"/api/v1/runs/{stranger.id}/cancel", token).status == 404
    assert world.ask("POST", f"/api/v1/runs/{child.id}/cancel", token).status == 200
    assert world.send("PATCH", f"/api/v1/runs/{child.id}/results", token, {"a": 1}).status == 403


def test_req_S_84_a_run_token_dies_with_its_run(world: World) -> None:
    run = world.trigger()
    token = bearer(world.accounts.run_token(run.id))
    assert world.ask("GET", f"/api/v1/runs/{run.id}", token).status == 200
    world.end(run)
    assert world.ask("GET", f"/api/v1/runs/{run.id}", token).status == 401


def test_req_S_02_a_foreign_thing_answers_in_the_words_of_one_that_does_not_exist(world: World) -> None:
    run = world.trigger("beta")
    headers = world.user("ada", alpha="editor")
    for foreign, missing in (
        ("/api/v1/projects/beta", "/api/v1/projects/gone"),
        ("/api/v1/projects/beta/jobs", "/api/v1/projects/gone/jobs"),
        ("/api/v1/projects/beta/jobs/test", "/api/v1/projects/gone/jobs/test"),
        ("/api/v1/projects/beta/jobs/test/runs/1", "/api/v1/projects/gone/jobs/test/runs/1"),
        (f"/api/v1/runs/{run.id}", f"/api/v1/runs/{run.id[:-4]}ffff"),
        (f"/api/v1/runs/{run.id}/log", f"/api/v1/runs/{run.id[:-4]}ffff/log"),
    ):
        one, other = world.ask("GET", foreign, headers), world.ask("GET", missing, headers)
        assert one.status == other.status == 404
        assert one.body.replace(b"beta", b"gone") == other.body
        assert one.headers == other.headers or len(one.body) == len(other.body)


def test_req_S_01_a_change_of_rights_holds_at_the_next_request(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    path = "/api/v1/projects/alpha/jobs/test/runs"
    assert world.send("POST", path, headers, {}).status == 403
    world.accounts.change_user("ada", project_roles={"alpha": "operator"})
    assert world.send("POST", path, headers, {}).status == 201
    world.accounts.change_user("ada", project_roles={})
    assert world.send("POST", path, headers, {}).status == 404


def test_req_S_03_every_unknown_field_is_refused(world: World) -> None:
    headers = world.user("root", ["administrator"])
    cast = Cast(world)
    for route in ROUTES:
        if route.kind != "api" or route.method == "GET" or route.body == dict[str, object]:
            continue
        if route.path.endswith("/results"):
            continue
        answer = world.send(route.method, fill(route.path, cast, world), headers, {"is_admin": True})
        assert (rule_of(route), answer.status) == (rule_of(route), 422)
