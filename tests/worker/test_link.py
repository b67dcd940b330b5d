"""The worker's only socket: it comes back after any trouble, soon and never all at once (F09, F33, J08)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from appliance.clock import FakeClock
from appliance.model.caps import request_digest
from appliance.model.errors import Full
from appliance.wire import RECONNECT_FIRST, RECONNECT_MOST, SUBPROTOCOL, Close
from appliance.wire import messages as m
from appliance.wire.local_runs import Identity, LocalRun
from appliance.wire.worker_end import WorkerEnd
from appliance.worker import link as link_module
from appliance.worker.journal import Journal
from appliance.worker.link import Link, dial, socket_url
from appliance.worker.reasons import LATER, RARELY, SOON, Trouble
from appliance.worker.supervisor import Supervisor
from tests.wire.messages_of import CAP, RUN

LONG_ENOUGH = 30.0
Talk = Callable[[ServerConnection], Awaitable[None]]


class Shelf:
    """A journal that keeps in memory what it was given."""

    boot_id = "boot"
    watermark = SimpleNamespace(since=0.0)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kept: list[Identity] = []
        self.accepted: list[str] = []
        self.committed: list[str] = []
        self.living: set[str] = set()
        self.free = 1 << 50
        self.error: Exception | None = None

    def keep(self, identity: Identity) -> None:
        self.kept.append(identity)

    def free_bytes(self) -> int:
        return self.free

    def accept(self, run_id: str, cap: str, request: str, secrets: dict[str, str]) -> None:
        if self.error is not None:
            raise self.error
        self.accepted.append(run_id)

    def commit(self, run_id: str) -> None:
        self.committed.append(run_id)

    def forget(self, run_id: str) -> bool:
        return run_id not in self.living


class Crew:
    """A supervisor that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def launch(self, run_id: str) -> None:
        self.told.append(("launch", run_id))

    def abort(self, run_id: str, grace: float) -> None:
        self.told.append(("abort", run_id, grace))


class Place:
    """A link, and what it works on."""

    def __init__(
        self,
        directory: Path,
        url: str,
        random: Callable[[], float] = lambda: 0.0,
        properties: dict[str, object] | None = None,
    ) -> None:
        self.shelf, self.crew = Shelf(directory), Crew()
        self.end = WorkerEnd(Identity(journal="a" * 32), [], request_digest)
        self.commits: list[str] = []
        self.link = Link(
            url=url,
            token="t",
            slots=2,
            properties=properties or {"os": "linux"},
            end=self.end,
            journal=cast(Journal, self.shelf),
            supervisor=cast(Supervisor, self.crew),
            clock=FakeClock(),
            on_commit=self.commits.append,
            random=random,
        )


@asynccontextmanager
async def master(talk: Talk, refuse: Callable[[Request], Response | None] | None = None) -> AsyncIterator[str]:
    """A server that talks so with every worker; its address."""
    admit = None if refuse is None else lambda _, request: refuse(request)
    async with serve(talk, "127.0.0.1", 0, subprotocols=[cast(Any, SUBPROTOCOL)], process_request=admit) as server:
        (listening,) = server.sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def welcome(connection: ServerConnection) -> m.Hello:
    hello = m.from_worker(cast(str, await connection.recv()))
    assert isinstance(hello, m.Hello)
    words: dict[str, Any] = {"protocol": 1, "cluster": "c" * 32, "epoch": 1, "incarnation": "d" * 32, "at": 1.0}
    await connection.send(m.encode(m.Welcome(id=1, **words, run_window=1 << 20, worker_window=4 << 20)))
    return hello


async def hear(connection: ServerConnection, kind: type[m.Message]) -> Any:
    """The next message of this type; beats may come between."""
    while not isinstance(message := m.from_worker(cast(str, await connection.recv())), kind):
        assert isinstance(message, m.Beat), message
    return message


def live(place: Callable[[str], Place], talk: Talk) -> Place:
    """Let a worker live until the master's ``talk`` has come to its end."""

    async def run() -> Place:
        over = asyncio.Event()

        async def talk_once(connection: ServerConnection) -> None:
            try:
                await talk(connection)
            finally:
                over.set()

        async with master(talk_once) as url:
            made = place(url)
            working = asyncio.create_task(made.link.run())
            await asyncio.wait_for(over.wait(), LONG_ENOUGH)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return made

    return asyncio.run(run())


