"""Users and the tokens of programs, as administrators see to them over the service."""

from __future__ import annotations

from tests.web.world import PASSWORD, World, bearer

RUNS = "/api/v1/projects/alpha/jobs/test/runs"


def test_a_role_of_a_project_that_is_not_in_force_is_given_with_a_warning(world: World) -> None:
    headers = world.user("root", ["administrator"])
    made = world.send(
        "POST", "/api/v1/users", headers, {"name": "ada", "project_roles": {"alpha": "viewer", "alhpa": "viewer"}}
    )
    said = "no project 'alhpa' is in force; did you mean 'alpha'?; the role counts once there is one"
    assert (made.status, made.document["warnings"]) == (201, [said])
    assert made.document["project_roles"] == {"alpha": "viewer", "alhpa": "viewer"}
    changed = world.send("PATCH", "/api/v1/users/ada", headers, {"project_roles": {"nonsense": "viewer"}})
    assert changed.document["warnings"] == ["no project 'nonsense' is in force; the role counts once there is one"]
    assert world.send("PATCH", "/api/v1/users/ada", headers, {"is_enabled": True}).document["warnings"] == []


def test_an_administrator_makes_lists_and_revokes_the_tokens_of_a_program(world: World) -> None:
    headers = world.user("root", ["administrator"])
    path = "/api/v1/users/bot/tokens"
    assert world.send("POST", path, headers, {"label": "nightly"}).status == 404
    world.send("POST", "/api/v1/users", headers, {"name": "bot", "project_roles": {"alpha": "operator"}})
    made = world.send("POST", path, headers, {"label": "nightly"})
    assert (made.status, made.document["label"], made.document["expires_at"]) == (201, "nightly", None)
    bot = bearer(made.document["token"])
    assert world.ask("GET", "/api/v1/me", bot).document["name"] == "bot"
    assert world.send("POST", RUNS, bot, {"parameters": {"branch": "dev"}}).status == 201
    assert world.send("POST", path, bot, {}).status == 403
    listed = world.ask("GET", path, headers)
    assert [one["id"] for one in listed.document["items"]] == [made.document["id"]]
    assert made.document["token"].encode() not in listed.body
    assert world.ask("DELETE", f"{path}/{made.document['id']}", headers).status == 204
    assert world.ask("GET", "/api/v1/me", bot).status == 401
    assert world.ask("DELETE", f"{path}/{made.document['id']}", headers).status == 404
    assert world.ask("GET", "/api/v1/users/nobody/tokens", headers).status == 404


def test_nobody_makes_a_token_for_one_who_can_log_in_or_is_disabled(world: World) -> None:
    headers = world.user("root", ["administrator"])
    world.accounts.add_user("ada", PASSWORD)
    refused = world.send("POST", "/api/v1/users/ada/tokens", headers, {})
    assert refused.status == 409 and "ada has a password" in refused.document["detail"]
    world.accounts.add_user("bot")
    world.accounts.change_user("bot", is_enabled=False)
    assert world.send("POST", "/api/v1/users/bot/tokens", headers, {}).status == 409
