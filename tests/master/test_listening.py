"""The event stream on real sockets (A2, S-07, S-12): who may listen, logs byte for byte, and when it ends."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from appliance.accounts import Login
from appliance.events import LogGrew, RunChanged
from appliance.master.gateway import Gateway
from appliance.master.lanes import Lanes
from appliance.master.live import BACKLOG, LOGS, Live
from appliance.master.roster import Roster
from appliance.model.entities import Run, Session
from appliance.model.errors import Unauthenticated
from appliance.model.permissions import SYSTEM, Principal
from appliance.web.head import Head
from appliance.web.security import authenticate_socket
from appliance.wire import Close
from tests.master.sockets import LONG_ENOUGH, Port, closed, told
from tests.web.world import World

PATH = "/api/v1/events"
OUTPUT = bytes(range(256)) * 4000


class Station(World):
    """An appliance whose event stream can be heard."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.live = Live(self.runs, self.events, self.clock, self._listener, self._show)
        self.gateway = Gateway(
            repository=self.repository,
            lineage=lambda: self.repository.lineage.open_epoch("1" * 32, "boot", self.clock.now()),
            authenticate=self.accounts.principal_of_token,
            converse=lambda worker, connection: (_ for _ in ()).throw(AssertionError("no workers here")),
            live=self.live,
            roster=Roster(self.clock.monotonic),
            lanes=Lanes(),
            events=self.events,
            clock=self.clock,
        )
        self.port = Port(self.gateway)

    def _listener(self, path: str, headers: dict[str, str], peer: str) -> tuple[Principal, Session | None]:
        caller = authenticate_socket(self.accounts, self.settings, Head("http", peer, headers))
        if caller.principal is None:
            raise Unauthenticated("log in, or send a token")
        return caller.principal, caller.session

    @staticmethod
    def _show(run: Run) -> bytes:
        return msgspec.json.encode({"id": run.id, "status": run.status})

    def listen(self, headers: dict[str, str], *wishes: dict[str, Any]) -> ClientConnection:
        socket = self.port.dial(PATH, **headers)
        for wish in wishes:
            socket.send(json.dumps(wish))
        return socket

    def page(self, login: Login) -> dict[str, str]:
        """What a page of this site sends with its handshake."""
        return {"Cookie": f"session={login.cookie}", "Origin": f"http://{self.port.host}"}

    def print(self, run: Run, output: bytes) -> None:
        size = self.logs.append(run.id, 0, self.logs.size(run.id, 0), output)
        self.events.publish(LogGrew(run.id, size))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    made = Station(tmp_path)
    yield made
    made.port.close()
    made.logs.close()


def output(socket: ClientConnection, run: Run, size: int) -> bytes:
    """So many bytes of a log, each frame at the byte where the one before it ended."""
    heard, start = b"", None
    while len(heard) < size:
        frame = socket.recv(LONG_ENOUGH)
        if isinstance(frame, str):
            assert json.loads(frame)["type"] == "run"
            continue
        run_id, offset = struct.unpack_from(">16sQ", frame)
        assert str(uuid.UUID(bytes=run_id)) == run.id
        start = offset if start is None else start
        assert offset == start + len(heard)
        heard += frame[24:]
    return heard


# ---- who may listen


def test_req_S_12_nobody_listens_without_a_login(station: Station) -> None:
    station.accounts.add_user("alice", None, ["administrator"])
    page = station.page(station.login("alice"))
    refused = {}
    for name, headers in {
        "nobody": {},
        "a bad token": {"Authorization": "Bearer x"},
        "a foreign page": page | {"Origin": "https://evil.example"},
        "no page": {"Cookie": page["Cookie"]},
        "a foreign page with a token": station.user("carol") | {"Origin": "https://evil.example"},
        "an opaque page": page | {"Origin": "null"},
    }.items():
        with pytest.raises(InvalidStatus) as error:
            station.listen(headers)
        refused[name] = error.value.response.status_code
    assert refused == {
        "nobody": 401,
        "a bad token": 401,
        "a foreign page": 403,
        "no page": 403,
        "a foreign page with a token": 403,
        "an opaque page": 403,
    }
    with station.listen(page):
        pass


def test_req_S_02_a_reader_hears_of_its_own_projects_only(station: Station) -> None:
    with station.listen(station.user("viewer", alpha="viewer"), {"subscribe": "runs"}) as socket:
        foreign, own = station.trigger("beta"), station.trigger("alpha")
        socket.send(json.dumps({"subscribe": "log", "run": foreign.id}))  # silence, as for one that does not exist
        socket.send(json.dumps({"subscribe": "log", "run": str(uuid.UUID(int=1, version=4))}))
        socket.send(json.dumps({"subscribe": "log", "run": own.id}))
        station.print(foreign, b"secret")
        station.end(foreign)
        station.print(own, b"mine")
        station.end(own)
        heard = []
        while True:
            frame = socket.recv(LONG_ENOUGH)
            heard.append(frame if isinstance(frame, str) else frame.hex())
            if "log_end" in heard[-1]:
                break
    assert not any(foreign.id in one or uuid.UUID(foreign.id).hex in one for one in heard)


def test_only_the_wanted_project_is_told(station: Station) -> None:
    first = station.trigger("beta")
    wishes = [{"subscribe": "runs", "project": "beta"}, {"subscribe": "log", "run": first.id}]
    with station.listen(station.user("root", ["auditor"]), *wishes) as socket:
        told(socket, "run")  # both wishes were heard
        station.trigger("alpha")
        second = station.trigger("beta")
        assert told(socket, "run")["run"]["id"] == second.id


