"""The only socket of a worker: connects, says hello, tells and listens, and comes back after any trouble (F09)."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from appliance import __version__
from appliance.clock import Clock
from appliance.model.errors import ApplianceError, Full
from appliance.wire import (
    BEAT_EVERY,
    MESSAGE_LIMIT,
    PING_EVERY,
    PONG_WITHIN,
    RECONNECT_FIRST,
    RECONNECT_MOST,
    SEND_WITHIN,
    SUBPROTOCOL,
    WORKER_NAME_HEADER,
    ProtocolError,
)
from appliance.wire.local_runs import Abort, Action, Commit, Delete, Draining, Keep, Read, Refused, Secrets, Store
from appliance.wire.worker_end import WorkerEnd
from appliance.worker.journal import Journal
from appliance.worker.reasons import LATER, RARELY, Trouble, explain
from appliance.worker.supervisor import Supervisor

_log = logging.getLogger(__name__)
logging.getLogger("websockets.client").setLevel(logging.CRITICAL)  # what matters is said here

OPEN_WITHIN = 10.0  # seconds
LATER_BETWEEN = (60.0, 600.0)  # seconds
HOURLY = 3600.0  # seconds
MIN_FREE = (1 << 30, 0.05)  # bytes, or share of the disk, whichever is less: below it no new work is taken (F17)


def socket_url(url: str) -> str:
    """``ws[s]://…/worker`` of a server's address."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/worker"


async def dial(url: str, token: str) -> ClientConnection:
    """A connection that the server has accepted. Raises what ``explain`` understands."""
    return await connect(
        socket_url(url),
        additional_headers={"Authorization": f"Bearer {token}"},
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=MESSAGE_LIMIT,
        max_queue=64,
        write_limit=1 << 18,
        open_timeout=OPEN_WITHIN,
        close_timeout=2.0,
        ping_interval=PING_EVERY,
        ping_timeout=PONG_WITHIN,
        user_agent_header=f"orchestra-worker/{__version__}",
        proxy=None,
    )


async def try_connection(url: str, token: str) -> str | Trouble:
    """Whether the server would take this worker now: its name there if it would ("" from an older server)."""
    try:
        connection = await dial(url, token)
    except (OSError, InvalidHandshake, InvalidURI, ssl.SSLError, EOFError) as error:
        return explain(error, url)
    await connection.close()
    return "" if connection.response is None else connection.response.headers.get(WORKER_NAME_HEADER, "")


