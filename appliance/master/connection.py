"""One worker's socket: a voice for other threads, and the queue behind it. All else is on the gateway's thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from websockets.asyncio.server import ServerConnection

from appliance.master.conversation import Conversation
from appliance.master.piles import Piles
from appliance.model.entities import Session, Worker
from appliance.model.permissions import Principal
from appliance.wire import SEND_WITHIN, Close, ProtocolError
from appliance.wire import messages as m
from appliance.wire.master_end import Greeting, MasterEnd, Merged

_log = logging.getLogger(__name__)

UNDER_WAY = 96  # words of one connection that wait for a lane; then its socket is not read


Look = Callable[[], tuple[Principal, Session | None]]  # asks again whom a connection speaks for


class Door(ServerConnection):
    """A WebSocket as it is let in. ``head``: of its request, if somebody else has read it. One of the others is set."""

    head = b""
    worker: Worker | None = None
    listener: tuple[Principal, Session | None, Look] | None = None

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
        self.piles = Piles()
        self._begun = self._finished = 0  # words given to lanes, and dealt with
        self._is_waiting = False
        self._lock = threading.Lock()
        self._room = asyncio.Event()

    # ---- voice: any thread

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """See ``Voice.say``."""
        self._post(self._say, kind, fields)

    def refuse(self, error: ProtocolError) -> None:
        """See ``Voice.refuse``."""
        self._post(self._refuse, error)

    def close(self, code: int, text: str) -> None:
        """See ``Voice.close``."""
        self._post(self._close, code, text)

    def welcome(self, greeting: Greeting, merged: Merged, at: datetime) -> None:
        """Send the welcome."""
        self._post(self._welcome, greeting, merged, at)

    def retire(self) -> None:
        """See ``Voice.retire``."""
        if self.conversation is not None:
            self.conversation.retire()

    def done(self, words: int = 1) -> None:
        """So many words were dealt with. The gateway is woken only if it waits for that."""
        with self._lock:
            self._finished += words
            is_waiting = self._is_waiting
        if is_waiting:
            self._post(self._room.set)

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

    def _refuse(self, error: ProtocolError) -> None:
        self.end.refuse(error)
        self._flush()

    def _close(self, code: int, text: str) -> None:
        self.end.close(code, text)
        self._flush()

    def _welcome(self, greeting: Greeting, merged: Merged, at: datetime) -> None:
        self.end.welcome(greeting, merged, at)
        self._flush()

    def _flush(self, run_id: str | None = None) -> None:
        self._out.extend((text, run_id) for text in self.end.take())
        self._wake.set()

    async def take_room(self) -> None:
        """Wait until one more word may be given to a lane, and count it."""
        while True:
            self._room.clear()
            with self._lock:
                self._is_waiting = self._begun - self._finished >= UNDER_WAY
                if not self._is_waiting:
                    self._begun += 1
                    return
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
        if self.end.has_more:
            self._flush()

    def unsent(self) -> list[str]:
        """Runs whose assignments were never given to the socket. Ends the conversation."""
        self.end.close(Close.RESTART, "gone")
        return self._unsent + [run_id for _, run_id in self._out if run_id is not None]
