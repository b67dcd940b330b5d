"""The floor: the least that a pipeline in Python must do, durable and nothing else.

Trigger by HTTP → row committed (SQLite, WAL, FULL, one writer, group commit) → pushed over a WebSocket → a worker
runs the command and sends its output in pieces → appended to a log file → end committed. No users, no journal, no
executor, no retry, no pages: it bounds from above what a product that does its whole job can reach.

``python -m benchmarks.floor server DIRECTORY HTTP_PORT SOCKET_PORT`` and ``… worker SOCKET_PORT SLOTS`` are its two
processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

_PIECE = 128 * 1024
_MOST_IN_A_COMMIT = 500


class Writer:
    """One thread, one connection; changes that wait together share a commit."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[str, tuple[Any, ...], asyncio.Future[None]]] = queue.SimpleQueue()
        self._database = apsw.Connection(str(path))
        self._database.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        self._database.execute(
            "CREATE TABLE run (id INTEGER PRIMARY KEY, command TEXT, state TEXT, code INTEGER) STRICT"
        )
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def change(self, statement: str, *values: Any) -> asyncio.Future[None]:
        """Done when the change is on the disk."""
        future = self._loop.create_future()
        self._queue.put((statement, values, future))
        return future

    def _write(self) -> None:
        while True:
            changes = [self._queue.get()]
            while len(changes) < _MOST_IN_A_COMMIT and not self._queue.empty():
                changes.append(self._queue.get())
            with self._database:
                for statement, values, _ in changes:
                    self._database.execute(statement, values)
            self._loop.call_soon_threadsafe(_resolve, [future for _, _, future in changes])


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


class Server:
    """Takes triggers, pushes them to the worker's free slots, keeps what comes back."""

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._directory = directory
        self._writer = Writer(directory / "floor.db", loop)
        self._waiting: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self._slots = asyncio.Semaphore(0)
        self._worker: ServerConnection | None = None
        self._states: dict[int, str] = {}
        self._logs: dict[int, int] = {}
        self._ended = 0

    async def dispatch(self) -> None:
        """Runs wait here for a slot, in the order of their triggers."""
        while True:
            number, command = await self._waiting.get()
            await self._slots.acquire()
            assert self._worker is not None
            self._states[number] = "running"
            self._writer.change("UPDATE run SET state = 'running' WHERE id = ?", number)
            await self._worker.send(json.dumps({"number": number, "command": command}))

    async def worker(self, connection: ServerConnection) -> None:
        """What the worker says: its slots, output (8 bytes of number, then bytes), ends."""
        self._worker = connection
        async for message in connection:
            if isinstance(message, bytes):
                self._append(int.from_bytes(message[:8], "big"), memoryview(message)[8:])
                continue
            said = json.loads(message)
            if "slots" in said:
                for _ in range(said["slots"]):
                    self._slots.release()
            else:
                self._end(said["number"], said["code"])

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests on one kept connection, one after the other."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *headers = head.lower().split(b"\r\n")
                size = next((int(line[15:]) for line in headers if line.startswith(b"content-length:")), 0)
                body = await reader.readexactly(size)
                answer = await self._answer(first.split()[1].decode(), body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, path: str, body: bytes) -> bytes:
        match path.split("/")[1:]:
            case ["trigger"]:
                number = len(self._states) + 1
                self._states[number] = "queued"
                command = json.loads(body)["command"]
                await self._writer.change("INSERT INTO run VALUES (?, ?, 'queued', NULL)", number, command)
                self._waiting.put_nowait((number, command))
                return json.dumps({"id": str(number)}).encode()
            case ["run", number]:
                return json.dumps({"state": self._states[int(number)]}).encode()
            case ["log", number]:
                path_of_log = self._directory / f"{number}.log"
                return path_of_log.read_bytes() if path_of_log.exists() else b""
            case _:
                return json.dumps({"ended": self._ended, "has_worker": self._worker is not None}).encode()

    def _append(self, number: int, piece: memoryview) -> None:
        file = self._logs.get(number)
        if file is None:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
            file = self._logs[number] = os.open(self._directory / f"{number}.log", flags, 0o600)
        os.write(file, piece)

    def _end(self, number: int, code: int) -> None:
        file = self._logs.pop(number, None)
        if file is not None:
            os.close(file)
        self._slots.release()
        change = self._writer.change("UPDATE run SET state = 'ended', code = ? WHERE id = ?", code, number)
        change.add_done_callback(lambda _: self._committed(number))

    def _committed(self, number: int) -> None:
        self._states[number] = "ended"
        self._ended += 1


async def be_server(directory: Path, http_port: int, socket_port: int) -> None:
    """Serve until ended from outside."""
    server = Server(directory, asyncio.get_running_loop())
    dispatcher = asyncio.create_task(server.dispatch())
    await asyncio.start_server(server.client, "127.0.0.1", http_port)
    async with serve(server.worker, "127.0.0.1", socket_port, compression=None, max_size=None):
        await dispatcher


async def be_worker(socket_port: int, slots: int) -> None:
    """Run what the server pushes, until ended from outside."""
    async with connect(f"ws://127.0.0.1:{socket_port}", compression=None, max_size=None) as connection:
        await connection.send(json.dumps({"slots": slots}))

        async def run(number: int, command: str) -> None:
            child = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=2 * _PIECE,
            )
            assert child.stdout is not None
            head = number.to_bytes(8, "big")
            while piece := await child.stdout.read(_PIECE):
                await connection.send(head + piece)
            await connection.send(json.dumps({"number": number, "code": await child.wait()}))

        tasks: set[asyncio.Task[None]] = set()
        async for message in connection:
            task = asyncio.create_task(run(**json.loads(message)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server", directory, http_port, socket_port]:
            asyncio.run(be_server(Path(directory), int(http_port), int(socket_port)))
        case ["worker", socket_port, slots]:
            asyncio.run(be_worker(int(socket_port), int(slots)))
        case _:
            raise SystemExit(__doc__)
