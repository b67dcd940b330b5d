"""One kept HTTP connection to the service: requests out, documents or the errors they mean back."""

from __future__ import annotations

import http.client
import json
import select
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from appliance.model.errors import (
    ApplianceError,
    Conflict,
    Forbidden,
    Full,
    Invalid,
    Malformed,
    NotFound,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

Document = dict[str, Any]
Query = Mapping[str, str | Sequence[str]]

ANSWER_LIMIT = 64 << 20  # bytes of one answer, which is kept in memory
PAGE = 1000  # items asked for at once, the most that a list gives

_BY_STATUS: dict[int, type[ApplianceError]] = {
    400: Malformed,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: Throttled,
    503: Unavailable,
    507: Full,
}
_BROKEN = (OSError, http.client.HTTPException)


class Unreachable(Unavailable):
    """Nobody answers at the address, or what answers is not Orchestra."""


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Connection:
    """Speaks with the server at ``url``. Follows no redirect and uses no proxy of the environment."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        text = url if "://" in url else f"http://{url}"
        refusal = Invalid(f"not the address of a server, such as https://ci.example.org: {url[:200]!r}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise refusal from None
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
            raise refusal
        if not text.isascii() or not text.isprintable() or " " in text:
            raise refusal
        if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
            raise Invalid("the token holds characters that no token has; copy it again")
        self.token = token
        self.base = parts.path.rstrip("/")
        self.url = f"{parts.scheme}://{parts.netloc}{self.base}"
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout)
        )

    def close(self) -> None:
        """Hang up. The next request connects again."""
        self._connection.close()

    def items(self, path: str, where: Query | None = None, limit: int | None = None) -> Iterator[Document]:
        """The items of a list, at most ``limit``, page after page as they are taken."""
        query = dict(where or {})
        left = limit
        while left is None or left > 0:
            query["limit"] = str(PAGE if left is None else min(left, PAGE))
            page = self.document("GET", path, query=query)
            items = page.get("items", [])
            yield from items[:left]
            cursor = page.get("next")
            if cursor is None:
                return
            query["cursor"] = cursor
            left = None if left is None else left - len(items)

    def document(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
    ) -> Document:
        """The JSON object that a request is answered with; see :meth:`call`."""
        answer = self.call(method, path, query=query, body=body, headers=headers, is_repeatable=is_repeatable)
        document = _json_object(answer.body) if answer.body else {}
        if document is None:
            raise Unreachable(f"{self.url} does not answer as an Orchestra server does; is the address right?")
        return document

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
    ) -> Answer:
        """One request and its good answer. Raises the error that another answer means, or Unreachable.

        A request that may be made twice (a GET, or ``is_repeatable``) is, once, if the connection breaks under it.
        """
        target = self.base + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        head = {"Accept": "application/json", "User-Agent": "orchestra", **(headers or {})}
        for name, value in head.items():
            if not (value.isascii() and value.isprintable()):
                raise Invalid(f"the header {name} cannot hold {value[:80]!r}; use plain ASCII text")
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        content = None
        if body is not None or method in ("POST", "PATCH", "PUT"):
            content = json.dumps(body or {}, allow_nan=False).encode("ascii")
            head["Content-Type"] = "application/json"
        try:
            answer = self._exchange(method, target, content, head)
        except _BROKEN as first:
            if not (is_repeatable or method == "GET") or isinstance(first, _FINAL):
                raise self._unreachable(first) from first
            try:
                answer = self._exchange(method, target, content, head)
            except _BROKEN as second:
                raise self._unreachable(second) from second
        if 200 <= answer.status < 300:
            return answer
        raise self._error(answer)

    def _exchange(self, method: str, target: str, content: bytes | None, head: dict[str, str]) -> Answer:
        connection = self._connection
        if _has_hung_up(connection):
            connection.close()
        try:
            connection.request(method, target, body=content, headers=head)
            response = connection.getresponse()
            received = response.read(ANSWER_LIMIT + 1)
            if response.length and len(received) <= ANSWER_LIMIT:  # cut off: http.client says so of whole reads only
                raise http.client.IncompleteRead(received, response.length)
        except BaseException:
            connection.close()  # what may still arrive on it belongs to this request
            raise
        if len(received) > ANSWER_LIMIT:
            connection.close()
            raise TooLarge(f"the answer of {self.url} is over {ANSWER_LIMIT} bytes; ask for less at once")
        return Answer(response.status, response.headers, received)

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        is_tls = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError)
        asked = "is it http instead of https" if is_tls else "is the server running, and the address right"
        return Unreachable(f"cannot reach {self.url}: {reason}; {asked}?")

    def _error(self, answer: Answer) -> ApplianceError:
        status, headers = answer.status, answer.headers
        problem = _json_object(answer.body) if headers.get_content_type() == "application/problem+json" else None
        if problem is None:
            to = headers.get("Location", "")
            advice = f"it points to {to[:200]!r}: use that address" if to else "is the address right?"
            return Unreachable(f"{self.url} answered {status}, and not as an Orchestra server does; {advice}")
        text = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
        kind = _BY_STATUS.get(status, Invalid if status < 500 else ApplianceError)
        if issubclass(kind, Invalid):
            listed = [one for one in problem.get("errors") or [] if isinstance(one, dict)]
            return kind(text, {str(one.get("field", "")): str(one.get("message", "")) for one in listed})
        if issubclass(kind, Unavailable):
            after = headers.get("Retry-After", "")
            return kind(text, float(after) if after.isdecimal() and len(after) < 6 else 2.0)
        return kind(text)


_FINAL = (ConnectionRefusedError, TimeoutError, ssl.SSLError)  # asking again at once would not help


def part(text: str) -> str:
    """Text as one part of a path."""
    # A client of HTTP may fold these two away, which would name another thing.
    return quote(text, safe="").replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


def _json_object(raw: bytes) -> Document | None:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _has_hung_up(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed a kept connection: anything to read on an idle one means that."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
