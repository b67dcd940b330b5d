"""A listener hears no longer than its login lasts (S-07, S-84)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import cast

import msgspec
from websockets.asyncio.server import ServerConnection

from appliance.master.live import CLIENTS_EACH, Live
from appliance.model.entities import Session
from appliance.model.errors import Unauthenticated
from appliance.model.permissions import Kind, Principal
from appliance.model.run_state import Cancel, Reason
from appliance.wire import Close
from tests.web.world import World

READER = Principal(Kind.USER, "reader", project_roles={"website": "viewer"})


class Silent:
    """The server's side of a socket that says nothing and stays until it is closed."""

    def __init__(self) -> None:
        self.closed: int | None = None
        self._is_closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        await asyncio.wait_for(self._is_closed.wait(), 10)
        return
        yield ""

    async def send(self, frame: str) -> None:
        """Nobody reads it."""

    async def close(self, code: int, reason: str) -> None:
        self.closed = code
        self._is_closed.set()


def listen(world: World, principal: Principal, look: Callable[[], tuple[Principal, Session | None]]) -> int | None:
    """Serve one listener to its end; answers with which code it was closed."""

    async def serve() -> int | None:
        live = Live(world.runs, world.events, world.clock, lambda *_: (principal, None), lambda run: b"{}")
        live.start(asyncio.get_running_loop())
        socket = Silent()
        await live.serve(cast(ServerConnection, socket), principal, None, look)
        return socket.closed

    return asyncio.run(serve())


def test_req_S_07_rights_that_changed_while_a_listener_was_let_in_close_it(world: World) -> None:
    now = msgspec.structs.replace(READER, project_roles={})
    assert listen(world, READER, lambda: (now, None)) == Close.REVOKED


def test_req_S_07_a_listener_is_closed_when_its_token_expires(world: World) -> None:
    short = msgspec.structs.replace(READER, expires_at=world.clock.now() - timedelta(seconds=1))
    looks = 0

    def look() -> tuple[Principal, Session | None]:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise Unauthenticated("this token has expired")
        return short, None

    assert listen(world, short, look) == Close.REVOKED
    assert looks == 2


def test_req_S_84_a_runs_token_hears_nothing_after_the_run(world: World) -> None:
    run = world.trigger()
    own = Principal(Kind.RUN, run.id, run_id=run.id, run_project=run.project)

    def look() -> tuple[Principal, Session | None]:
        event = Cancel(at=world.clock.now(), reason=Reason.REQUESTED, sentence="cancelled")
        world.runs.advance(run.id, event)
        return own, None

    assert listen(world, own, look) == Close.REVOKED


def test_req_S_61_one_user_does_not_take_the_places_of_all(world: World) -> None:
    async def serve() -> int | None:
        live = Live(world.runs, world.events, world.clock, lambda *_: (READER, None), lambda run: b"{}")
        sockets = [Silent() for _ in range(CLIENTS_EACH)]
        serving = [asyncio.create_task(live.serve(cast(ServerConnection, one), READER, None)) for one in sockets]
        await asyncio.sleep(0)
        further = Silent()
        await live.serve(cast(ServerConnection, further), READER, None)
        for one in sockets:
            await one.close(1000, "")
        await asyncio.gather(*serving)
        return further.closed

    assert asyncio.run(serve()) == Close.RESTART