# ---- addresses and first contact


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8080", "ws://h:8080/worker"),
        ("https://h", "wss://h/worker"),
        ("https://h/sub/path/", "wss://h/sub/path/worker"),
        ("http://[::1]:80/?x#y", "ws://[::1]:80/worker"),
    ],
)
def test_the_socket_is_below_the_servers_address(url: str, expected: str) -> None:
    assert socket_url(url) == expected


def test_a_handshake_brings_the_token_and_no_origin() -> None:
    seen: list[Request] = []

    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def look() -> None:
        async with master(talk, lambda request: seen.append(request)) as url:
            await (await dial(url, "secret")).close()

    asyncio.run(look())
    (request,) = seen
    assert request.path == "/worker"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Sec-WebSocket-Protocol"] == SUBPROTOCOL
    assert "Origin" not in request.headers and "Sec-WebSocket-Extensions" not in request.headers


# ---- when to come back


@pytest.mark.parametrize("chance", [0.0, 0.37, 1.0])
def test_defect_J08_after_a_cut_it_comes_back_within_half_a_minute_for_ever(tmp_path: Path, chance: float) -> None:
    link = Place(tmp_path, "http://h", lambda: chance).link
    delays = [link._delay(Trouble("x", SOON)) for _ in range(200)]
    assert all(0 < delay <= RECONNECT_MOST for delay in delays)
    assert delays[0] <= RECONNECT_FIRST
    assert delays[-1] == max(RECONNECT_FIRST * 0.1, RECONNECT_MOST * chance)


def test_fault_F33_a_thousand_workers_do_not_come_back_in_the_same_moment(tmp_path: Path) -> None:
    chances = [number / 1000 for number in range(1000)]
    links = [Place(tmp_path, "http://h", lambda chance=chance: chance).link for chance in chances]  # type: ignore[misc]  # bound now
    for link in links:
        for _ in range(6):
            link._delay(Trouble("x", SOON))
    delays = [link._delay(Trouble("x", SOON)) for link in links]
    assert max(sum(second <= delay < second + 1 for delay in delays) for second in range(30)) < 60


@pytest.mark.parametrize(("again", "least", "most"), [(LATER, 60.0, 600.0), (RARELY, 3240.0, 3960.0)])
def test_fault_F25_fault_F37_what_a_person_must_put_right_is_tried_rarely(
    tmp_path: Path, again: str, least: float, most: float
) -> None:
    link = Place(tmp_path, "http://h", lambda: 1.0).link
    delays = [link._delay(Trouble("x", again)) for _ in range(20)]
    assert all(least <= delay <= most + 0.001 for delay in delays)


