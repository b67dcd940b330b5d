"""The only WebSocket server: worker connections and live views, in one asyncio thread. Sockets in, words out.

A connection arrives with the head of its request, taken over from the web server's port (``adopt``), or on a port of
its own. Nothing blocks here: what touches disk or database runs in lanes.
"""

from __future__ import annotations

import asyncio
import functools
import http
import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from appliance.db.repository import Repository
from appliance.events import Events
from appliance.master.connection import Connection, Door
from appliance.master.conversation import Conversation
from appliance.master.lanes import Lanes
from appliance.master.live import Live
from appliance.master.messenger import Messenger
from appliance.master.roster import Roster
from appliance.model.entities import Lineage, Worker
from appliance.model.errors import ApplianceError, Disconnected, Forbidden, Unauthenticated, Unavailable
from appliance.model.permissions import Principal
from appliance.wire import (
    CLOSE_WITHIN,
    MESSAGE_LIMIT,
    PING_EVERY,
    PONG_WITHIN,
    SUBPROTOCOL,
    WORKER_NAME_HEADER,
    WORKER_STATE_HEADER,
    Close,
    frames,
)
from appliance.wire.master_end import Greeting, MasterEnd

_log = logging.getLogger(__name__)
_library_log = logging.getLogger("websockets.server")
_library_log.setLevel(logging.CRITICAL)  # a cut cable is no error; what matters is said by us

HANDSHAKES = 100  # under way at once (S-61)
OPEN_WITHIN = 10.0  # seconds for a handshake, and then for a whole hello
REFUSAL_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
WORKER_PATH, EVENTS_PATH = "/worker", "/api/v1/events"

Authenticate = Callable[[str], Principal]
NewConversation = Callable[[Worker, Connection], Conversation]


