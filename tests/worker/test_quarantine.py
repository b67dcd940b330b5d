"""A run that the server cannot take, or the disk does not give back, is set aside after three tries (F35, J04)."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from appliance.clock import FakeClock
from appliance.model.caps import request_digest
from appliance.wire import MESSAGE_LIMIT, SUBPROTOCOL, Close, frames
from appliance.wire import messages as m
from appliance.wire.local_runs import LocalRun
from appliance.wire.worker_end import WorkerEnd
from appliance.worker import rundir
from appliance.worker.link import Link
from tests.worker.executions import PATIENCE, Workshop, workshop
from tests.worker.test_link import Place, master

Answer = Callable[[ServerConnection, m.Exited], Awaitable[bool]]
"""What a server does with the end of the run that it cannot take; whether it took it after all."""


class Server:
    """A master that takes every run but one, and tells how."""

    def __init__(self, poison: str, answer: Answer) -> None:
        self.poison, self.answer = poison, answer
        self.exits: dict[str, m.Exited] = {}
        self.output: dict[str, bytes] = {}
        self.connections = 0
        self.refuses_output = False
        self.changed = asyncio.Event()

    async def talk(self, connection: ServerConnection) -> None:
        self.connections += 1
        hello = m.from_worker(cast(str, await connection.recv()))
        assert isinstance(hello, m.Hello)
        resume = [m.Resume(run=held.run, sizes={0: len(self.output.get(held.run, b""))}) for held in hello.runs]
        words: dict[str, Any] = {"protocol": 1, "cluster": "c" * 32, "epoch": 1, "incarnation": "d" * 32, "at": 1.0}
        windows = {"run_window": 1 << 20, "worker_window": 4 << 20}
        await connection.send(m.encode(m.Welcome(id=1, **words, **windows, resume=resume)))
        async for frame in connection:
            await self.hear(connection, frame)

    async def hear(self, connection: ServerConnection, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            piece = frames.decode(frame)
            if self.refuses_output and piece.run == self.poison:
                await connection.close(Close.TOO_BIG, "too big")
            elif piece.stream == 0:
                self.output[piece.run] = self.output.get(piece.run, b"") + bytes(piece.payload)
            return
        word = m.from_worker(frame)
        if not isinstance(word, m.Exited):
            return
        is_poison = word.run == self.poison and word.reason not in ("protocol_error", "internal_error")
        if is_poison and not await self.answer(connection, word):
            return
        self.exits[word.run] = word
        await connection.send(m.encode(m.Committed(id=99, run=word.run)))
        self.changed.set()

    async def has(self, *run_ids: str) -> None:
        """Wait until these runs have ended here."""
        async with asyncio.timeout(PATIENCE):
            while not set(run_ids) <= self.exits.keys():
                self.changed.clear()
                await self.changed.wait()


def closes(code: int) -> Answer:
    async def answer(connection: ServerConnection, _: m.Exited) -> bool:
        await connection.close(code, "not understood")
        return False

    return answer


async def refuses(connection: ServerConnection, word: m.Exited) -> bool:
    await connection.send(m.encode(m.ErrorReply(id=98, re=word.id, code="malformed", text="nested too deep")))
    return False


async def takes(connection: ServerConnection, word: m.Exited) -> bool:
    return True


async def converse(shop: Workshop, server: Server, *run_ids: str) -> WorkerEnd:
    """Let the worker's link talk to the server until these runs have ended there."""
    end = WorkerEnd(shop.journal.identity, shop.journal.runs(), request_digest)
    async with serve(
        server.talk, "127.0.0.1", 0, subprotocols=[cast(Any, SUBPROTOCOL)], max_size=MESSAGE_LIMIT
    ) as listening:
        (place,) = listening.sockets
        link = Link(
            url=f"http://127.0.0.1:{place.getsockname()[1]}",
            token="t",
            slots=4,
            properties={},
            end=end,
            journal=shop.journal,
            supervisor=shop.supervisor,
            clock=FakeClock(),
            on_commit=lambda _: None,
            random=lambda: 0.0,
        )
        shop.told.on_exit = lambda run_id, sizes, record: (end.exited(run_id, sizes, record), link.exited(run_id))
        working = asyncio.create_task(link.run())
        try:
            await server.has(*run_ids)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    return end


async def three_ended(shop: Workshop) -> list[str]:
    run_ids = [shop.launch([f"echo output {number}; exit {number}"]) for number in range(3)]
    for run_id in run_ids:
        await shop.end(run_id)
    return run_ids


def run(path: Path, scenario: Callable[[Workshop], Awaitable[None]]) -> None:
    async def in_shop() -> None:
        async with workshop(path) as shop:
            await scenario(shop)

    asyncio.run(in_shop())