def test_defect_J08_no_trouble_ends_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Refused, a page, a cut, nonsense, and then a master that is well."""
    caplog.set_level(logging.WARNING)
    tries = 0

    def refuse(request: Request) -> Response | None:
        nonlocal tries
        tries += 1
        return Response(503, "", request.headers.__class__(), b"away") if tries <= 2 else None

    over = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        if tries == 3:
            connection.transport.abort()
        elif tries == 4:
            await connection.close(Close.RESTART, "restart")
        else:
            await welcome(connection)
            await hear(connection, m.Beat)
            over.set()

    async def run() -> Place:
        async with master(talk, refuse) as url:
            place = Place(tmp_path, url)
            working = asyncio.create_task(place.link.run())
            await asyncio.wait_for(over.wait(), LONG_ENOUGH)
            assert not working.done()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return place

    place = asyncio.run(run())
    assert [identity.cluster for identity in place.shelf.kept] == ["c" * 32]
    assert sum("answers 503" in record.message for record in caplog.records) == 1  # said once, not each time


# ---- what the master wants


def test_a_run_is_durable_before_it_is_accepted_and_launched(tmp_path: Path) -> None:
    async def talk(connection: ServerConnection) -> None:
        assert (await welcome(connection)).properties == {"os": "linux"}
        await connection.send(m.encode(m.Assign(id=2, run=RUN, cap=CAP, request="{}", secrets={})))
        assert (await hear(connection, m.Accepted)).run == RUN
        await connection.send(m.encode(m.Abort(id=3, run=RUN, grace=3.0)))
        await connection.send(m.encode(m.Withdraw(id=4, run=RUN)))
        await hear(connection, m.Accepted)

    place = live(lambda url: Place(tmp_path, url), talk)
    assert place.shelf.accepted == [RUN]
    assert place.crew.told == [("launch", RUN), ("abort", RUN, 3.0)]


@pytest.mark.parametrize("why", ["no room", "disk full", "an error"])
def test_defect_J07_fault_F17_what_cannot_be_stored_is_declined_and_never_begins(tmp_path: Path, why: str) -> None:
    def place(url: str) -> Place:
        made = Place(tmp_path, url)
        made.shelf.free = 0 if why == "no room" else 1 << 50
        made.shelf.error = {"disk full": Full("no space is left"), "an error": OSError(5, "I/O error")}.get(why)
        return made

    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        await connection.send(m.encode(m.Assign(id=2, run=RUN, cap=CAP, request="{}", secrets={})))
        assert (await hear(connection, m.Declined)).reason

    made = live(place, talk)
    assert (made.shelf.accepted, made.crew.told) == ([], [])


def test_a_run_to_be_forgotten_is_ended_first_and_deleted_when_it_has_exited(tmp_path: Path) -> None:
    made: list[Place] = []

    def place(url: str) -> Place:
        made.append(Place(tmp_path, url))
        made[0].shelf.living.add(RUN)
        return made[0]

    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        await connection.send(m.encode(m.Forget(id=2, run=RUN)))
        await connection.send(m.encode(m.Withdraw(id=3, run=RUN)))
        await hear(connection, m.Unknown)  # so the forget was heard
        made[0].shelf.living.clear()
        made[0].link.exited(RUN)
        made[0].link.wake()
        assert (await hear(connection, m.Forgotten)).run == RUN

    live(place, talk)
    assert made[0].crew.told == [("abort", RUN, 0.0)]


@pytest.mark.parametrize("word", ["abort", "forget"])
def test_defect_J07_what_the_disk_refuses_for_one_run_is_done_with_the_next_beat(tmp_path: Path, word: str) -> None:
    made: list[Place] = []
    trouble = [OSError(28, "No space left on device")] * 2

    def place(url: str) -> Place:
        made.append(Place(tmp_path, url))
        made[0].end.runs[RUN] = LocalRun(run=RUN, cap=CAP, digest="d" * 64)
        crew, shelf = made[0].crew, made[0].shelf
        abort, forget = crew.abort, shelf.forget

        def refused(then: Callable[..., Any]) -> Callable[..., Any]:
            def call(*words: Any) -> Any:
                if trouble:
                    raise trouble.pop()
                return then(*words)

            return call

        crew.abort, shelf.forget = refused(abort), refused(forget)  # type: ignore[method-assign]  # a disk between them
        return made[0]

    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        wanted = m.Abort(id=2, run=RUN, grace=3.0) if word == "abort" else m.Forget(id=2, run=RUN)
        await connection.send(m.encode(wanted))
        await connection.send(m.encode(m.Withdraw(id=3, run=RUN)))
        await hear(connection, m.Accepted)  # the connection is still there
        assert made[0].crew.told == []
        made[0].link.beat()
        made[0].link.beat()
        if word == "forget":
            assert (await hear(connection, m.Forgotten)).run == RUN

    live(place, talk)
    assert made[0].crew.told == ([("abort", RUN, 3.0)] if word == "abort" else [])
    assert trouble == []


@pytest.mark.parametrize("number", [28, 5])
def test_fault_F17_fault_F18_a_full_disk_keeps_nobody_from_the_server_and_a_broken_one_does(
    tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Place] = []
    caplog.set_level(logging.WARNING)

    def place(url: str) -> Place:
        made.append(Place(tmp_path, url))
        keep = made[0].shelf.keep

        def refuse(identity: Identity) -> None:
            made[0].shelf.keep = keep  # type: ignore[method-assign]  # the next time it goes well
            raise OSError(number, "no")

        made[0].shelf.keep = refuse  # type: ignore[method-assign]  # a disk between them
        return made[0]

    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        if number == 28:
            await hear(connection, m.Beat)
            assert made[0].shelf.kept == []
            made[0].link.beat()
            assert [identity.cluster for identity in made[0].shelf.kept] == ["c" * 32]
        else:
            with pytest.raises(ConnectionClosed):
                await connection.recv()

    live(place, talk)
    assert any("storage error on this worker" in record.message for record in caplog.records) == (number == 5)


def test_a_drain_of_the_master_is_noted(tmp_path: Path) -> None:
    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        await connection.send(m.encode(m.Drain(id=2, on=True)))
        await connection.send(m.encode(m.Withdraw(id=3, run=RUN)))
        await hear(connection, m.Unknown)

    assert live(lambda url: Place(tmp_path, url), talk).link.draining.is_on


def test_the_chance_of_the_system_lies_between_nothing_and_one() -> None:
    values = [link_module.system_random() for _ in range(1000)]
    assert all(0 <= value < 1 for value in values) and len(set(values)) > 900
