"""One request at a time on a connection; waitress would take as many as a client sends ahead."""

from __future__ import annotations

from typing import Any

from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest


class SingleRequest(HTTPRequestParser):
    """Reads a request; what was sent ahead of its answer is dropped, and the connection closes after the answer.

    Answers to requests sent ahead pile up behind a client that reads nothing, until waitress makes the thread of the
    next one wait for that client. A dozen such clients, without any login, held every thread (decision 12, S-60).
    """

    headers: dict[str, Any]

    def received(self, data: bytes) -> int:
        """Take bytes; answers how many were used, dropped ones included."""
        try:
            used: int = super().received(data)
        except ValueError:  # a length of 5,000 digits, an address like http://[ (I7)
            self.error = BadRequest("unreadable head")
            self.completed = True
            return len(data)
        if self.completed and not self.empty and used < len(data):
            if data[used:].strip(b"\r\n"):  # some clients end a body with an empty line
                self.headers["CONNECTION"] = "close"
            return len(data)
        return used