class Gateway:
    """The asyncio thread with all sockets."""

    def __init__(
        self,
        *,
        repository: Repository,
        lineage: Callable[[], Lineage],
        authenticate: Authenticate,
        converse: NewConversation,
        live: Live,
        roster: Roster,
        lanes: Lanes,
        events: Events,
        clock: Any,
        second_port: tuple[str, int] | None = None,
    ) -> None:
        """``authenticate`` tells whom a worker token speaks for; raises Unauthenticated or Forbidden."""
        self._repository = repository
        self._lineage = lineage
        self._authenticate = authenticate
        self._converse = converse
        self._live = live
        self._roster = roster
        self._lanes = lanes
        self._events = events
        self._clock = clock
        self._second_port = second_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._second: Server | None = None
        self._handshakes = 0
        self._connections: set[Connection] = set()
        self._greeting: dict[str, Connection] = {}  # worker -> its connection that has not said its whole hello
        self._is_closing = False
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    # ---- from other threads

    def start(self) -> None:
        """Be ready for connections when this returns. Raises what made it fail."""
        self._lanes.start()
        self._events.subscribe(Messenger(self._repository, self._roster).hear)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def adopt(self, taken: socket.socket, head: bytes) -> None:
        """Take over a connection that asked for an upgrade, with what was read of it. Any thread."""
        loop = self._loop
        if loop is None or self._is_closing:
            taken.close()
            return
        taken.setblocking(False)
        asyncio.run_coroutine_threadsafe(self._adopt(taken, head), loop)

    def beat(self) -> None:
        """Return once the thread has come by: not while it is stuck (F44). Raises RuntimeError if it has ended."""
        if self._loop is None:
            raise RuntimeError("the gateway has not been started")
        passed = threading.Event()
        self._loop.call_soon_threadsafe(passed.set)
        passed.wait()

    def stop(self, timeout: float = 3.0) -> None:
        """Close every connection with 1012; workers come back by themselves. Runs are left alone (F02)."""
        self._is_closing = True
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(self._end)
            self._thread.join(timeout)
        self._lanes.stop()

    # ---- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
            if self._ready.is_set():
                _log.exception("the gateway has failed")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        directory = tempfile.mkdtemp(prefix="orchestra-")
        options: dict[str, Any] = dict(
            process_request=self._admit,
            process_response=_name_worker,
            compression=None,
            create_connection=Door,
            server_header=None,
            open_timeout=OPEN_WITHIN,
            select_subprotocol=_choose_subprotocol,
            **self._connection_options(),
            max_size=MESSAGE_LIMIT,
        )
        try:
            self._server = await unix_serve(self._serve, f"{directory}/websocket", **options)
            shutil.rmtree(directory, ignore_errors=True)  # nobody comes by its name, and a killed server would leave it
            if self._second_port is not None:
                host, port = self._second_port
                self._second = await serve(self._serve, host, port, **options)
            self._live.start(self._loop)
            self._ready.set()
            await self._stopped.wait()
            for server in (self._server, self._second):
                if server is not None:
                    server.close(code=Close.RESTART, reason="service restart")
            async with asyncio.timeout(2.5):
                for server in (self._server, self._second):
                    if server is not None:
                        await server.wait_closed()
        except TimeoutError:
            _log.info("some connections did not say goodbye in time")
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _end(self) -> None:
        self._stopped.set()

    @staticmethod
    def _connection_options() -> dict[str, Any]:
        return {
            "ping_interval": PING_EVERY,
            "ping_timeout": PONG_WITHIN - CLOSE_WITHIN,
            "close_timeout": CLOSE_WITHIN,
            "max_queue": 4,
            "write_limit": 65_536,
        }

    async def _adopt(self, taken: socket.socket, head: bytes) -> None:
        if self._server is None or self._is_closing:
            taken.close()
            return
        server = self._server
        protocol = ServerProtocol(
            max_size=MESSAGE_LIMIT,
            logger=_library_log,
            select_subprotocol=_choose_subprotocol,
        )
        connection = Door(protocol, server, **self._connection_options())
        connection.head = head
        assert self._loop is not None
        try:
            await self._loop.connect_accepted_socket(lambda: connection, taken)
        except OSError:
            taken.close()

    # ---- handshake

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide about a handshake before it is answered: who is it, and is this the right door (S-12)?"""
        assert isinstance(connection, Door)
        path = request.path.partition("?")[0]
        if self._handshakes >= HANDSHAKES:
            return _refuse(connection, 429, "too many connections at once: try again")
        self._handshakes += 1
        try:
            if path == EVENTS_PATH:
                peer = connection.remote_address[0] if connection.remote_address else ""
                look = functools.partial(self._live.authenticate, request, peer)
                connection.listener = (*await asyncio.to_thread(look), look)
                return None
            if path != WORKER_PATH:
                return _refuse(connection, 404, "there is no WebSocket here")
            if "Origin" in request.headers:
                return _refuse(connection, 403, "browsers do not speak here")
            if SUBPROTOCOL not in ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).replace(" ", "").split(
                ","
            ):
                return _refuse(connection, 426, f"this master speaks {SUBPROTOCOL}")
            connection.worker = await asyncio.to_thread(self._worker_of, request.headers.get_all("Authorization"))
            return None
        except Unauthenticated as error:
            return _refuse(connection, 401, str(error))
        except Disconnected as error:
            return _refuse(connection, 403, str(error), {WORKER_STATE_HEADER: "disconnected"})
        except Forbidden as error:
            return _refuse(connection, 403, str(error))
        except ApplianceError as error:
            return _refuse(connection, 503, str(error))
        finally:
            self._handshakes -= 1

    def _worker_of(self, authorization: list[str]) -> Worker:
        scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise Unauthenticated("a worker connects with its token")
        principal = self._authenticate(token.strip())
        worker = self._repository.workers.get(principal.worker_id or "")
        if worker is None:
            raise Forbidden("this token is not a worker's")
        return worker

    # ---- connections

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Door)
        if connection.worker is not None:
            await self._serve_worker(connection, connection.worker)
        elif connection.listener is not None:
            await self._live.serve(connection, *connection.listener)

    async def _serve_worker(self, socket: ServerConnection, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        lineage = self._lineage()
        end = MasterEnd(lineage.cluster, lineage.epoch, lineage.incarnation, loop.time)
        connection = Connection(loop, end)
        conversation = connection.conversation = self._converse(worker, connection)
        self._connections.add(connection)
        if (before := self._greeting.get(worker.id)) is not None:  # one at a time: an unfinished hello takes memory
            before.close(Close.SUPERSEDED, "a newer connection of this worker took over")
        self._greeting[worker.id] = connection
        writer = loop.create_task(connection.write(socket))
        hello_due = loop.call_later(OPEN_WITHIN, self._no_hello, connection)
        try:
            async for frame in socket:
                event = end.receive(frame)
                connection.answered()
                if conversation.seat is not None:  # one that is refused must not keep another journal alive (F26)
                    self._roster.heard(worker.id, self._clock.now())
                if event is None:
                    if end.closed is not None and end.closed[0] == Close.VERSION:
                        self._roster.refuse(worker.id, end.closed[1])
                    if writer.done():
                        break
                    continue
                if isinstance(event, Greeting):
                    hello_due.cancel()
                    self._has_greeted(worker.id, connection)
                    await self._in_lane(worker.id, functools.partial(self._greet, connection, event))
                    continue
                await connection.take_room()
                if not isinstance(event, frames.Data):
                    key = getattr(event, "run", worker.id)
                    self._lanes.put(key, functools.partial(_word, connection, conversation, event))
                elif connection.piles.put(event):
                    self._lanes.put(
                        event.run, functools.partial(_pile, connection, conversation, event.run, event.stream)
                    )
            if not writer.done():
                writer.cancel()
        except ConnectionClosed:
            pass  # a cut cable; the worker comes back
        finally:
            hello_due.cancel()
            self._connections.discard(connection)
            self._has_greeted(worker.id, connection)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            unsent = connection.unsent()
            self._lanes.put(worker.id, functools.partial(conversation.end, unsent))

    def _has_greeted(self, worker_id: str, connection: Connection) -> None:
        if self._greeting.get(worker_id) is connection:
            del self._greeting[worker_id]

    def _greet(self, connection: Connection, greeting: Greeting) -> None:
        conversation = connection.conversation
        assert conversation is not None
        try:
            conversation.greet(greeting, lambda merged: connection.welcome(greeting, merged, self._clock.now()))
            return
        except Unavailable as error:
            _log.warning("the inventory of worker %s could not be merged: %s", conversation.worker.name, error)
        except Exception:
            _log.exception("the inventory of worker %s could not be merged", conversation.worker.name)
        connection.close(Close.RESTART, "the inventory could not be merged: come back later")

    async def _in_lane(self, key: str, work: Callable[[], None]) -> None:
        """Do it in a lane, and read nothing more until it is done."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def do() -> None:
            try:
                work()
            finally:
                loop.call_soon_threadsafe(done.set)

        self._lanes.put(key, do)
        await done.wait()

    @staticmethod
    def _no_hello(connection: Connection) -> None:
        connection.close(Close.PROTOCOL, "no hello in time")


def _word(connection: Connection, conversation: Conversation, event: Any) -> None:
    try:
        conversation.take(event)
    finally:
        connection.done()


def _pile(connection: Connection, conversation: Conversation, run_id: str, stream: int) -> None:
    count, pieces = connection.piles.take(run_id, stream)
    try:
        for piece in pieces:
            conversation.take(piece)
    finally:
        connection.done(count)


def _refuse(connection: ServerConnection, status: int, text: str, headers: Mapping[str, str] = {}) -> Response:
    response = connection.respond(http.HTTPStatus(status), text + "\n")
    for name, value in {**REFUSAL_HEADERS, **headers}.items():
        response.headers[name] = value
    return response


def _name_worker(connection: ServerConnection, _request: Request, response: Response) -> None:
    """Say in the answer to a handshake whose token it was, so that whoever joins a machine sees it."""
    assert isinstance(connection, Door)
    if connection.worker is not None:
        response.headers[WORKER_NAME_HEADER] = connection.worker.name
        if not connection.worker.is_enabled:
            response.headers[WORKER_STATE_HEADER] = "disabled"


def _choose_subprotocol(_: object, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours if it is offered; listeners offer none."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None
