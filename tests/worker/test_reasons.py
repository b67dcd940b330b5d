"""Why a connection did not come about (F09, J08): a sentence for a person, and when to try again."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus, InvalidURI, NegotiationError
from websockets.frames import Close as CloseFrame
from websockets.http11 import Response

from appliance.wire import Close
from appliance.worker.reasons import LATER, RARELY, SOON, explain

URL = "https://orchestra.example"


def answer(status: int, body: bytes = b"") -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers(), body))


def closed(code: int, reason: str = "") -> ConnectionClosedError:
    return ConnectionClosedError(CloseFrame(code, reason), None, None)


def certificate() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    return error


def cut_short() -> InvalidMessage:
    """As websockets raises it when the connection ends before the whole answer is here."""
    error = InvalidMessage("did not receive a valid HTTP response")
    error.__cause__ = EOFError("connection closed while reading HTTP status line")
    return error


TROUBLES: dict[str, tuple[BaseException, str, str]] = {
    "a bad token": (answer(401), "orchestra worker token", LATER),
    "no worker": (answer(403), "not a worker's", LATER),
    "another path": (answer(404), "check the URL", SOON),
    "another protocol": (answer(426), "upgrade", RARELY),
    "too many": (answer(429), "too many connections", SOON),
    "a proxy without a server": (answer(502, b"<html>\nBad Gateway"), "answers 502 <html>", SOON),
    "a server that stops": (answer(503), "answers 503", SOON),
    "a proxy's page": (answer(200, b"<html>welcome"), "answers 200 instead of a WebSocket", SOON),
    "a redirect": (answer(302), "answers 302", SOON),
    "no subprotocol": (NegotiationError("x"), "upgrade", RARELY),
    "no HTTP": (InvalidMessage("x"), "no orchestra server", SOON),
    "cut before the answer": (cut_short(), "cut the connection before it answered", SOON),
    "no URL": (InvalidURI("x", "y"), "failed", SOON),
    "a cut": (ConnectionClosedError(None, None), "was cut", SOON),
    "an unknown certificate": (certificate(), "self-signed certificate", SOON),
    "http instead of https": (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "is it http", SOON),
    "no such name": (socket.gaierror(-2, "Name or service not known"), "check the spelling and the DNS", SOON),
    "no answer": (TimeoutError(), "did not answer in time", SOON),
    "nobody listens": (ConnectionRefusedError(), "nothing listens", SOON),
    "no route": (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host", SOON),
    "reset": (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "is it http", SOON),
    "without a word": (ConnectionAbortedError(), "cannot be reached (ConnectionAbortedError)", SOON),
    "something else": (RuntimeError("odd"), "RuntimeError: odd", SOON),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_defect_J08_fault_F09_every_trouble_has_a_sentence_and_a_time(name: str) -> None:
    error, words, again = TROUBLES[name]
    trouble = explain(error, URL)
    assert words in trouble.sentence
    assert trouble.again == again
    assert "\n" not in trouble.sentence and len(trouble.sentence) < 300


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (Close.RESTART, SOON),
        (Close.TOO_BIG, SOON),
        (Close.SUPERSEDED, LATER),
        (Close.REVOKED, LATER),
        (Close.DUPLICATE, LATER),
        (Close.DISCONNECTED, SOON),
        (Close.OTHER_CLUSTER, RARELY),
        (Close.VERSION, RARELY),
        (Close.PROTOCOL, LATER),
        (Close.RATE, LATER),
        (1011, SOON),
    ],
)
def test_every_close_code_is_understood(code: int, again: str) -> None:
    trouble = explain(closed(code, "said so"), URL)
    assert trouble.again == again
    assert ("1011 said so" in trouble.sentence) == (code == 1011)


def test_every_close_code_of_the_protocol_has_a_sentence_of_its_own() -> None:
    codes = [code for name, code in vars(Close).items() if name.isupper()]
    sentences = {explain(closed(code), URL).sentence for code in codes}
    assert len(sentences) == len(codes)
    assert not any(str(code) in sentence for code in codes for sentence in sentences)


def test_req_W6_a_worker_that_was_disconnected_knows_it_and_tries_on() -> None:
    refused = answer(403)
    refused.response.headers["Orchestra-Worker-State"] = "disconnected"
    said = explain(refused, URL)
    assert said == explain(closed(Close.DISCONNECTED), URL)
    assert said.again == SOON and "it is let in again once it is enabled" in said.sentence


def test_fault_F25_a_worker_that_is_sent_away_says_why() -> None:
    said = explain(closed(Close.REVOKED, "this worker was removed"), URL).sentence
    assert said == "the server has sent this worker away: this worker was removed"
    assert "\x1b" not in explain(closed(Close.REVOKED, "\x1b[2J"), URL).sentence


def test_req_S_53_what_a_page_answers_is_cut_to_one_short_line() -> None:
    said = explain(answer(500, b"\x1b[2J" + b"x" * 5000 + b"\nsecond"), URL).sentence
    assert len(said) < 300 and "second" not in said