@pytest.mark.parametrize(
    "answer", [closes(Close.TOO_BIG), closes(Close.PROTOCOL), refuses], ids=["closes 1009", "closes 4400", "refuses"]
)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_fault_F35_a_run_that_the_server_cannot_take_is_set_aside_and_the_others_are_stored(
    tmp_path: Path, answer: Answer, which: int
) -> None:
    async def scenario(shop: Workshop) -> None:
        run_ids = await three_ended(shop)
        poison = run_ids[which]
        server = Server(poison, answer)
        await converse(shop, server, *run_ids)
        told = server.exits.pop(poison)
        assert (told.status, told.reason, told.sizes) == ("errored", "protocol_error", {0: 0, 2: 0})
        assert "set aside by the worker, 3 times the server" in told.sentence
        assert told.notes[0].startswith(("the run itself ended as failed: ", "the run itself ended as succeeded: "))
        assert {word.reason for word in server.exits.values()} <= {None, "exit_code"}
        assert server.connections <= 5  # a guess, three that are sure, and one that goes well
        kept = shop.journal.record(poison)  # and the next worker process says the same
        assert kept is not None and (kept.status, kept.reason) == ("errored", "protocol_error")

    run(tmp_path, scenario)


def test_fault_F35_a_run_that_still_goes_on_is_ended_and_set_aside(tmp_path: Path) -> None:
    async def scenario(shop: Workshop) -> None:
        poison = shop.launch(["echo something; sleep 300"])
        await shop.said(poison, b"something")
        other = shop.launch(["echo fine"])
        await shop.end(other)
        server = Server(poison, takes)
        server.refuses_output = True
        await converse(shop, server, poison, other)
        assert server.exits[other].status == "succeeded"
        assert (server.exits[poison].status, server.exits[poison].reason) == ("errored", "protocol_error")
        assert server.exits[poison].notes == ["the run itself ended as aborted: aborted while command 1 was running"]

    run(tmp_path, scenario)


def test_a_close_for_another_reason_suspects_nobody(tmp_path: Path) -> None:
    closes_left = [Close.RESTART] * 5

    async def restarts(connection: ServerConnection, _: m.Exited) -> bool:
        if not closes_left:
            return True
        await connection.close(closes_left.pop(), "restart")
        return False

    async def scenario(shop: Workshop) -> None:
        run_ids = await three_ended(shop)
        server = Server(run_ids[1], restarts)
        await converse(shop, server, *run_ids)
        assert [server.exits[run_id].code for run_id in run_ids] == [0, 1, 2]

    run(tmp_path, scenario)


@pytest.mark.parametrize("spoil", ["cut", "removed", "a directory"])
def test_defect_J07_a_log_that_the_disk_does_not_give_back_ends_that_run_alone(tmp_path: Path, spoil: str) -> None:
    async def scenario(shop: Workshop) -> None:
        run_ids = await three_ended(shop)
        poison = run_ids[0]
        log = shop.directory(poison).file(rundir.LOG)
        if spoil == "cut":
            os.truncate(log, 3)
        else:
            os.unlink(log)
        if spoil == "a directory":
            os.mkdir(log)
        server = Server("none", takes)
        await converse(shop, server, *run_ids)
        told = server.exits[poison]
        assert (told.status, told.reason) == ("errored", "internal_error")
        assert told.sentence == "storage error on the worker: its files were cut or removed"
        assert [server.exits[run_id].code for run_id in run_ids[1:]] == [1, 2]
        assert server.connections == 1

    run(tmp_path, scenario)


def test_fault_F35_a_hello_with_long_properties_and_many_runs_stays_under_the_limit(tmp_path: Path) -> None:
    """Paged by bytes, not only by count; the server hears every run."""
    properties: dict[str, object] = {f"{number:0128}": "ü" * 90 for number in range(200)}
    sizes = {0: 1 << 49, 1: 1 << 23, 2: 1 << 28}
    runs = [LocalRun(run=str(uuid.UUID(int=n)), cap="c" * 64, digest="d" * 64, sizes=sizes) for n in range(1500)]
    heard: list[m.Hello | m.InventoryPage] = []
    over = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        async for frame in connection:
            word = m.from_worker(cast(str, frame))
            assert isinstance(word, m.Hello | m.InventoryPage) and len(frame.encode()) <= MESSAGE_LIMIT
            heard.append(word)
            if not word.more:
                over.set()

    async def scenario() -> None:
        async with master(talk) as url:
            place = Place(tmp_path, url, properties=properties)
            place.end.runs = {run.run: run for run in runs}
            working = asyncio.create_task(place.link.run())
            await asyncio.wait_for(over.wait(), PATIENCE)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    asyncio.run(scenario())
    assert [held.run for word in heard for held in word.runs] == [run.run for run in runs]
    assert len(heard) > 2
