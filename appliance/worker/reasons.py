"""Why a connection to the server did not come about, for a person: what is wrong, and what to do."""

from __future__ import annotations

import socket
import ssl

import msgspec
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    NegotiationError,
)

from appliance.wire import Close

SOON, LATER, RARELY = "soon", "later", "rarely"


class Trouble(msgspec.Struct, frozen=True):
    """``sentence`` for people. ``again``: soon (0.5 s to 30 s), later (1 to 10 min: F25) or rarely (hourly: F37)."""

    sentence: str
    again: str = SOON


_STATUSES = {
    401: Trouble("the server does not accept this worker's token: make a new one with 'orchestra worker token'", LATER),
    403: Trouble("the server refuses this worker: its token is not a worker's, or the worker is disabled", LATER),
    404: Trouble("there is no orchestra server at this address: check the URL and its path", LATER),
    426: Trouble("the server speaks another protocol: upgrade the older of the two", RARELY),
    429: Trouble("the server has too many connections at the moment"),
}
_CLOSES = {
    Close.RESTART: Trouble("the server restarts"),
    Close.TOO_BIG: Trouble("a message was too big for the server"),
    Close.SUPERSEDED: Trouble("another process with this worker's journal took over", LATER),
    Close.REVOKED: Trouble("this worker's token was revoked, or the worker was removed", LATER),
    Close.DUPLICATE: Trouble("another machine uses this worker's token: give each machine a token of its own", LATER),
    Close.OTHER_CLUSTER: Trouble("this worker's journal belongs to another server: use another data directory", RARELY),
    Close.VERSION: Trouble("worker and server are of versions that do not understand each other: upgrade", RARELY),
    Close.PROTOCOL: Trouble("the server did not understand this worker", LATER),
    Close.RATE: Trouble("this worker sent too much at once", LATER),
}


def explain(error: BaseException, url: str) -> Trouble:
    """The trouble behind an exception of a connection attempt or of a connection."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            said = (
                error.response.body[:200].decode("utf-8", "replace").strip().partition("\n")[0]
                if error.response.body
                else ""
            )
            known = _STATUSES.get(status)
            if known is not None:
                return known
            if 500 <= status < 600:
                return Trouble(f"the server, or a proxy before it, answers {status} {said}".rstrip())
            return Trouble(
                f"{url} answers {status} instead of a WebSocket: is a proxy or another program there?", LATER
            )
        case NegotiationError():
            return Trouble("the server does not speak this worker's protocol: upgrade the older of the two", RARELY)
        case InvalidHandshake():
            return Trouble(f"what answers at {url} is no orchestra server, or a proxy changes what it says", LATER)
        case ConnectionClosed():
            received = error.rcvd
            if received is None:
                return Trouble("the connection was cut")
            known = _CLOSES.get(received.code)
            return known or Trouble(f"the server closed the connection ({received.code} {received.reason})")
        case ssl.SSLCertVerificationError():
            return Trouble(
                f"the certificate of {url} is not trusted ({error.verify_message}): check name, clock and CA"
            )
        case ssl.SSLError():
            why = getattr(error, "reason", None) or error  # only errors of OpenSSL itself have one
            return Trouble(f"TLS with {url} failed ({why}): is it http instead of https?")
        case socket.gaierror():
            return Trouble(f"the name in {url} is not known here ({error.strerror}): check the spelling and the DNS")
        case TimeoutError():
            return Trouble(f"{url} did not answer in time: check address, port and firewall")
        case ConnectionRefusedError():
            return Trouble(f"nothing listens at {url}: is the server running, and is the port right?")
        case ConnectionResetError() if url.startswith("https:"):
            return Trouble(f"{url} cut the connection as TLS began: is it http instead of https?")
        case OSError():
            return Trouble(f"{url} cannot be reached ({error.strerror or str(error) or type(error).__name__})")
        case _:
            return Trouble(f"the connection to {url} failed: {type(error).__name__}: {error}")
