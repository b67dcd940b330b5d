"""A worker that is only a WebSocket: a test says its words for it, true or not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from appliance.model.caps import request_digest
from appliance.wire import SUBPROTOCOL, frames
from tests.journeys.site import LONG_ENOUGH, Site

OUTPUT = b"some output\n"


def token_of(site: Site, name: str) -> str:
    """The token of a worker that has its own name as property ``who``: a new one, if there is such a worker."""
    return str(site.client.create_worker(name, {"who": name})["token"])


def dial(
    site: Site,
    token: str | None,
    *,
    path: str = "/worker",
    subprotocol: str | None = SUBPROTOCOL,
    headers: dict[str, str] | None = None,
) -> ClientConnection:
    """A handshake as a worker makes it, or nearly so."""
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    return connect(
        f"ws://127.0.0.1:{site.port}{path}",
        additional_headers={**authorization, **(headers or {})},
        subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
        compression=None,
        max_queue=None,
        close_timeout=2.0,
        proxy=None,
    )


class RawWorker:
    """One connection. ``sent`` keeps what was said after the hello, so that another one can repeat it."""

    def __init__(self, site: Site, token: str, journal: str | None = None) -> None:
        self.journal = journal or secrets.token_hex(16)
        self.token = token
        self._site = site
        self.sent: list[str | bytes] = []
        self._stack = contextlib.ExitStack()
        self._socket = self._stack.enter_context(dial(site, token))
        self._next_id = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._stack.close()

    def hello(self, *runs: dict[str, Any], **other: Any) -> None:
        """Say who this is and what it holds."""
        words: dict[str, Any] = {
            "protocols": [1, 1],
            "software": "raw",
            "journal": self.journal,
            "instance": secrets.token_hex(16),
            "boot": "boot",
            "at": time.time(),
            "slots": 4,
            "runs": list(runs),
        }
        self.send(self._text("hello", **{**words, **other}))
        self.sent.clear()

    def greet(self, *runs: dict[str, Any], **other: Any) -> dict[str, Any]:
        """Say hello, and answer the welcome."""
        self.hello(*runs, **other)
        return self.hear("welcome")

    def say(self, kind: str, **fields: Any) -> None:
        """A message with an id."""
        self.send(self._text(kind, **fields))

    def print(self, run: str, offset: int, payload: bytes) -> None:
        """Output of a run."""
        self.send(frames.encode(run, 0, offset, payload))

    def exit(self, run: str, output: bytes, **other: Any) -> None:
        """The exit record of a run with this output."""
        words: dict[str, Any] = {
            "status": "succeeded",
            "at": time.time(),
            "code": 0,
            "command": "commands[0]",
            "sizes": {"0": len(output)},
            "digests": {"0": hashlib.sha256(output).hexdigest()},
        }
        self.say("exited", run=run, **{**words, **other})

    def begin(self, job: str, output: bytes = OUTPUT) -> tuple[str, dict[str, Any]]:
        """Trigger a run that is begun here and prints this; the run, and how an inventory lists it then.

        The server has all of that when this returns: what it had not taken when the worker hangs up would be lost.
        """
        run = self._site.trigger(job)
        assign = self.hear("assign")
        self.say("accepted", run=run)
        self.say("started", run=run, at=1.0)
        self.print(run, 0, output)
        while self._site.client.log(run).size < len(output):
            pass
        self._site.reach(run, lambda found: found["status"] == "running")
        digest = request_digest(assign["request"])
        sizes = {"0": len(output)}
        return run, {"run": run, "cap": assign["cap"], "digest": digest, "state": "started", "sizes": sizes}

    def send(self, frame: str | bytes) -> None:
        """As it is. What is sent to a connection that has closed meanwhile is not sent."""
        self.sent.append(frame)
        with contextlib.suppress(ConnectionClosed):
            self._socket.send(frame)

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types; others before it are passed over."""
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(LONG_ENOUGH))
            if message["type"] in kinds:
                return message

    def next(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(self._socket.recv(LONG_ENOUGH))
        return message

    def closed(self) -> tuple[int, str]:
        """Code and reason with which the server closes."""
        try:
            while True:
                self._socket.recv(LONG_ENOUGH)
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "cut")

    def _text(self, kind: str, **fields: Any) -> str:
        text = json.dumps({"type": kind, "id": self._next_id, **fields})
        self._next_id += 1
        return text
