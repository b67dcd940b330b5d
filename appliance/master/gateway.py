"""The only WebSocket server: worker connections and live views, in one asyncio thread. Sockets in, words out.

A connection arrives with the head of its request, taken over from the web server's port (``adopt``), or on a port of its
own. Nothing blocks here: what touches disk or database runs in lanes.
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
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from appliance.db.repository import Repository
from appliance.events import Event, Events, RunChanged, WorkerChanged, WorkerRevoked
from appliance.master.conversation import Conversation
from appliance.master.lanes import Lanes
from appliance.master.live import Live
from appliance.master.roster import Roster
from appliance.model import run_state
from appliance.model.entities import Lineage, Worker
from appliance.model.errors import ApplianceError, Forbidden, Unauthenticated
from appliance.model.permissions import Principal
from appliance.wire import (
    MESSAGE_LIMIT,
    PING_EVERY,
    PONG_WITHIN,
    SEND_WITHIN,
    SUBPROTOCOL,
    Close,
)
from appliance.wire import messages as m
from appliance.wire.master_end import Greeting, MasterEnd, Merged

_log = logging.getLogger(__name__)
_library_log = logging.getLogger("websockets.server")
_library_log.setLevel(logging.CRITICAL)  # a cut cable is no error; what matters is said by us

HANDSHAKES = 100  # under way at once (S-61)
OPEN_WITHIN = 10.0  # seconds for a handshake, and then for a whole hello
UNDER_WAY = 96  # words of one connection that wait for a lane; then its socket is not read
WORKER_PATH, EVENTS_PATH = "/worker", "/api/v1/events"

Authenticate = Callable[[str], Principal]
NewConversation = Callable[[Worker, "Connection"], Conversation]


class _Adopted(ServerConnection):
    """A connection whose request head was read by somebody else."""

    head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Replay what was read, before the loop reads more."""
        super().connection_made(transport)
        if self.head:
            self.data_received(self.head)