WISHES = ["", "{", "[]", '{"subscribe":"all"}', '{"subscribe":"log"}', '{"subscribe":"log","run":"x"}', '{"abort":"x"}']
WISHES += [
    '{"subscribe":"runs","more":1}',
    '{"subscribe":"log","run":"00000000-0000-4000-8000-000000000000","offset":-1}',
]


@pytest.mark.parametrize("wish", WISHES)
def test_req_S_12_whatever_else_a_listener_says_ends_the_connection(station: Station, wish: str) -> None:
    with station.listen(station.user("alice")) as socket:
        socket.send(wish)
        assert closed(socket) == (Close.PROTOCOL, "not understood")


def test_req_S_60_one_listener_follows_so_many_logs(station: Station) -> None:
    with station.listen(station.user("root", ["auditor"])) as socket:
        for _ in range(LOGS + 1):
            socket.send(json.dumps({"subscribe": "log", "run": station.trigger().id}))
        assert closed(socket)[0] == Close.PROTOCOL


# ---- logs


@pytest.mark.parametrize("offset", [0, 1, 65_536, 100_000, len(OUTPUT)])
def test_inv_I3_a_log_is_followed_byte_for_byte_from_anywhere_while_it_grows(station: Station, offset: int) -> None:
    run = station.trigger()
    station.print(run, OUTPUT[:90_000])
    wish = {"subscribe": "log", "run": run.id, "offset": offset}
    with station.listen(station.user("root", ["auditor"]), wish) as socket:

        def go_on() -> None:
            for start in range(90_000, len(OUTPUT), 77_777):
                station.print(run, OUTPUT[start : start + 77_777])
            station.print(run, b"!")
            station.end(run)

        growing = threading.Thread(target=go_on)
        growing.start()
        assert output(socket, run, len(OUTPUT) + 1 - offset) == (OUTPUT + b"!")[offset:]
        growing.join(LONG_ENOUGH)
        while json.loads(frame := cast(str, socket.recv(LONG_ENOUGH)))["type"] == "run":
            pass
        assert json.loads(frame) == {"type": "log_end", "run": run.id, "size": len(OUTPUT) + 1}


def test_a_log_that_has_ended_is_told_whole(station: Station) -> None:
    run = station.trigger()
    station.print(run, OUTPUT)
    station.end(run)
    with station.listen(station.user("root", ["auditor"]), {"subscribe": "log", "run": run.id}) as socket:
        assert output(socket, run, len(OUTPUT)) == OUTPUT
        assert told(socket, "run")["run"] == {"id": run.id, "status": "succeeded"}
        assert told(socket, "log_end")["size"] == len(OUTPUT)


# ---- the end


@pytest.mark.parametrize("why", ["logout", "disabled", "new password", "roles"])
def test_req_S_07_a_listener_is_closed_when_its_login_ends_or_its_rights_change(station: Station, why: str) -> None:
    station.accounts.add_user("alice", None, ["administrator"])
    station.accounts.add_user("root", None, ["administrator"])
    login = station.login("alice")
    run = station.trigger()
    wish = {"subscribe": "log", "run": run.id}
    with (
        station.listen(station.page(login), wish) as socket,
        station.listen(station.user("bob", ["auditor"]), wish) as other,
    ):
        told(socket, "run")
        told(other, "run")
        match why:
            case "logout":
                station.accounts.logout(login.session)
            case "disabled":
                station.accounts.change_user("alice", is_enabled=False)
            case "new password":
                station.accounts.set_password("alice", "another correct horse battery")
            case "roles":
                station.accounts.change_user("alice", site_roles=["auditor"])
        assert closed(socket)[0] == Close.REVOKED
        station.print(run, b"goes on")
        assert output(other, run, 7) == b"goes on"


def test_req_S_07_a_listener_is_closed_when_its_token_is_revoked(station: Station) -> None:
    headers = station.user("alice", ["auditor"])
    run = station.trigger()
    with station.listen(headers, {"subscribe": "log", "run": run.id}) as socket:
        told(socket, "run")
        (token,) = station.accounts.tokens("alice")
        station.accounts.revoke_token("alice", token.id)
        assert closed(socket)[0] == Close.REVOKED


# ---- slow listeners


class Slow:
    """The server's side of a socket whose client reads nothing until it is told to."""

    def __init__(self) -> None:
        self.is_open, self.is_over = asyncio.Event(), asyncio.Event()
        self.heard: list[dict[str, Any]] = []

    async def __aiter__(self) -> AsyncIterator[str]:
        yield '{"subscribe":"runs"}'
        await asyncio.wait_for(self.is_over.wait(), LONG_ENOUGH)

    async def send(self, frame: str) -> None:
        await self.is_open.wait()
        self.heard.append(json.loads(frame))
        if self.heard[-1]["type"] == "missed":
            self.is_over.set()


def test_inv_I7_a_listener_that_reads_nothing_costs_a_bounded_amount_and_is_told_that_it_missed_something(
    world: World,
) -> None:
    run = world.trigger()
    changed = [msgspec.structs.replace(run, id=str(uuid.UUID(int=n, version=4))) for n in range(BACKLOG + 500)]

    async def follow() -> list[dict[str, Any]]:
        live = Live(
            world.runs,
            world.events,
            world.clock,
            lambda *_: (SYSTEM, None),
            lambda one: msgspec.json.encode({"id": one.id}),
        )
        live.start(asyncio.get_running_loop())
        slow = Slow()
        serving = asyncio.create_task(live.serve(cast(ServerConnection, slow), SYSTEM, None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(3):  # three times the same runs: only the latest state of each is kept
            for one in changed:
                world.events.publish(RunChanged(one))
        await asyncio.sleep(0)
        slow.is_open.set()
        await serving
        return slow.heard

    heard = asyncio.run(follow())
    assert heard[-1] == {"type": "missed"}
    assert BACKLOG <= len(heard) <= BACKLOG + 2
