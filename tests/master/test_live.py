"""The event stream tells a run as it is, also when it changes in the moment in which somebody begins to follow it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection

from appliance.master.live import Live
from appliance.model.entities import Run
from appliance.model.permissions import SYSTEM
from appliance.model.run_state import Cancel, Reason
from appliance.runs import Runs
from tests.web.world import World


class Overtaken:
    """Runs that are cancelled right after one of them was looked at for the n-th time."""

    def __init__(self, world: World, looks: int) -> None:
        self._world, self._looks = world, looks

    def get(self, run_id: str) -> Run:
        run = self._world.runs.get(run_id)
        self._looks -= 1
        if self._looks == 0:
            event = Cancel(at=self._world.clock.now(), reason=Reason.REQUESTED, sentence="cancelled")
            self._world.runs.advance(run_id, event)
        return run

    def log(self, run_id: str, offset: int, limit: int) -> bytes:
        return self._world.runs.log(run_id, offset, limit)


class Listener:
    """The server's side of a socket: says one thing, and hears until it was told of an end."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = json.dumps(said)
        self._is_over = asyncio.Event()
        self.heard: list[dict[str, Any]] = []

    async def __aiter__(self) -> AsyncIterator[str]:
        yield self._said
        await asyncio.wait_for(self._is_over.wait(), 10)

    async def send(self, frame: str) -> None:
        self.heard.append(json.loads(frame))
        if self.heard[-1]["type"] == "log_end":
            self._is_over.set()


@pytest.mark.parametrize("looks", [1, 2])
def test_a_change_while_somebody_begins_to_follow_is_told(world: World, looks: int) -> None:
    run = world.trigger()

    async def follow() -> list[dict[str, Any]]:
        live = Live(
            cast(Runs, Overtaken(world, looks)),
            world.events,
            world.clock,
            lambda path, headers, peer: (SYSTEM, None),
            lambda changed: json.dumps({"status": changed.status}).encode(),
        )
        live.start(asyncio.get_running_loop())
        listener = Listener({"subscribe": "log", "run": run.id})
        await live.serve(cast(ServerConnection, listener), SYSTEM, None)
        return listener.heard

    told = [one["run"]["status"] for one in asyncio.run(follow()) if one["type"] == "run"]
    assert told[-1] == "cancelled"
    assert told in (["cancelled"], ["pending", "cancelled"])
