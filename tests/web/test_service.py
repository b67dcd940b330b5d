"""The routes of the service do what contract.md section 7 says."""

from __future__ import annotations

import base64

import pytest

from appliance.model.permissions import Kind
from appliance.model.run_state import Status
from tests.web.world import PASSWORD, World, as_json, ask, bearer, of_session

RUNS = "/api/v1/projects/alpha/jobs/test/runs"


def test_health_tells_an_anonymous_caller_nothing_but_that_it_lives(world: World) -> None:
    assert world.ask("GET", "/health").document == {"status": "ok"}
    assert world.ask("GET", "/health", world.user("root", ["administrator"])).document["runs"]["pending"] == 0


def test_ready_is_503_while_something_is_missing(world: World) -> None:
    assert world.ask("GET", "/ready").status == 200
    world.problems.append("the gateway does not listen yet")
    answer = world.ask("GET", "/ready")
    assert (answer.status, answer.document) == (503, {"status": "starting"})
    administrator = world.user("root", ["administrator"])
    assert world.ask("GET", "/ready", administrator).document["reasons"] == ["the gateway does not listen yet"]


def test_a_login_gives_a_token_that_works_until_it_is_logged_out(world: World) -> None:
    world.accounts.add_user("ada", PASSWORD, (), {"alpha": "viewer"})
    answer = world.send("POST", "/api/v1/login", {}, {"user": "ada", "password": PASSWORD})
    assert answer.status == 200
    assert answer.document["expires_at"] == "2026-01-08T00:00:00.000Z"
    headers = bearer(answer.document["token"])
    assert world.ask("GET", "/api/v1/me", headers).document["project_roles"] == {"alpha": "viewer"}
    assert world.ask("POST", "/api/v1/logout", headers).status == 204
    assert world.ask("GET", "/api/v1/me", headers).status == 401


def test_a_wrong_password_is_401_with_a_problem(world: World) -> None:
    world.accounts.add_user("ada", PASSWORD)
    answer = world.send("POST", "/api/v1/login", {}, {"user": "ada", "password": "wrong wrong wrong"})
    assert answer.status == 401
    assert answer.header("Content-Type") == "application/problem+json"
    assert answer.document == {
        "status": 401,
        "title": "Unauthorized",
        "detail": "the user or the password is wrong",
    }


def test_basic_takes_the_user_with_its_token_and_no_others(world: World) -> None:
    token = world.user("ada")["Authorization"].removeprefix("Bearer ")

    def basic(text: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    assert world.ask("GET", "/api/v1/me", basic(f"ada:{token}")).status == 200
    assert world.ask("GET", "/api/v1/me", basic(f"bob:{token}")).status == 401
    assert world.ask("GET", "/api/v1/me", basic("ada")).status == 401


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer " + "g" * 64,
        "Bearer " + "a" * 63,
        "Bearer " + "a" * 1_000_000,
        "Bearer orc_u_" + "a" * 70,
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Negotiate abc",
        "Bearer a, Bearer b",
        "Bearer \u0661\u0662",
    ],
)
def test_defect_J39_an_odd_authorization_header_is_401(world: World, value: str) -> None:
    assert world.ask("GET", "/api/v1/me", {"Authorization": value}).status == 401


def test_tokens_are_made_listed_and_revoked(world: World) -> None:
    headers = world.user("ada")
    made = world.send("POST", "/api/v1/me/tokens", headers, {"label": "laptop"}).document
    listed = world.ask("GET", "/api/v1/me/tokens", headers).document["items"]
    assert {"laptop", ""} == {token["label"] for token in listed}
    assert all("token" not in token and "hash" not in token for token in listed)
    assert world.ask("DELETE", f"/api/v1/me/tokens/{made['id']}", headers).status == 204
    assert world.ask("GET", "/api/v1/me", bearer(made["token"])).status == 401
    assert world.ask("DELETE", f"/api/v1/me/tokens/{made['id']}", headers).status == 404