class Link:
    """Keeps the worker's end of the protocol connected to the master, for as long as the worker lives."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        slots: int,
        properties: Mapping[str, object],
        end: WorkerEnd,
        journal: Journal,
        supervisor: Supervisor,
        clock: Clock,
        on_commit: Callable[[str], None],
        random: Callable[[], float],
    ) -> None:
        """``random`` gives numbers from 0 to 1, for jitter. ``on_commit`` hears of each run the master has whole."""
        self._url = url
        self._token = token
        self._slots = slots
        self._properties = dict(properties)
        self._end = end
        self._journal = journal
        self._supervisor = supervisor
        self._clock = clock
        self._on_commit = on_commit
        self._random = random
        self._wake = asyncio.Event()
        self._instance = secrets.token_hex(16)
        self._attempts = 0
        self._last_trouble = ""
        self._to_delete: set[str] = set()
        self.is_draining = False

    def wake(self) -> None:
        """The end may have something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Connect, again and again, until cancelled. No trouble with the network ever ends it."""
        while True:
            trouble = await self._once()
            delay = self._delay(trouble)
            if trouble.sentence != self._last_trouble:
                self._last_trouble = trouble.sentence
                _log.warning("%s; trying again, next in %.1f s", trouble.sentence, delay)
            await asyncio.sleep(delay)

    async def _once(self) -> Trouble:
        try:
            async with await dial(self._url, self._token) as connection:
                await self._converse(connection)
        except ProtocolError as error:
            return Trouble(f"the server said something this worker does not understand: {error}", LATER)
        except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed, ssl.SSLError, EOFError, TimeoutError) as error:
            return explain(error, self._url)
        except Exception as error:
            _log.exception("the connection failed in an unforeseen way")
            return explain(error, self._url)
        finally:
            self._end.disconnect()
        return Trouble("the server closed the connection")

    def _delay(self, trouble: Trouble) -> float:
        """Full jitter, so that a thousand workers do not come back in the same instant (F33)."""
        self._attempts += 1
        if trouble.again == RARELY:
            return HOURLY * (0.9 + 0.2 * self._random())
        first, most = LATER_BETWEEN if trouble.again == LATER else (RECONNECT_FIRST, RECONNECT_MOST)
        longest = min(most, first * 2.0 ** min(self._attempts - 1, 16))
        return max(first * 0.1, longest * self._random()) if trouble.again != LATER else longest

    # ---- one connection

    async def _converse(self, connection: ClientConnection) -> None:
        self._end.connect(
            instance=self._instance,
            software=f"orchestra-appliance {__version__}",
            boot=self._journal.boot_id,
            at=self._clock.now().timestamp(),
            slots=self._slots,
            properties=self._properties,
        )
        tasks = [
            asyncio.create_task(self._write(connection), name="link-write"),
            asyncio.create_task(self._read(connection), name="link-read"),
            asyncio.create_task(self._beat(), name="link-beat"),
        ]
        self._wake.set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            frame = await connection.recv()
            for action in self._end.receive(frame):
                self._do(action)
            self._wake.set()

    async def _write(self, connection: ClientConnection) -> None:
        while True:
            item = self._end.next()
            if item is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            frame: str | bytes | None
            if isinstance(item, Read):
                frame = self._end.chunk(item, self._journal.read(item.run, item.stream, item.offset, item.length))
            else:
                frame = item
            if frame is None:
                continue
            try:
                async with asyncio.timeout(SEND_WITHIN):
                    await connection.send(frame)
            except TimeoutError:
                connection.transport.abort()  # a half-open connection (F11)
                raise

    async def _beat(self) -> None:
        while True:
            if self._end.is_welcome:
                self._end.beat(self._clock.now().timestamp(), os.getloadavg()[0], self._journal.free_bytes())
                self._wake.set()
                await asyncio.sleep(BEAT_EVERY)
            else:
                await asyncio.sleep(1.0)

    # ---- what the master wants

    def _do(self, action: Action) -> None:
        match action:
            case Keep(identity=identity):
                self._journal.keep(identity)
                self._end.resume()
                self._attempts = 0
                self._last_trouble = ""
                _log.info("connected to %s", self._url)
            case Store():
                self._store(action)
            case Secrets(run=run_id, secrets=given):
                self._journal.give_secrets(run_id, given)
                self._supervisor.launch(run_id)
            case Abort(run=run_id, grace=grace):
                self._supervisor.abort(run_id, grace)
            case Commit(run=run_id):
                self._journal.commit(run_id)
                self._on_commit(run_id)
            case Delete(run=run_id):
                self._delete(run_id)
            case Draining(on=on):
                self.is_draining = on
            case Refused(code=code, text=text):
                _log.warning("the server reports %s: %s", code, text)

    def _store(self, assignment: Store) -> None:
        """Durable first, then launched and accepted. What cannot be stored is declined, and never begins (J07)."""
        try:
            if self._journal.free_bytes() < self._least_free():
                raise Full("the worker's disk is nearly full")
            self._journal.accept(assignment.run, assignment.cap, assignment.request, assignment.secrets)
        except (ApplianceError, OSError) as error:
            _log.warning("run %s is declined: %s", assignment.run, error)
            self._end.declined(assignment.run, str(error) or type(error).__name__)
            return
        self._supervisor.launch(assignment.run)
        self._end.accepted(assignment.run)

    def _least_free(self) -> int:
        statistics = os.statvfs(self._journal.directory)
        return int(min(MIN_FREE[0], MIN_FREE[1] * statistics.f_blocks * statistics.f_frsize))

    def _delete(self, run_id: str) -> None:
        if self._journal.forget(run_id):
            self._to_delete.discard(run_id)
            self._end.forgotten(run_id)
        else:  # its executor lives: end it, and delete it when it has exited
            self._to_delete.add(run_id)
            self._supervisor.abort(run_id, 0.0)

    def exited(self, run_id: str) -> None:
        """A run has exited: what was waiting for that is done now."""
        if run_id in self._to_delete:
            self._delete(run_id)


def system_random() -> float:
    """A number from 0 to 1."""
    return secrets.randbelow(1 << 30) / (1 << 30)


__all__: list[Any] = ["Link", "dial", "socket_url", "system_random", "try_connection"]
