"""``sort`` in the query of lists (contract.md section 7)."""

from __future__ import annotations

import pytest

from tests.web.world import World


def walk(world: World, path: str, headers: dict[str, str], field: str) -> list[str]:
    """One field of everything in a list, read in pages of two."""
    seen: list[str] = []
    cursor = ""
    while True:
        page = world.ask("GET", f"{path}&limit=2{cursor}", headers).document
        seen += [item[field] for item in page["items"]]
        if page["next"] is None:
            return seen
        cursor = f"&cursor={page['next']}"


def test_runs_are_listed_oldest_first_when_asked(world: World) -> None:
    headers = world.user("ada", alpha="viewer", beta="viewer")
    for number in range(5):
        world.clock.advance(1)
        world.trigger("alpha" if number % 2 else "beta")
    oldest = walk(world, "/api/v1/runs?sort=created", headers, "created_at")
    assert oldest == sorted(oldest) and len(oldest) == 5
    assert walk(world, "/api/v1/runs?sort=-created", headers, "created_at") == oldest[::-1]


@pytest.mark.parametrize(("path", "field"), [("/api/v1/users", "name"), ("/api/v1/workers", "name")])
def test_people_and_workers_are_listed_from_both_ends(world: World, path: str, field: str) -> None:
    headers = world.user("root", ["administrator"])
    for name in ("bob", "Carol", "dan"):
        world.user(name)
        world.parts.workers.create(f"worker-{name}", "root")
    names = walk(world, f"{path}?sort=name", headers, field)
    assert names == sorted(names, key=str.lower) and len(names) >= 3
    assert walk(world, f"{path}?sort=-name", headers, field) == names[::-1]


@pytest.mark.parametrize("path", ["/api/v1/projects", "/api/v1/projects/alpha/jobs"])
def test_what_files_say_is_listed_in_their_order_or_by_name(world: World, path: str) -> None:
    headers = world.user("root", ["administrator"])
    names = walk(world, f"{path}?sort=name", headers, "identifier")
    assert names == sorted(names)
    assert walk(world, f"{path}?sort=-name", headers, "identifier") == names[::-1]
    assert sorted(walk(world, f"{path}?sort=position", headers, "identifier")) == names


def test_tokens_are_listed_by_time_label_and_use(world: World) -> None:
    headers = world.user("ada")
    for label in ("beta", "Alpha", "gamma"):
        world.clock.advance(1)
        world.parts.accounts.create_token("ada", label)
    labels = walk(world, "/api/v1/me/tokens?sort=label", headers, "label")
    assert labels == sorted(labels, key=str.lower) and "gamma" in labels
    made = walk(world, "/api/v1/me/tokens?sort=created", headers, "created_at")
    assert made == sorted(made)
    assert walk(world, "/api/v1/me/tokens?sort=-created", headers, "created_at") == made[::-1]
    used = walk(world, "/api/v1/me/tokens?sort=-used", headers, "last_used_at")
    assert used[-3:] == [None] * 3


@pytest.mark.parametrize(
    "path",
    ["/api/v1/runs", "/api/v1/users", "/api/v1/workers", "/api/v1/projects", "/api/v1/projects/alpha/jobs",
     "/api/v1/me/tokens"],
)  # fmt: skip
def test_an_order_that_a_list_has_not_is_refused_and_the_known_ones_are_named(world: World, path: str) -> None:
    headers = world.user("root", ["administrator"])
    for sort in ("sentence", "", "created,-name", "NAME"):
        answer = world.ask("GET", f"{path}?sort={sort}", headers)
        assert answer.status == 422
        assert "name" in answer.document["detail"] or "created" in answer.document["detail"]
        assert answer.document["errors"][0]["field"] == "sort"


def test_a_cursor_of_another_order_is_refused(world: World) -> None:
    headers = world.user("ada", alpha="viewer")
    for _ in range(3):
        world.trigger("alpha")
    cursor = world.ask("GET", "/api/v1/runs?limit=1", headers).document["next"]
    assert world.ask("GET", f"/api/v1/runs?limit=1&cursor={cursor}", headers).status == 200
    assert world.ask("GET", f"/api/v1/runs?limit=1&sort=created&cursor={cursor}", headers).status == 422
