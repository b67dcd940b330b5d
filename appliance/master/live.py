"""The event stream (A2): changes of runs and the tails of logs, pushed to pages, scripts and the command line.

A client says what it wants to hear; nothing it says changes anything (S-12):

    {"subscribe": "runs"}                                all runs it may see; "project": "name" for one project's only
    {"subscribe": "log", "run": "<id>", "offset": 0}     the output of a run from a byte on

and hears ``{"type": "run", "run": {…}}`` with the run as the service shows it, binary frames (16 bytes of the run's id,
u64 offset big endian, then bytes of output) and ``{"type": "log_end", "run": "<id>", "size": n}``. A slow client hears
the latest state of each run, never a backlog; ``{"type": "missed"}`` tells that it should look again.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from appliance.clock import Clock
from appliance.events import AccountChanged, Event, Events, LogGrew, RunChanged, SessionsEnded
from appliance.master.connection import Look
from appliance.model import run_state
from appliance.model.entities import Run, Session
from appliance.model.errors import ApplianceError, NotFound
from appliance.model.permissions import Kind, Principal, Right, may, visible_projects
from appliance.runs import Runs
from appliance.wire import Close
from appliance.wire.messages import UUID, Size, Word

_log = logging.getLogger(__name__)

PIECE = 65_536  # bytes of output in one frame
LOGS = 20  # logs one client follows at once
BACKLOG = 1_000  # runs with an untold change, per client
CLIENTS = 500
CLIENTS_EACH = 50  # of one user or run
LOOK_AGAIN = 3600.0  # seconds after which it is looked whether a login still holds, if nothing tells before
SEND_WITHIN = 30.0  # seconds a client may take for one frame

_FRAME = struct.Struct(">16sQ")


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may say."""

    subscribe: str
    run: UUID | None = None
    offset: Size = 0
    project: Word | None = None


_read_wish = msgspec.json.Decoder(Wish).decode

Authenticate = Callable[[str, dict[str, str], str], tuple[Principal, Session | None]]


class _Client:
    """One connected listener."""

    def __init__(self, principal: Principal, session: Session | None) -> None:
        self.principal = principal
        self.session = session
        self.visible = visible_projects(principal)
        self.wants_runs = False
        self.project: str | None = None
        self.changed: dict[str, Run] = {}
        self.has_missed = False
        self.logs: dict[str, int] = {}  # run -> next byte
        self.grown: set[str] = set()
        self.fresh: set[str] = set()  # newly followed; told as they are, changed or not
        self.wake = asyncio.Event()

    def sees(self, run: Run) -> bool:
        """Whether this run's changes are wanted and may be seen."""
        if run.id in self.logs:
            return True
        if not self.wants_runs or self.project not in (None, run.project):
            return False
        if self.visible is None or run.project in self.visible:
            return True
        own = self.principal.run_id  # of a run's token; a user has none, as most runs have no parent
        return own is not None and own in (run.id, run.parent)


