"""The master's end of one connection: what a worker may say when, and the frames that answer it. No I/O.

    HELLO ──whole hello──▶ MERGING ──welcome()──▶ OPEN ──▶ CLOSED
                │                                  │
                └───────── a broken promise ───────┘

Frames go into ``receive``, which answers events; ``say`` queues a message and ``take`` gives the frames to send. One
thread at a time. When ``closed`` is set the connection is to be closed with that code and text.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from appliance import __version__
from appliance.wire import (
    INVENTORY_LIMIT,
    INVENTORY_PAGE,
    PROTOCOLS,
    RUN_WINDOW,
    WORKER_WINDOW,
    Close,
    ProtocolError,
    frames,
)
from appliance.wire import messages as m

ERRORS_A_MINUTE = 10  # frames that cannot be read or come out of order (F36)
REFUSALS_A_MINUTE = 1_000  # words about runs of others, streams beyond their limit (F14)
INVENTORY_SIZES = 4 * INVENTORY_LIMIT  # sizes of streams in a whole inventory: they are what it takes in memory (I7)
MESSAGES_A_SECOND = 2_000


class Stage(enum.Enum):
    """Where the conversation is."""

    HELLO = "hello"
    MERGING = "merging"
    OPEN = "open"
    CLOSED = "closed"


class Greeting(msgspec.Struct, frozen=True):
    """The worker has said its whole hello; answer with ``welcome`` or ``close``."""

    hello: m.Hello
    held: tuple[m.Held, ...]
    protocol: int


class Merged(msgspec.Struct, frozen=True):
    """What the master made of an inventory: the content of a welcome."""

    resume: tuple[m.Resume, ...] = ()
    forget: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reconcile: bool = False  # the worker is to list its committed runs too (F24)


Said = (
    m.Accepted
    | m.Declined
    | m.Started
    | m.Results
    | m.Exited
    | m.Forgotten
    | m.Unknown
    | m.InventoryPage
    | m.Recalled
    | m.Beat
    | m.Drain
)
Event = Greeting | Said | frames.Data | m.ErrorReply


class MasterEnd:
    """One worker connection. ``monotonic`` gives seconds, for rates only."""

    def __init__(
        self,
        cluster: str,
        epoch: int,
        incarnation: str,
        monotonic: Callable[[], float],
        protocols: tuple[int, int] = PROTOCOLS,
    ) -> None:
        """``protocols``: the lowest and the highest version spoken."""
        self._protocols = protocols
        self.stage = Stage.HELLO
        self.closed: tuple[int, str] | None = None
        self._cluster, self._epoch, self._incarnation = cluster, epoch, incarnation
        self._monotonic = monotonic
        self._hello: m.Hello | None = None
        self._awaits_kept = False
        self._held: list[m.Held] = []
        self._sizes_held = 0
        self._out: list[str] = []
        self._after_welcome: list[tuple[Callable[..., m.Message], dict[str, object]]] = []
        self._next_id = 1
        self._errors: deque[float] = deque()
        self._refusals: deque[float] = deque()
        self._second, self._in_second = -1, 0

    def receive(self, frame: str | bytes) -> Event | None:
        """Take one frame; answers what it means, or None when nothing is left to do about it.

        Broken frames are answered with ``error``; what cannot go on sets ``closed``.
        """
        if self.stage is Stage.CLOSED:
            return None
        try:
            if isinstance(frame, bytes):
                return self._data(frame)
            self._count()
            return self._message(m.from_worker(frame))
        except ProtocolError as error:
            self._answer(error, self._errors, ERRORS_A_MINUTE)
            return None

    def refuse(self, error: ProtocolError) -> None:
        """Answer a word that is well formed and may not be said; too many of them end the conversation (I7)."""
        self._answer(error, self._refusals, REFUSALS_A_MINUTE)

    def welcome(self, greeting: Greeting, merged: Merged, at: datetime) -> None:
        """Answer the hello; from here on work may be assigned."""
        if self.stage is not Stage.MERGING:
            return  # closed while the inventory was merged
        resume, forget, unknown = list(merged.resume), list(merged.forget), list(merged.unknown)
        pages = max(len(resume), len(forget), len(unknown), 1)
        for start in range(0, pages, INVENTORY_PAGE):
            stop = start + INVENTORY_PAGE
            page = {"resume": resume[start:stop], "forget": forget[start:stop], "unknown": unknown[start:stop]}
            if start:
                self.say(m.ResumePage, **page, more=stop < pages)
                continue
            self.say(
                m.Welcome,
                re=greeting.hello.id,
                protocol=greeting.protocol,
                cluster=self._cluster,
                epoch=self._epoch,
                incarnation=self._incarnation,
                at=at.timestamp(),
                run_window=RUN_WINDOW,
                worker_window=WORKER_WINDOW,
                **page,
                more=stop < pages,
                reconcile=merged.reconcile,
            )
        self._awaits_kept = merged.reconcile
        self.stage = Stage.OPEN
        for kind, fields in self._after_welcome:
            self.say(kind, **fields)
        self._after_welcome.clear()

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """Queue a message; its ``id`` is added here. Raises ProtocolError when it is too big to be sent.

        What somebody wants of the worker while its inventory is merged is said after the welcome, and not before.
        """
        if self.stage is Stage.CLOSED:
            return
        if self.stage is not Stage.OPEN and kind not in (m.Welcome, m.ResumePage, m.ErrorReply):
            self._after_welcome.append((kind, fields))
            return
        text = m.encode(kind(id=self._next_id, **fields))
        self._next_id += 1
        self._out.append(text)

    def close(self, code: int, text: str) -> None:
        """End the conversation; what is queued is still sent."""
        if self.stage is not Stage.CLOSED:
            self.stage, self.closed = Stage.CLOSED, (code, text)

    @property
    def has_more(self) -> bool:
        """Whether ``take`` or ``closed`` has something for the caller."""
        return bool(self._out) or self.closed is not None

    def take(self) -> Sequence[str]:
        """The frames to send now, in order."""
        out, self._out = self._out, []
        return out

    def _data(self, frame: bytes) -> frames.Data:
        if self.stage is not Stage.OPEN:
            raise ProtocolError("data before welcome", "order", close=Close.PROTOCOL)
        return frames.decode(frame)

    def _message(self, message: m.FromWorker) -> Event | None:
        match self.stage, message:
            case Stage.HELLO, m.Hello() if self._hello is None:
                return self._greet(message, message.runs, message.more)
            case Stage.HELLO, m.InventoryPage() if self._hello is not None:
                return self._greet(self._hello, message.runs, message.more)
            case Stage.HELLO, m.ErrorReply():
                return message
            case Stage.HELLO, _:
                raise ProtocolError("the first message must be hello", "order", close=Close.PROTOCOL, re=message.id)
            case Stage.OPEN, m.InventoryPage() if self._awaits_kept:
                self._awaits_kept = message.more
                return message
            case _, m.Hello() | m.InventoryPage():
                raise ProtocolError("a second hello", "order", close=Close.PROTOCOL, re=message.id)
            case Stage.MERGING, m.Beat() | m.ErrorReply():
                return message
            case Stage.MERGING, _:
                raise ProtocolError("not welcome yet", "order", close=Close.PROTOCOL, re=message.id)
            case _, _:
                return message

    def _greet(self, hello: m.Hello, held: list[m.Held], more: bool) -> Greeting | None:
        self._hello = hello
        self._held += held
        self._sizes_held += sum(len(one.sizes) for one in held)
        if len(self._held) > INVENTORY_LIMIT or self._sizes_held > INVENTORY_SIZES:
            self._held.clear()
            raise ProtocolError("inventory over the limit", "too_big", close=Close.PROTOCOL)
        if more:
            return None
        spoken = min(hello.protocols[1], self._protocols[1])
        if spoken < max(hello.protocols[0], self._protocols[0]):
            (low, high), (lowest, highest) = hello.protocols, self._protocols
            age, whom = ("old", "the worker") if high < lowest else ("new", "the server")
            raise ProtocolError(
                f"the worker is too {age}: it speaks protocol {low} to {high}, the server {lowest} to {highest}: "
                f"upgrade {whom} ({hello.software[:60]} meets {__version__})",
                "version",
                close=Close.VERSION,
            )
        if hello.cluster is not None and hello.cluster != self._cluster:
            raise ProtocolError(
                "the worker's journal belongs to another appliance: give it a directory of its own",
                "cluster",
                close=Close.OTHER_CLUSTER,
            )
        self.stage = Stage.MERGING
        return Greeting(hello=hello, held=tuple(self._held), protocol=spoken)

    def _count(self) -> None:
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second > MESSAGES_A_SECOND:
            raise ProtocolError(f"over {MESSAGES_A_SECOND} messages a second", "rate", close=Close.RATE)

    def _answer(self, error: ProtocolError, before: deque[float], most: int) -> None:
        if self.stage is Stage.CLOSED:
            return
        now = self._monotonic()
        before.append(now)
        while before[0] < now - 60:
            before.popleft()
        self.say(m.ErrorReply, re=error.re, code=error.code, text=str(error)[:500])
        if error.close is not None:
            self.close(error.close, str(error)[:100])
        elif len(before) >= most:
            self.close(Close.PROTOCOL, f"{most} errors within a minute")
