"""Following a run to its end: events wake and bring output early, plain requests say what is true.

So nothing is lost or doubled when the connection for events breaks, is refused by a proxy, or tells late: whatever an
event may have said is asked again, by offset, and a slow sweep is the safety net for an event that never came.
"""

from __future__ import annotations

import json
import random
import struct
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from appliance.client.connection import Connection, Document, Unreachable
from appliance.client.logs import LOG_RANGE, LogPart, read_log, run_path
from appliance.model.errors import Unavailable

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

T = TypeVar("T")

TERMINAL = frozenset({"succeeded", "failed", "errored", "aborted", "cancelled"})
SWEEPS = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds without a word until the run is looked at; the last one repeats
POLL_MOST = 2.0  # the same, without a connection for events
PATIENCE = 600.0  # seconds a server may be away while a run is followed, such as for an upgrade
RETRY_FIRST, RETRY_MOST = 0.2, 5.0  # seconds between attempts to reach it again

_LOG_FRAME = struct.Struct(">16sQ")  # run, offset; then the bytes
_FRAME_LIMIT = 4 << 20


class Follower:
    """Watches one run. Used once. ``offset``: the first byte of its log that is wanted; ``None``: no log.

    ``seen`` is told the run each time that it was looked at.
    """

    def __init__(
        self,
        connection: Connection,
        run_id: str,
        offset: int | None,
        seen: Callable[[Document], None] = lambda _: None,
    ) -> None:
        self._connection, self._run_id, self._offset, self._seen = connection, run_id, offset, seen
        self._events: ClientConnection | None = None
        self._opened = ExitStack()
        self._silence = 0

    def end(self) -> Document:
        """The run, once it is terminal."""
        watch = self.log()
        while True:
            try:
                next(watch)
            except StopIteration as stop:
                run: Document = stop.value
                return run

    def log(self) -> Generator[bytes, None, Document]:
        """The output, each byte once, until the run is terminal and all was told; the value is the run."""
        # What is wrong from the beginning (address, name, rights) is told at once; later it is an interruption.
        run = self._run()
        try:
            while True:
                yield from self._catch_up()
                if run["status"] in TERMINAL:
                    return run  # it was terminal before its log was read to the end, so nothing can be missing
                yield from self._listen(run)
                run = self._patiently(self._run)
        finally:
            self._hang_up()

    def _catch_up(self) -> Iterator[bytes]:
        """What of the log there is already, by ranges."""
        while self._offset is not None:
            part = self._patiently(self._range)
            if part.content:
                self._offset += len(part.content)
                yield part.content
            if not part.content or self._offset >= part.size:
                return

    def _listen(self, run: Document) -> Iterator[bytes]:
        """Output as it comes, until there is a reason to look at the run: it has ended, or nothing was heard."""
        while True:
            event = self._next_event(run)
            if event is None:
                self._silence += 1
                return
            self._silence = 0
            if isinstance(event, dict):
                if event.get("type") == "log_end" or _is_end(event, self._run_id):
                    return
                continue
            at, content = event
            if self._offset is None or at + len(content) <= self._offset:
                continue
            if at > self._offset:
                return
            content = content[self._offset - at :]
            self._offset += len(content)
            yield content

    def _range(self) -> LogPart:
        return read_log(self._connection, self._run_id, self._offset or 0, LOG_RANGE)

    def _run(self) -> Document:
        run = self._connection.document("GET", run_path(self._run_id))
        if "status" not in run:
            raise Unreachable(f"{self._connection.url} answers with no run; is the address right?")
        self._seen(run)
        return run

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer: a server that is away comes back."""
        until = time.monotonic() + PATIENCE
        delay = RETRY_FIRST
        while True:
            try:
                return ask()
            except Unavailable as error:
                if time.monotonic() > until:
                    raise
                told = 0.0 if isinstance(error, Unreachable) else min(error.retry_after, 30.0)
            time.sleep(max(told, delay * random.uniform(0.5, 1.0)))  # noqa: S311 - spreads load, hides nothing
            delay = min(delay * 2, RETRY_MOST)

    def _next_event(self, run: Document) -> Document | tuple[int, bytes] | None:
        """A document, or a piece of this log with its offset; ``None``: nothing within the time, or no connection."""
        from websockets.exceptions import ConnectionClosed

        within = SWEEPS[min(self._silence, len(SWEEPS) - 1)]
        if self._events is None and not self._subscribe(run):
            time.sleep(min(within, POLL_MOST))
            return None
        assert self._events is not None
        try:
            message = self._events.recv(timeout=within)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError):
            self._hang_up()
            return None
        if isinstance(message, str):
            try:
                event = json.loads(message)
            except ValueError:
                event = None
            return event if isinstance(event, dict) else {}
        if len(message) <= _LOG_FRAME.size:
            return {}
        run_bytes, at = _LOG_FRAME.unpack_from(message)
        return (at, message[_LOG_FRAME.size :]) if str(uuid.UUID(bytes=run_bytes)) == self._run_id else {}

    def _subscribe(self, run: Document) -> bool:
        """Open the connection for events. ``False``: not now; the requests tell why, if it matters."""
        from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
        from websockets.sync.client import connect

        http = self._connection
        headers = {"Authorization": f"Bearer {http.token}"} if http.token else {}
        wanted: Document = {"subscribe": "runs", "project": run["project"]}
        if self._offset is not None:
            wanted = {"subscribe": "log", "run": self._run_id, "offset": self._offset}
        try:
            self._events = self._opened.enter_context(
                connect(
                    "ws" + http.url.removeprefix("http") + "/api/v1/events",
                    additional_headers=headers,
                    user_agent_header="orchestra",
                    compression=None,
                    proxy=None,
                    max_size=_FRAME_LIMIT,
                    open_timeout=10,
                    close_timeout=1,
                )
            )
            self._events.send(json.dumps(wanted))
        except (InvalidHandshake, InvalidURI, WebSocketException, OSError):
            self._hang_up()
            return False
        return True

    def _hang_up(self) -> None:
        self._events = None
        self._opened.close()


def _is_end(event: Document, run_id: str) -> bool:
    run = event.get("run")
    return isinstance(run, dict) and run.get("id") == run_id and run.get("status") in TERMINAL