def test_one_cannot_revoke_the_token_of_another(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    (token,) = world.ask("GET", "/api/v1/me/tokens", ada).document["items"]
    assert world.ask("DELETE", f"/api/v1/me/tokens/{token['id']}", bob).status == 404
    assert world.ask("GET", "/api/v1/me", ada).status == 200


def test_req_T1_the_server_says_where_a_run_came_from(world: World) -> None:
    headers = world.user("ada", alpha="operator")
    answer = world.send("POST", RUNS, headers, {"parameters": {"branch": "dev"}})
    assert answer.status == 201
    run = answer.document
    assert run["source"] == {
        "type": "user",
        "user": "ada",
        "token_id": run["source"]["token_id"],
        "via": "service",
    }
    assert run["parameters"] == {"branch": "dev", "count": 1}
    assert (run["status"], run["number"], run["created_at"]) == ("pending", 1, "2026-01-01T00:00:00.000Z")
    forged = {"parameters": {}, "source": {"type": "schedule"}}
    assert world.send("POST", RUNS, headers, forged).status == 422


def test_req_T5_an_idempotency_key_answers_the_first_run(world: World) -> None:
    headers = {**world.user("ada", alpha="operator"), "Idempotency-Key": "build-17"}
    first = world.send("POST", RUNS, headers, {"parameters": {"branch": "dev"}})
    again = world.send("POST", RUNS, headers, {"parameters": {"branch": "dev"}})
    assert (first.status, again.status) == (201, 200)
    assert first.document["id"] == again.document["id"]
    assert world.send("POST", RUNS, headers, {"parameters": {"branch": "main"}}).status == 409
    other = {**world.user("bob", alpha="operator"), "Idempotency-Key": "build-17"}
    assert world.send("POST", RUNS, other, {"parameters": {"branch": "dev"}}).status == 201


@pytest.mark.parametrize("key", ["", "a" * 201, "with space", "tab\t", "ümlaut"])
def test_a_bad_idempotency_key_is_refused(world: World, key: str) -> None:
    headers = {**world.user("ada", alpha="operator"), "Idempotency-Key": key}
    assert world.send("POST", RUNS, headers, {}).status == 422
    assert world.runs.counts()[Status.PENDING] == 0


def test_a_wrong_parameter_is_named(world: World) -> None:
    headers = world.user("ada", alpha="operator")
    answer = world.send("POST", RUNS, headers, {"parameters": {"count": "many"}})
    assert answer.status == 422
    assert [error["field"] for error in answer.document["errors"]] == ["parameters.count"]


def test_req_S_65_triggers_are_limited_per_user(world: World) -> None:
    headers = world.user("ada", alpha="operator")
    statuses = [world.send("POST", RUNS, headers, {}).status for _ in range(301)]
    assert statuses == [201] * 300 + [429]
    answer = world.send("POST", RUNS, headers, {})
    assert answer.header("Retry-After") == "1"
    world.clock.advance(1)
    assert world.send("POST", RUNS, headers, {}).status == 201
    assert world.send("POST", RUNS, world.user("bob", alpha="operator"), {}).status == 201


def test_runs_are_paged_newest_first_and_filtered(world: World) -> None:
    headers = world.user("ada", alpha="viewer", beta="viewer")
    for number in range(5):
        world.clock.advance(1)
        world.trigger("alpha" if number % 2 else "beta")
    seen: list[str] = []
    cursor = ""
    while True:
        page = world.ask("GET", f"/api/v1/runs?limit=2{cursor}", headers).document
        assert len(page["items"]) <= 2
        seen += [run["created_at"] for run in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    assert len(world.ask("GET", "/api/v1/runs?project=alpha", headers).document["items"]) == 2
    assert len(world.ask("GET", "/api/v1/runs?project=alpha&project=beta", headers).document["items"]) == 5
    assert world.ask("GET", "/api/v1/runs?status=failed", headers).document["items"] == []
    late = world.ask("GET", "/api/v1/runs?since=2026-01-01T00:00:04Z", headers).document["items"]
    assert len(late) == 2


def test_req_S_02_a_list_shows_only_projects_that_one_may_see(world: World) -> None:
    world.trigger("alpha")
    world.trigger("beta")
    shown = world.ask("GET", "/api/v1/runs", world.user("ada", alpha="viewer")).document["items"]
    assert [run["project"] for run in shown] == ["alpha"]
    both = world.ask("GET", "/api/v1/runs?project=beta", world.user("bob", alpha="viewer")).document["items"]
    assert both == []
    assert world.ask("GET", "/api/v1/runs", world.user("nobody")).document["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=1&limit=2",
        "limit=%D9%A1",
        "limit=1_0",
        "status=happy",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "colour=red",
        "cursor=abc",
        "cursor=" + "A" * 200,
        "cursor=",
    ],
)
def test_a_bad_query_is_422_and_names_the_field(world: World, query: str) -> None:
    answer = world.ask("GET", f"/api/v1/runs?{query}", world.user("ada", alpha="viewer"))
    assert answer.status == 422
    assert answer.header("Content-Type") == "application/problem+json"


def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    headers = world.user("root", ["administrator"])
    world.user("ada")
    cursor = world.ask("GET", "/api/v1/users?limit=1", headers).document["next"]
    assert cursor is not None
    assert world.ask("GET", f"/api/v1/users?cursor={cursor}", headers).status == 200
    assert world.ask("GET", f"/api/v1/workers?cursor={cursor}", headers).status == 422


def test_a_run_is_found_by_id_and_by_number(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    run = world.trigger()
    by_id = world.ask("GET", f"/api/v1/runs/{run.id}", headers)
    assert by_id.status == 200
    assert world.ask("GET", f"{RUNS}/1", headers).document == by_id.document
    assert world.ask("GET", f"{RUNS}/latest", headers).document == by_id.document
    assert world.ask("GET", f"{RUNS}/last-success", headers).status == 404
    assert world.ask("GET", f"{RUNS}/2", headers).status == 404
    assert world.ask("GET", f"{RUNS}/\u0661", headers).status == 404


def test_a_run_says_why_it_waits(world: World) -> None:
    run = world.trigger()
    found = world.ask("GET", f"/api/v1/runs/{run.id}", world.user("ada", alpha="viewer")).document
    assert (found["status"], found["sentence"]) == ("pending", "")
    assert found["waits"] == "waits for a worker: there is none yet"


def test_the_log_is_read_by_range(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    run = world.trigger()
    world.logs.append(run.id, 0, 0, b"one\ntwo\n\xff\x00")
    answer = world.ask("GET", f"/api/v1/runs/{run.id}/log?offset=4&limit=3", headers)
    assert answer.body == b"two"
    assert answer.header("Orchestra-Log-Size") == "10"
    assert answer.header("Orchestra-Log-Complete") == "false"
    assert world.ask("GET", f"/api/v1/runs/{run.id}/log?offset=8", headers).body == b"\xff\x00"
    past = world.ask("GET", f"/api/v1/runs/{run.id}/log?offset=11", headers)
    assert (past.status, past.body, past.header("Orchestra-Log-Size")) == (200, b"", "10")


def test_req_S_15_a_raw_log_is_never_a_page(world: World) -> None:
    run = world.trigger()
    world.logs.append(run.id, 0, 0, b"<script>alert(1)</script>")
    answer = world.ask("GET", f"/api/v1/runs/{run.id}/log", world.user("ada", alpha="viewer"))
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert (answer.header("Content-Disposition") or "").startswith("attachment; ")
    assert (answer.header("Content-Security-Policy") or "").startswith("sandbox")


def test_results_are_a_bare_object_that_can_be_added_to(world: World) -> None:
    headers = world.user("ada", alpha="operator")
    run = world.trigger()
    path = f"/api/v1/runs/{run.id}/results"
    assert world.ask("GET", path, headers).document == {}
    assert world.send("PATCH", path, headers, {"score": 3, "when": "2026-01-01"}).document == {
        "score": 3,
        "when": "2026-01-01",
    }
    assert world.send("PATCH", path, headers, {"score": 4}).document["score"] == 4


def test_a_pending_run_is_cancelled_and_then_it_is_a_conflict(world: World) -> None:
    headers = world.user("ada", alpha="operator")
    run = world.trigger()
    answer = world.ask("POST", f"/api/v1/runs/{run.id}/cancel", headers)
    assert answer.status == 200
    assert (answer.document["status"], answer.document["outcome"]) == ("cancelled", "cancelled")
    assert world.ask("POST", f"/api/v1/runs/{run.id}/cancel", headers).status == 409
    assert world.ask("POST", f"/api/v1/runs/{run.id}/abort", headers).status == 409


def test_jobs_are_as_in_the_file_with_their_state(world: World) -> None:
    headers = world.user("ada", alpha="editor")
    run = world.trigger()
    job = world.ask("GET", "/api/v1/projects/alpha/jobs/test", headers).document
    assert job["definition"] == {"commands": ["make test"]}
    assert (job["is_enabled"], job["last_run"]["id"]) == (True, run.id)
    patched = world.send("PATCH", "/api/v1/projects/alpha/jobs/test", headers, {"is_enabled": False})
    assert (patched.status, patched.document["is_enabled"]) == (200, False)
    (listed,) = world.ask("GET", "/api/v1/projects/alpha/jobs", headers).document["items"]
    assert listed["is_enabled"] is False


def test_projects_are_switched_by_an_administrator(world: World) -> None:
    headers = world.user("root", ["administrator"])
    assert [p["identifier"] for p in world.ask("GET", "/api/v1/projects", headers).document["items"]] == [
        "alpha",
        "beta",
    ]
    assert world.send("PATCH", "/api/v1/projects/alpha", headers, {"is_enabled": False}).document["is_enabled"] is False


def test_a_worker_token_comes_with_the_line_to_type(world: World) -> None:
    headers = world.user("root", ["administrator"])
    body = {"name": "w1", "properties": {"os": "linux"}}
    answer = world.send("POST", "/api/v1/workers/tokens", headers, body)
    assert answer.status == 201
    token = answer.document["token"]
    assert answer.document["join"] == f"orchestra worker join http://127.0.0.1:8080 {token}"
    assert world.accounts.principal_of_token(token, [Kind.WORKER]).name == "w1"
    (worker,) = world.ask("GET", "/api/v1/workers", headers).document["items"]
    assert (worker["name"], worker["owner"], worker["properties"]) == ("w1", "root", {"os": "linux"})
    assert world.send("PATCH", "/api/v1/workers/w1", headers, {"is_enabled": False}).document["is_enabled"] is False
    assert world.ask("DELETE", "/api/v1/workers/w1", headers).status == 204
    assert world.ask("GET", "/api/v1/workers/w1", headers).status == 404


def test_users_are_added_changed_and_listed_without_their_secrets(world: World) -> None:
    headers = world.user("root", ["administrator"])
    body = {"name": "ada", "password": PASSWORD, "project_roles": {"alpha": "viewer"}}
    assert world.send("POST", "/api/v1/users", headers, body).status == 201
    assert world.send("POST", "/api/v1/users", headers, {"name": "ADA"}).status == 409
    listed = world.ask("GET", "/api/v1/users", headers)
    assert b"pbkdf2" not in listed.body
    assert [user["name"] for user in listed.document["items"]] == ["ada", "root"]
    changed = world.send("PATCH", "/api/v1/users/ada", headers, {"is_enabled": False})
    assert (changed.document["is_enabled"], changed.document["project_roles"]) == (False, {"alpha": "viewer"})


def test_defect_J37_an_unknown_role_is_refused(world: World) -> None:
    headers = world.user("root", ["administrator"])
    for body in ({"site_roles": ["admin"]}, {"project_roles": {"alpha": "view"}}, {"site_roles": ["administrator "]}):
        assert world.send("POST", "/api/v1/users", headers, {"name": "eve", **body}).status == 422
    assert world.ask("GET", "/api/v1/users/eve", headers).status == 404


def test_defect_J38_unknown_things_are_404_with_a_problem(world: World) -> None:
    headers = world.user("root", ["administrator"])
    for path in (
        "/api/v1/projects/gamma",
        "/api/v1/projects/gamma/jobs",
        "/api/v1/projects/alpha/jobs/none",
        "/api/v1/runs/00000000-0000-4000-8000-000000000000",
        "/api/v1/runs/not-an-id",
        "/api/v1/workers/none",
        "/api/v1/users/none",
        "/api/v1/nothing",
        "/api/v1/runs/%2e%2e/%2e%2e/etc",
    ):
        answer = world.ask("GET", path, headers)
        assert (path, answer.status) == (path, 404)
        assert answer.header("Content-Type") == "application/problem+json"


def test_a_method_that_a_path_does_not_have_is_405_and_says_which(world: World) -> None:
    answer = world.ask("PUT", "/api/v1/runs", world.user("ada"))
    assert answer.status == 405
    assert "GET" in (answer.header("Allow") or "")


def test_head_is_get_without_a_body(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    answer = world.ask("HEAD", "/api/v1/runs", headers)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("Content-Length") == str(len(world.ask("GET", "/api/v1/runs", headers).body))


def test_changing_the_password_over_a_session_gives_a_new_one(world: World) -> None:
    world.user("ada")
    login = world.login("ada")
    body = {"current": PASSWORD, "password": "another fine long pass phrase"}
    answer = world.send("POST", "/api/v1/me/password", of_session(login), body)
    assert answer.status == 204
    cookie = next(value for value in answer.all("Set-Cookie") if value.startswith("session="))
    new = {"Cookie": cookie.partition(";")[0]}
    assert world.ask("GET", "/api/v1/me", new).status == 200
    assert world.ask("GET", "/api/v1/me", of_session(login)).status == 401


def test_a_finished_run_says_that_its_log_is_complete_only_when_it_is(world: World) -> None:
    run = world.end(world.trigger(), Status.SUCCEEDED)
    answer = world.ask("GET", f"/api/v1/runs/{run.id}/log", world.user("ada", alpha="viewer"))
    assert answer.header("Orchestra-Log-Complete") == "true"


def test_login_over_plain_http_beyond_this_machine_is_refused(world: World) -> None:
    world.accounts.add_user("ada", PASSWORD)
    body = b'{"user": "ada", "password": "correct horse battery staple"}'
    headers = as_json({"Host": "ci.example.org"})
    assert ask(world.app, "POST", "/api/v1/login", headers, body).status == 403
    assert ask(world.app, "POST", "/api/v1/login", as_json({}), body, address="192.0.2.7").status == 403
    assert ask(world.app, "POST", "/api/v1/login", headers, body, scheme="https").status == 200
