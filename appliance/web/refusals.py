"""What the port itself refuses, before any route is asked: a body that is too big, a head that cannot be read.

The answer is a problem like any other. And it arrives: a connection that is closed while its client still sends is
reset by the system, and the client may see that instead of the answer. So what still comes is read and dropped for a
moment.
"""

from __future__ import annotations

import socket
import time
from http import HTTPStatus
from typing import Any

from waitress import wasyncore
from waitress.task import ErrorTask

from appliance.web.errors import Refused, problem_json, problem_of
from appliance.web.security import HEADERS

LINGER_FOR = 2.0  # seconds
LINGER_MOST = 8 << 20  # bytes dropped for one client
LINGERING_MOST = 64  # clients at once; further ones are closed at once

_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "this is no HTTP request that can be read",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body of the request is too large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the head of the request is too large",
    HTTPStatus.NOT_IMPLEMENTED: "this transfer encoding is not known here: send a Content-Length",
}


class Refusal(ErrorTask):
    """waitress's answer to what it cannot take, as a problem and with the headers that every answer has (S-14)."""

    def execute(self) -> None:
        """Answer, and see to it that the answer is read."""
        status = HTTPStatus(self.request.error.code)
        body = problem_json(problem_of(Refused(status, _SENTENCES.get(status, "the request cannot be taken"))))
        self.status = f"{status.value} {status.phrase}"
        self.response_headers = [*HEADERS.items(), ("Content-Type", "application/problem+json")]
        self.content_length = len(body)
        self.set_close_on_finish()
        self.channel.has_refused = True
        self.write(body)


class Lingering(wasyncore.dispatcher):
    """The rest of a refused request. Lives in the server's loop, which calls it when bytes come."""

    def __init__(self, own: socket.socket, loop: dict[int, Any]) -> None:
        super().__init__(own, map=loop)
        self._until = time.monotonic() + LINGER_FOR
        self._left = LINGER_MOST

    @property
    def is_late(self) -> bool:
        """Whether it has been waited long enough."""
        return time.monotonic() > self._until

    def writable(self) -> bool:
        """Everything was said."""
        return False

    def handle_read(self) -> None:
        """Drop what came."""
        self._left -= len(self.recv(65_536))  # at the end of the stream it closes
        if self._left <= 0 or self.is_late:
            self.handle_close()

    def handle_close(self) -> None:
        """The client has gone, or took too long."""
        self.close()


def linger(leaving: socket.socket, loop: dict[int, Any]) -> None:
    """The owner of a socket closes it now: keep a copy of it until the client has stopped sending."""
    if sum(isinstance(one, Lingering) for one in loop.values()) >= LINGERING_MOST:
        return
    try:
        leaving.shutdown(socket.SHUT_WR)
        own = leaving.dup()
    except OSError:
        return  # the client has gone already, or there are no descriptors left
    Lingering(own, loop)


def close_late(loop: dict[int, Any]) -> None:
    """Close those who neither send nor go; called now and then."""
    for one in list(loop.values()):
        if isinstance(one, Lingering) and one.is_late:
            one.handle_close()
