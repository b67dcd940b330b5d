"""Whether the server lives and does its work, as programs are told."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.web.world import World


def test_fault_F16_a_full_disk_is_told_by_health_and_ready(world: World) -> None:
    world.full_since = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)
    answer = world.ask("GET", "/health")
    assert (answer.status, answer.document) == (200, {"status": "degraded"})
    answer = world.ask("GET", "/ready")
    assert (answer.status, answer.document) == (503, {"status": "degraded"})
    administrator = world.user("root", ["administrator"])
    reasons = world.ask("GET", "/ready", administrator).document["reasons"]
    assert reasons == ["disk full since 2026-01-31 09:15:00 UTC"]
