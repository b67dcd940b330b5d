"""After a restore: what the service and the dashboard say of it, and releasing what waits (F24)."""

from __future__ import annotations

import pytest

from appliance.model.entities import Source
from tests.web.world import World, of_session

PATH = "/api/v1/recovery"


@pytest.fixture
def root(world: World) -> dict[str, str]:
    return world.user("root", ["administrator"])


def test_a_server_that_was_never_restored_says_so(world: World, root: dict[str, str]) -> None:
    answer = world.ask("GET", PATH, root)
    assert (answer.status, answer.document["is_open"], answer.document["began_at"]) == (200, False, None)
    assert answer.document["sentence"] == "never restored from a backup"
    assert world.send("POST", f"{PATH}/release", root, {}).status == 409


def test_fault_F24_a_recovery_is_shown_and_released(world: World, root: dict[str, str]) -> None:
    world.workers.create("w1", "root")
    world.workers.create("w2", "root")
    world.workers.enable("w2", False)
    run, _ = world.runs.trigger("alpha", "test", {}, Source(type="user", user="root"))
    world.recoveries.begin("restored", world.clock.now())
    document = world.ask("GET", PATH, root).document
    assert (document["is_open"], document["recovered"], document["failed"]) == (True, 0, 0)
    assert [(one["name"], one["is_enabled"], one["merged_at"]) for one in document["workers"]] == [
        ("w1", True, None),
        ("w2", False, None),
    ]
    assert document["sentence"].endswith("waits for w1, w2 (disabled)")
    assert world.parts.waits.reasons([run])[run.id].startswith("waits: restored from a backup; 2 workers have not")
    released = world.send("POST", f"{PATH}/release", root, {})
    assert (released.status, released.document["released_by"], released.document["is_open"]) == (200, "root", False)
    assert released.document["sentence"].endswith("; it is over: released by root")
    assert "restored" not in world.parts.waits.reasons([run])[run.id]


def test_a_run_says_whether_it_was_recovered(world: World, root: dict[str, str]) -> None:
    run, _ = world.runs.trigger("alpha", "test", {}, Source(type="user", user="root"))
    assert world.ask("GET", f"/api/v1/runs/{run.id}", root).document["recovered"] is False


class TestDashboard:
    """The banner."""

    @pytest.fixture
    def world(self, tmp_path) -> World:  # type: ignore[no-untyped-def]  # pytest's
        return World(tmp_path / "logs", has_pages=True)

    def test_fault_F24_an_administrator_sees_what_came_back_and_can_end_the_wait(self, world: World) -> None:
        world.user("root", ["administrator"])
        world.user("vera", alpha="viewer")
        world.workers.create("w1", "root")
        root, vera = world.login("root"), world.login("vera")
        assert b"estored from" not in world.ask("GET", "/", of_session(root)).body
        world.recoveries.begin("restored")
        page = world.ask("GET", "/", of_session(root)).body
        assert b"Restored from an older backup; 0 runs recovered, 0 could not be; waits for w1." in page
        assert b'action="/recovery/release"' in page
        assert b"estored from" not in world.ask("GET", "/", of_session(vera)).body
        world.recoveries.merged(world.workers.named("w1").worker.id, "journal")
        page = world.ask("GET", "/", of_session(root)).body
        assert b"0 runs recovered, 0 could not be; it is over: all workers have reported." in page
        assert b"estored from" not in world.ask("GET", "/", of_session(vera)).body
        assert b"/recovery/release" not in page
        world.clock.advance(86_401)
        assert b"estored from" not in world.ask("GET", "/", of_session(root)).body

    def test_fault_F24_a_recovery_whose_last_worker_is_removed_is_told_for_a_day_from_then_on(
        self, world: World
    ) -> None:
        world.user("root", ["administrator"])
        world.workers.create("w1", "root")
        world.recoveries.begin("restored")
        world.clock.advance(30 * 86_400)
        world.workers.remove("w1")
        assert world.recoveries.newest() is not None and world.recoveries.open() is None
        root = world.login("root")
        assert b"it is over" in world.ask("GET", "/", of_session(root)).body
        world.clock.advance(86_401)
        assert b"it is over" not in world.ask("GET", "/", of_session(root)).body
