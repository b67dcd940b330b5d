"""Workers, by the service: out of service and back, and which of them are listed."""

from __future__ import annotations

import pytest

from tests.web.world import World


@pytest.fixture
def root(world: World) -> dict[str, str]:
    headers = world.user("root", ["administrator"])
    for name, properties in (("w1", {"os": "linux"}), ("W2", {"os": "linux", "gpu": True}), ("other", {"os": "macos"})):
        world.workers.create(name, "root", properties)
    return headers


def test_req_W6_a_worker_is_drained_disconnected_and_enabled_by_the_service(world: World, root: dict[str, str]) -> None:
    drained = world.send("POST", "/api/v1/workers/w1/drain", root, {}).document
    assert (drained["is_enabled"], drained["is_draining"], drained["is_drained"]) == (True, True, True)
    assert (drained["left"], drained["state"], drained["switched_by"]) == (0, "drained", "root")
    gone = world.send("POST", "/api/v1/workers/w1/disconnect", root, {}).document
    assert (gone["is_enabled"], gone["is_draining"], gone["is_disconnected"]) == (False, False, True)
    assert gone["state"] == "disconnected" and "disconnected by root at" in gone["sentence"]
    back = world.send("PATCH", "/api/v1/workers/w1", root, {"is_enabled": True}).document
    assert (back["is_enabled"], back["is_draining"], back["is_disconnected"]) == (True, False, False)
    for verb in ("drain", "disconnect"):
        assert world.send("POST", f"/api/v1/workers/nobody/{verb}", root, {}).status == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["other", "w1", "W2"]),
        ("sort=-name", ["W2", "w1", "other"]),
        ("name=w", ["w1", "W2"]),
        ("property=os%3Dlinux", ["w1", "W2"]),
        ("property=gpu%3Dtrue&name=w", ["W2"]),
        ("state=drained", ["other"]),
        ("state=drained&state=never%20seen", ["other", "w1", "W2"]),
    ],
)
def test_req_V3_workers_are_listed_by_state_name_and_property(
    world: World, root: dict[str, str], query: str, names: list[str]
) -> None:
    world.workers.drain("other")
    found = world.ask("GET", f"/api/v1/workers?{query}", root).document["items"]
    assert [one["name"] for one in found] == names


@pytest.mark.parametrize("query", ["state=asleep", "property=linux", "property=%3Dx", "sort=colour", "cursor=x"])
def test_what_no_list_of_workers_has_is_refused(world: World, root: dict[str, str], query: str) -> None:
    assert world.ask("GET", f"/api/v1/workers?{query}", root).status == 422