class Live:
    """All listeners. Events arrive from any thread and are told on the gateway's."""

    def __init__(
        self, runs: Runs, events: Events, clock: Clock, authenticate: Authenticate, show: Callable[[Run], bytes]
    ) -> None:
        """``authenticate(path, headers, peer)``; ``show`` gives a run as the service's JSON document."""
        self._runs = runs
        self._events = events
        self._clock = clock
        self._authenticate = authenticate
        self._show = show
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: dict[_Client, ServerConnection] = {}
        self._closing: set[asyncio.Future[Any]] = set()  # kept, so that they are not collected before they are done

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to events; called on the gateway's thread."""
        self._loop = loop
        self._events.subscribe(self._on_event)

    def authenticate(self, request: Request, peer: str) -> tuple[Principal, Session | None]:
        """Whom a handshake speaks for. Blocking. Raises Unauthenticated, Forbidden."""
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        return self._authenticate(request.path, headers, peer)

    async def serve(
        self, connection: ServerConnection, principal: Principal, session: Session | None, look: Look | None = None
    ) -> None:
        """Talk with one listener until it goes, or until its login is over. ``look`` asks again who it is."""
        same = [one for one in self._clients if one.principal.name == principal.name]
        if len(self._clients) >= CLIENTS or len(same) >= CLIENTS_EACH:
            await connection.close(Close.RESTART, "too many listeners")
            return
        client = _Client(principal, session)
        self._clients[client] = connection
        writer = asyncio.create_task(self._tell(client, connection))
        watcher = asyncio.create_task(self._watch(client, connection, look) if look else asyncio.sleep(0))
        try:
            async for frame in connection:
                if not await self._wish(client, frame):
                    await connection.close(Close.PROTOCOL, "not understood")
                    break
        except ConnectionClosed:
            pass
        finally:
            del self._clients[client]
            writer.cancel()
            watcher.cancel()
            await asyncio.gather(writer, watcher, return_exceptions=True)

    async def _watch(self, client: _Client, connection: ServerConnection, look: Look) -> None:
        """Close a listener whose login is not what it was, or when it ends (S-07).

        Looked at once behind the registration, since rights may have changed between the two; events tell the rest.
        """
        while True:
            try:
                principal, session = await asyncio.to_thread(look)
            except ApplianceError:
                break
            if principal != client.principal:
                break
            until = session.expires_at if session is not None else principal.expires_at
            if until is None:
                return
            left = max(0.0, (until - self._clock.now()).total_seconds())
            await asyncio.sleep(min(left, LOOK_AGAIN) + 0.05)
        await connection.close(Close.REVOKED, "log in again")

    # ---- what it wants

    async def _wish(self, client: _Client, frame: str | bytes) -> bool:
        try:
            wish = _read_wish(frame)
        except (msgspec.DecodeError, UnicodeError):
            return False
        if wish.subscribe == "runs":
            client.wants_runs, client.project = True, wish.project
            return True
        if wish.subscribe != "log" or wish.run is None or len(client.logs) >= LOGS:
            return False
        try:
            run = await asyncio.to_thread(self._runs.get, wish.run)
        except ApplianceError:
            run = None
        may_see = run is not None and may(client.principal, Right.READ, run.project, run_id=run.id, parent=run.parent)
        if run is None or not may_see:
            client.changed.pop(wish.run, None)
            return True  # what one may not see does not exist: silence, not an error that tells them apart
        client.logs[run.id] = wish.offset
        client.fresh.add(run.id)
        client.grown.add(run.id)
        client.wake.set()
        return True

    # ---- what it hears

    async def _tell(self, client: _Client, connection: ServerConnection) -> None:
        try:
            while True:
                await client.wake.wait()
                client.wake.clear()
                await self._look_at_fresh(client)
                grown, client.grown = client.grown, set()
                for run_id in grown:
                    await self._tell_log(client, connection, run_id)
                changed, client.changed = client.changed, {}
                for run in changed.values():
                    await self._tell_run(client, connection, run)
                if client.has_missed:
                    client.has_missed = False
                    await self._send(connection, '{"type":"missed"}')
        except (ConnectionClosed, TimeoutError):
            connection.transport.abort()
        except Exception:
            _log.exception("a listener could not be told")
            connection.transport.abort()

    async def _look_at_fresh(self, client: _Client) -> None:
        """Read newly followed runs once their changes are heard, so that none falls between; what is heard is newer."""
        fresh, client.fresh = client.fresh, set()
        for run_id in fresh:
            try:
                run = await asyncio.to_thread(self._runs.get, run_id)
            except NotFound:
                client.logs.pop(run_id, None)  # deleted meanwhile
            else:
                client.changed.setdefault(run_id, run)

    async def _tell_run(self, client: _Client, connection: ServerConnection, run: Run) -> None:
        text = await asyncio.to_thread(self._show, run)
        await self._send(connection, '{"type":"run","run":' + text.decode() + "}")
        if run.id in client.logs and run.status not in run_state.LIVE:
            await self._tell_log(client, connection, run.id)
            size = client.logs.pop(run.id)
            await self._send(connection, f'{{"type":"log_end","run":"{run.id}","size":{size}}}')

    async def _tell_log(self, client: _Client, connection: ServerConnection, run_id: str) -> None:
        while (offset := client.logs.get(run_id)) is not None:
            piece = await asyncio.to_thread(self._runs.log, run_id, offset, PIECE)
            if not piece:
                return
            client.logs[run_id] = offset + len(piece)
            await self._send(connection, _FRAME.pack(uuid.UUID(run_id).bytes, offset) + piece)

    @staticmethod
    async def _send(connection: ServerConnection, frame: str | bytes) -> None:
        async with asyncio.timeout(SEND_WITHIN):
            await connection.send(frame)

    # ---- events

    def _on_event(self, event: Event) -> None:
        loop = self._loop
        if loop is None or not self._clients:
            return
        try:
            loop.call_soon_threadsafe(self._note, event)
        except RuntimeError:
            self._loop = None  # the gateway has stopped

    def _note(self, event: Event) -> None:
        match event:
            case RunChanged(run=run):
                for client in self._clients:
                    if client.sees(run):
                        self._note_run(client, run)
                if run.status not in run_state.LIVE:  # and so its token is dead (S-84)
                    self._close(lambda client: client.principal.run_id == run.id)
            case LogGrew(run_id=run_id, size=size):
                for client in self._clients:
                    if client.logs.get(run_id, size) < size:
                        client.grown.add(run_id)
                        client.wake.set()
            case AccountChanged(user=user):
                self._close(lambda client: client.principal.kind is Kind.USER and client.principal.name == user)
            case SessionsEnded(session_ids=ended):
                self._close(lambda client: client.session is not None and client.session.id in ended)

    @staticmethod
    def _note_run(client: _Client, run: Run) -> None:
        if len(client.changed) >= BACKLOG and run.id not in client.changed:
            client.has_missed = True
        else:
            client.changed[run.id] = run
        client.wake.set()

    def _close(self, applies: Callable[[_Client], bool]) -> None:
        """The rights of some clients changed: they come back and are looked at anew (S-07)."""
        for client, connection in list(self._clients.items()):
            if applies(client):
                task = asyncio.ensure_future(connection.close(Close.REVOKED, "log in again"))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
