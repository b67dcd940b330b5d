"""Who hears of which runs on the event stream: as the pages show them, and no more (S-02, S-12)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import cast

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection

from appliance.events import RunChanged
from appliance.master.live import Live
from appliance.model.entities import Run
from appliance.model.permissions import Kind, Principal
from tests.web.world import World

MINE = "mine"


class Listener:
    """The server's side of a socket: wants all runs, lets changes happen, and hears until the last of them is told."""

    def __init__(self, changes: Callable[[], None], last: str) -> None:
        self._changes, self._last = changes, last
        self._is_over = asyncio.Event()
        self.heard: list[str] = []

    async def __aiter__(self) -> AsyncIterator[str]:
        yield '{"subscribe":"runs"}'
        self._changes()
        await asyncio.wait_for(self._is_over.wait(), 10)

    async def send(self, frame: str) -> None:
        self.heard.append(json.loads(frame)["run"]["id"])
        if self.heard[-1] == self._last:
            self._is_over.set()


def reader(run: Run) -> Principal:
    return Principal(Kind.USER, "reader", project_roles={MINE: "viewer"})


def run_token(run: Run) -> Principal:
    return Principal(Kind.RUN, run.id, run_id=run.id, run_project=MINE)


@pytest.mark.parametrize("who", [reader, run_token])
def test_req_S_02_changes_of_foreign_runs_without_a_parent_are_not_told(
    world: World, who: Callable[[Run], Principal]
) -> None:
    foreign = world.trigger()
    own = msgspec.structs.replace(foreign, id=str(uuid.UUID(int=5, version=4)), project=MINE)
    assert foreign.project != MINE
    assert foreign.parent is None

    def changes() -> None:
        world.events.publish(RunChanged(foreign))
        world.events.publish(RunChanged(own))

    async def follow() -> list[str]:
        live = Live(
            world.runs,
            world.events,
            world.clock,
            lambda path, headers, peer: (who(own), None),
            lambda changed: json.dumps({"id": changed.id}).encode(),
        )
        live.start(asyncio.get_running_loop())
        listener = Listener(changes, own.id)
        await live.serve(cast(ServerConnection, listener), who(own), None)
        return listener.heard

    assert asyncio.run(follow()) == [own.id]