class Connection:
    """One worker's socket: a voice for other threads, and the loop of its reader and its writer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: MasterEnd) -> None:
        self.end = end
        self.conversation: Conversation | None = None
        self._loop = loop
        self._out: deque[tuple[str, str | None]] = deque()  # text, and the run it assigns
        self._unsent: list[str] = []
        self._wake = asyncio.Event()
        self._under_way = 0
        self._room = asyncio.Event()
        self._room.set()

    # ---- voice: any thread

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """See ``Voice.say``."""
        self._post(self._say, kind, fields)

    def close(self, code: int, text: str) -> None:
        """See ``Voice.close``."""
        self._post(self._close, code, text)

    def welcome(self, greeting: Greeting, merged: Merged, at: Any) -> None:
        """Send the welcome."""
        self._post(self._welcome, greeting, merged, at)

    def retire(self) -> None:
        """See ``Voice.retire``."""
        if self.conversation is not None:
            self.conversation.retire()

    def done(self) -> None:
        """One word was dealt with."""
        self._post(self._done)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            _log.debug("the gateway has stopped")  # workers hear everything again when they are back

    # ---- loop thread only

    def _say(self, kind: Callable[..., m.Message], fields: dict[str, object]) -> None:
        run_id = str(fields["run"]) if kind is m.Assign else None
        if self.end.closed is not None:
            if run_id is not None:
                self._unsent.append(run_id)
            return
        self.end.say(kind, **fields)
        self._flush(run_id)

    def _close(self, code: int, text: str) -> None:
        self.end.close(code, text)
        self._flush()

    def _welcome(self, greeting: Greeting, merged: Merged, at: Any) -> None:
        self.end.welcome(greeting, merged, at)
        self._flush()

    def _flush(self, run_id: str | None = None) -> None:
        self._out.extend((text, run_id) for text in self.end.take())
        self._wake.set()

    def _done(self) -> None:
        self._under_way -= 1
        if self._under_way < UNDER_WAY:
            self._room.set()

    async def take_room(self) -> None:
        """Wait until one more word may be put into a lane."""
        self._under_way += 1
        if self._under_way >= UNDER_WAY:
            self._room.clear()
            await self._room.wait()

    async def write(self, socket: ServerConnection) -> None:
        """Send what is to be sent until the conversation is closed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                text, _ = self._out.popleft()
                try:
                    async with asyncio.timeout(SEND_WITHIN):
                        await socket.send(text)
                except TimeoutError:
                    socket.transport.abort()  # a peer that reads nothing (F11)
                    return
            if self.end.closed is not None:
                await socket.close(*self.end.closed)
                return

    def answered(self) -> None:
        """The end may have something to say after a frame."""
        self._flush()

    def unsent(self) -> list[str]:
        """Runs whose assignments were never given to the socket. Ends the conversation."""
        self.end.close(Close.RESTART, "gone")
        return self._unsent + [run_id for _, run_id in self._out if run_id is not None]


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
        self._is_closing = False
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    # ---- from other threads

    def start(self) -> None:
        """Be ready for connections when this returns. Raises what made it fail."""
        self._lanes.start()
        self._events.subscribe(self._on_event)
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
            compression=None,
            server_header=None,
            open_timeout=OPEN_WITHIN,
            select_subprotocol=self._subprotocol,
            **self._connection_options(),
            max_size=MESSAGE_LIMIT,
        )
        try:
            self._server = await unix_serve(self._serve, f"{directory}/websocket", **options)
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
        return dict(
            ping_interval=PING_EVERY, ping_timeout=PONG_WITHIN, close_timeout=2.0, max_queue=4, write_limit=65_536
        )

    async def _adopt(self, taken: socket.socket, head: bytes) -> None:
        if self._handshakes >= HANDSHAKES or self._server is None or self._is_closing:
            taken.close()
            return
        server = self._server
        protocol = ServerProtocol(
            max_size=MESSAGE_LIMIT,
            logger=_library_log,
            select_subprotocol=lambda _, offered: SUBPROTOCOL if SUBPROTOCOL in offered else None,  # type: ignore[arg-type,return-value]  # NewType of str
        )
        connection = _Adopted(protocol, server, **self._connection_options())
        connection.head = head
        assert self._loop is not None
        try:
            await self._loop.connect_accepted_socket(lambda: connection, taken)
        except OSError:
            taken.close()

    @staticmethod
    def _subprotocol(_: ServerConnection, offered: Any) -> Subprotocol | None:
        return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None

    # ---- handshake

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide about a handshake before it is answered: who is it, and is this the right door (S-12)?"""
        path = request.path.partition("?")[0]
        if self._handshakes >= HANDSHAKES:
            return _refuse(connection, 429, "too many connections at once: try again")
        self._handshakes += 1
        try:
            if path == EVENTS_PATH:
                peer = connection.remote_address[0] if connection.remote_address else ""
                principal, session = await asyncio.to_thread(self._live.authenticate, request, peer)
                connection.principal, connection.session = principal, session  # type: ignore[attr-defined]  # ours
                return None
            if path != WORKER_PATH:
                return _refuse(connection, 404, "there is no WebSocket here")
            if "Origin" in request.headers:
                return _refuse(connection, 403, "browsers do not speak here")
            if SUBPROTOCOL not in ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).replace(" ", "").split(","):
                return _refuse(connection, 426, f"this master speaks {SUBPROTOCOL}")
            worker = await asyncio.to_thread(self._worker_of, request.headers.get_all("Authorization"))
            connection.worker = worker  # type: ignore[attr-defined]  # ours
            return None
        except Unauthenticated as error:
            return _refuse(connection, 401, str(error))
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
        if hasattr(connection, "worker"):
            await self._serve_worker(connection, connection.worker)
        else:
            await self._live.serve(connection, connection.principal, connection.session)  # type: ignore[attr-defined]  # ours

    async def _serve_worker(self, socket: ServerConnection, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        lineage = self._lineage()
        end = MasterEnd(lineage.cluster, lineage.epoch, lineage.incarnation, loop.time)
        connection = Connection(loop, end)
        conversation = connection.conversation = self._converse(worker, connection)
        self._connections.add(connection)
        writer = loop.create_task(connection.write(socket))
        hello_due = loop.call_later(OPEN_WITHIN, self._no_hello, connection)
        try:
            async for frame in socket:
                event = end.receive(frame)
                connection.answered()
                self._roster.heard(worker.id, self._clock.now())
                if event is None:
                    if writer.done():
                        break
                    continue
                if isinstance(event, Greeting):
                    hello_due.cancel()
                    await self._in_lane(worker.id, functools.partial(self._greet, connection, event))
                    continue
                await connection.take_room()
                key = getattr(event, "run", worker.id)
                self._lanes.put(key, functools.partial(_word, connection, conversation, event))
            if not writer.done():
                writer.cancel()
        except ConnectionClosed:
            pass  # a cut cable; the worker comes back
        finally:
            hello_due.cancel()
            self._connections.discard(connection)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            unsent = connection.unsent()
            self._lanes.put(worker.id, functools.partial(conversation.end, unsent))

    def _greet(self, connection: Connection, greeting: Greeting) -> None:
        conversation = connection.conversation
        assert conversation is not None
        try:
            conversation.greet(
                greeting, lambda merged: connection.welcome(greeting, merged, self._clock.now())
            )
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

    # ---- events

    def _on_event(self, event: Event) -> None:
        match event:
            case RunChanged(run=run) if run.status in run_state.LEASED and (run.should_abort or run.should_cancel):
                seat = self._roster.seat_of(run.id)
                if seat is not None:
                    kind = m.Abort if run.should_abort else m.Withdraw
                    seat.voice.say(kind, run=run.id)
            case WorkerRevoked(worker_id=worker_id):
                seat = self._roster.seat(worker_id)
                if seat is not None:
                    seat.voice.retire()
                    seat.voice.close(Close.REVOKED, "this worker's token was revoked")
            case WorkerChanged(worker_id=worker_id):
                worker = self._repository.workers.get(worker_id)
                if worker is not None:
                    self._roster.update(worker)


def _word(connection: Connection, conversation: Conversation, event: Any) -> None:
    try:
        conversation.take(event)
    finally:
        connection.done()


def _refuse(connection: ServerConnection, status: int, text: str) -> Response:
    return connection.respond(http.HTTPStatus(status), text + "\n")

