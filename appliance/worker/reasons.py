"""Why a connection to the server did not come about, for a person: what is wrong, and what to do."""

from __future__ import annotations

import socket
import ssl

import msgspec
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
)

from appliance.wire import WORKER_STATE_HEADER, Close

SOON, LATER, RARELY = "soon", "later", "rarely"


class Trouble(msgspec.Struct, frozen=True):
    """``sentence`` for people. ``again``: soon (0.5 s to 30 s), later (1 to 10 min: F25) or rarely (hourly: F37).

    ``is_elsewhere``: something answers that is no server of ours. It may be a proxy that is right again in a moment.
    """

    sentence: str
    again: str = SOON
    is_elsewhere: bool = False


_DISCONNECTED = Trouble(
    "an administrator has disconnected this worker: it is let in again once it is enabled, and its runs go on here"
)
_STATUSES = {
    401: Trouble(
        "the server does not know this token: it was revoked, or not used within 24 hours, or its worker was removed, "
        "or it is another server's; make a new one with 'orchestra worker token NAME'",
        LATER,
    ),
    403: Trouble(
        "the server refuses this token: it is not a worker's; make one with 'orchestra worker token NAME'", LATER
    ),
    404: Trouble("there is no orchestra server at this address: check the URL and its path", is_elsewhere=True),
    426: Trouble("the server speaks another protocol: upgrade the older of the two", RARELY),
    429: Trouble("the server has too many connections at the moment"),
}
_CLOSES = {
    Close.RESTART: Trouble("the server restarts"),
    Close.TOO_BIG: Trouble("a message was too big for the server"),
    Close.SUPERSEDED: Trouble("another process with this worker's journal took over", LATER),
    Close.REVOKED: Trouble("this worker's token was revoked, or the worker was removed", LATER),
    Close.DISCONNECTED: _DISCONNECTED,
    Close.DUPLICATE: Trouble("another machine uses this worker's token: give each machine a token of its own", LATER),
    Close.OTHER_CLUSTER: Trouble("this worker's journal belongs to another server: use another data directory", RARELY),
    Close.VERSION: Trouble("worker and server are of versions that do not understand each other: upgrade", RARELY),
    Close.PROTOCOL: Trouble("the server did not understand this worker", LATER),
    Close.RATE: Trouble("this worker sent too much at once", LATER),
}
_NAME = "is for another name: use the one that it was made for in the URL, or renew it for this one"
_UNTRUSTED = (
    "is signed by nobody whom this machine trusts: install its CA here, or name the CA's file in SSL_CERT_FILE, "
    "also for 'orchestra worker run'"
)
_CERTIFICATES = {  # by OpenSSL's X509_V_ERR_...
    9: "is not valid yet: set the clock of this machine right ('date -u' shows it), or wait",
    10: "has expired: renew it at the server; or the clock of this machine is wrong ('date -u' shows it)",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "was revoked: renew it at the server",
    62: _NAME,
    64: _NAME,
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
            if status == 403 and error.response.headers.get(WORKER_STATE_HEADER) == "disconnected":
                return _DISCONNECTED
            known = _STATUSES.get(status)
            if known is not None:
                return known
            if 300 <= status < 400 and (to := error.response.headers.get("Location", "")):
                return Trouble(
                    f"{url} points to {to[:200]!a}: give that address, if it is the server's", is_elsewhere=True
                )
            if 500 <= status < 600:
                return Trouble(f"the server, or a proxy before it, answers {status} {said}".rstrip())
            # A proxy's page is gone as soon as the proxy is right again: no reason to stay away for long (J08).
            there = f"is a proxy or another program there{_or_tls(url)}?"
            return Trouble(f"{url} answers {status} instead of a WebSocket: {there}", is_elsewhere=True)
        case NegotiationError():
            return Trouble("the server does not speak this worker's protocol: upgrade the older of the two", RARELY)
        case InvalidMessage() if isinstance(error.__cause__, EOFError | OSError):
            # A server that is killed or a network that breaks in this moment: no reason to stay away for long (F09).
            there = f"is the server starting, and is the port right{_or_tls(url)}?"
            return Trouble(f"{url} cut the connection before it answered: {there}")
        case InvalidHandshake():
            return Trouble(
                f"what answers at {url} is no orchestra server, or a proxy changes what it says: "
                f"is the port right{_or_tls(url)}?",
                is_elsewhere=True,
            )
        case ConnectionClosed():
            received = error.rcvd
            if received is None:
                return Trouble("the connection was cut")
            known = _CLOSES.get(received.code)
            if received.code == Close.REVOKED and received.reason.isprintable() and received.reason:
                return Trouble(f"the server has sent this worker away: {received.reason}", LATER)
            return known or Trouble(f"the server closed the connection ({received.code} {received.reason})")
        case ssl.SSLCertVerificationError():
            what = _CERTIFICATES.get(getattr(error, "verify_code", 0), "is not trusted: check name, clock and CA")
            return Trouble(f"the certificate of {url} {what} ({getattr(error, 'verify_message', error)})")
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


def _or_tls(url: str) -> str:
    return ", or is it https instead of http" if url.startswith("http:") else ""
