"""The WSGI application: bottle finds the route, the gate admits, the handler answers, and every answer leaves here."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import bottle
import msgspec

from appliance.model.errors import ApplianceError, Malformed, Throttled, Unauthenticated
from appliance.model.limits import Buckets
from appliance.model.permissions import Right
from appliance.web import api, bodies, errors, security
from appliance.web.head import Head, decoded_path, head_of_environ
from appliance.web.pages import table
from appliance.web.routes import Asker, Cookie, Page, Parts, Problem, Request, Response, Route, is_local_path

ROUTES: tuple[Route, ...] = (*api.ROUTES, *table.ROUTES)

_MOST_FLASHES = 1000
_NO_HEAD = Head("http", "", {})  # of a request whose own cannot be read
_encode = msgspec.json.Encoder(decimal_format="number").encode
_log = logging.getLogger(__name__)


class Flashes:
    """Sentences for the next page of a session. In memory: one that gets lost in a restart is no loss."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, str] = OrderedDict()

    def put(self, session_id: str, sentence: str) -> None:
        """Keep it for the next page."""
        with self._lock:
            self._waiting[session_id] = sentence
            while len(self._waiting) > _MOST_FLASHES:
                self._waiting.popitem(last=False)

    def take(self, session_id: str) -> str | None:
        """The sentence, once."""
        with self._lock:
            return self._waiting.pop(session_id, None)


class TriggerLimit:
    """How often a user may trigger, by page and service together (S-65)."""

    def __init__(self, parts: Parts) -> None:
        self._clock = parts.clock
        self._lock = threading.Lock()
        self._buckets = Buckets(parts.settings.triggers_per_minute, parts.settings.trigger_burst)

    def spend(self, user: str) -> None:
        """Count one. Raises Throttled."""
        with self._lock:
            wait = self._buckets.take(user, self._clock.monotonic())
        if wait:
            raise Throttled("you have triggered too many runs: try again a little later", retry_after=wait)


class Service(bottle.Bottle):
    """All routes behind the gate. ``routes`` are those that it was made of, for OpenAPI and for the matrix of tests."""

    def __init__(self, parts: Parts, routes: Sequence[Route]) -> None:
        super().__init__()
        self.config["catchall"] = False  # bottle's own last page has no headers of S-14 and names the path
        self.parts = parts
        self.table = tuple(routes)
        self._flashes = Flashes()
        self._triggers = TriggerLimit(parts)
        for route in routes:
            self.route(route.path, route.method, self._callback(route))

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request. Nothing escapes from here but the end of the whole program."""
        early: Exception | None = None
        try:
            environ["orchestra.head"] = head_of_environ(environ)
            decoded_path(environ)
        except Malformed as error:
            environ["orchestra.head"] = _NO_HEAD
            early = error
        try:
            if early is None:
                answer: Iterable[bytes] = super().wsgi(environ, start_response)
                return answer
        except Exception as error:  # outside of every route; logged and answered with an id
            early = error
        refusal = self._refusal(early, environ, None, None)
        start_response(refusal.status_line, refusal.headerlist, None)
        return [refusal.body]

    def default_error_handler(self, res: bottle.HTTPError) -> bottle.HTTPResponse:
        """What bottle itself refuses: an unknown path, or a method that a path does not have."""
        environ = bottle.request.environ
        error: Exception
        if res.status_code == HTTPStatus.NOT_FOUND:
            error = errors.Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        elif res.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error = security.refuse_method(environ["REQUEST_METHOD"], res.headers.get("Allow", ""))
        else:
            error = res.exception or RuntimeError(f"bottle answered {res.status_code}")
        return self._refusal(error, environ, None, None)

    def _callback(self, route: Route) -> Callable[..., bottle.HTTPResponse]:
        def answer(**params: str) -> bottle.HTTPResponse:
            environ = bottle.request.environ
            request: Request | None = None
            try:
                request, tokens = self._admit(route, params, environ)
                response = route.handler(request, self.parts)
                return self._finish(request, response, tokens, environ)
            except Unauthenticated as error:
                if route.kind == "page" and route.right != "public":
                    return self._to_login(environ)
                return self._refusal(error, environ, route, request)
            except Exception as error:  # the one place where the unforeseen ends: it is logged and answered with an id
                return self._refusal(error, environ, route, request)

        return answer

    # ---- in

    def _admit(
        self, route: Route, params: Mapping[str, str], environ: Mapping[str, Any]
    ) -> tuple[Request, security.FormTokens]:
        head: Head = environ["orchestra.head"]
        settings = self.parts.settings
        caller = self._caller(route, head)
        tokens = security.FormTokens(head, caller.session, self.parts.key)
        run = security.authorize(route, caller.principal, params, self.parts)
        if route.right is Right.TRIGGER and caller.principal is not None:
            self._triggers.spend(caller.principal.name)
        raw = bodies.read_body(environ, route.body_limit) if route.method in security.CHANGING else b""
        body: Any = None
        if route.kind == "page" and route.method in security.CHANGING:
            fields, token = bodies.form_fields(head, raw)
            if caller.session is not None or caller.principal is None:
                security.require_own_page(head, settings, token, tokens())
            body = bodies.form_body(fields, route.body)
        elif route.method in security.CHANGING:
            if caller.session is not None:
                token = head.headers.get(security.CSRF_HEADER, "")
                security.require_own_page(head, settings, token, caller.session.csrf)
            body = bodies.json_body(head, raw, route.body, route.body_limit)
        query_text = str(environ.get("QUERY_STRING") or "")
        path = decoded_path(environ)
        target = str(environ.get("SCRIPT_NAME") or "") + _raw_path(environ) + (f"?{query_text}" if query_text else "")
        request = Request(
            route=route,
            path=path,
            target=target if is_local_path(target) else "/",
            params=params,
            query=bodies.read_query(query_text, route.query, is_page=route.kind == "page"),
            body=body,
            principal=caller.principal,
            session=caller.session,
            run=run,
            address=head.peer,
            agent=head.headers.get("user-agent", "")[:200],
            is_secure=security.is_private(head, settings),
            origin=head.origin(settings.base_url),
            idempotency_key=head.headers.get("idempotency-key"),
            seen_before=head.cookie(security.cookie_name("seen", head)),
            form_token=tokens,
            routes=self.table,
            flash=self._flashes.take(caller.session.id)
            if caller.session is not None
            and route.kind == "page"
            and route.method == "GET"
            and "x-requested-with" not in head.headers  # live.js: nobody would read it there
            else None,
        )
        return request, tokens

    def _caller(self, route: Route, head: Head) -> security.Caller:
        """Who asks. Where everyone may, a login that is not good is nobody's; a static file does not even ask."""
        if route.kind == "static":
            return security.NOBODY
        try:
            return security.authenticate(self.parts.accounts, head)
        except Unauthenticated:
            if route.right == "public":
                return security.NOBODY
            raise

    # ---- out

    def _finish(
        self, request: Request, response: Response, tokens: security.FormTokens, environ: Mapping[str, Any]
    ) -> bottle.HTTPResponse:
        body: Any = response.body
        if isinstance(body, Page):
            if self.parts.rendering is None:
                raise RuntimeError(f"{request.route.path} is a page, and this service renders none")
            body = self.parts.rendering.page(body.view, request)
        elif response.content_type == "application/json":
            body = _encode(body)
        cookies = list(response.cookies)
        if tokens.new_visitor is not None:
            cookies.append(Cookie("visitor", tokens.new_visitor))
        session_id = response.new_session or (request.session.id if request.session is not None else None)
        if response.flash is not None and session_id is not None:
            self._flashes.put(session_id, response.flash)
        headers = dict(response.headers)
        if response.content_type is not None and response.status != HTTPStatus.NO_CONTENT:
            headers["Content-Type"] = response.content_type
        return self._answer(environ, body, response.status, headers, cookies)

    def _refusal(
        self, error: Exception, environ: Mapping[str, Any], route: Route | None, request: Request | None
    ) -> bottle.HTTPResponse:
        if isinstance(error, ValueError) and not isinstance(error, ApplianceError) and _is_header_error(error):
            error = Malformed("a value of this request cannot stand in a header")  # S-17
        problem = errors.problem_of(error)
        headers = dict(problem.headers)
        if problem.retry_after is not None:
            headers["Retry-After"] = str(problem.retry_after)
        is_page = route.kind == "page" if route is not None else _wants_page(environ)
        if is_page:
            headers["Content-Type"], body = self._error_page(problem, request, environ["orchestra.head"])
        else:
            headers["Content-Type"], body = "application/problem+json", errors.problem_json(problem)
        return self._answer(environ, body, problem.status, headers, [])

    def _error_page(self, problem: Problem, request: Request | None, head: Head) -> tuple[str, bytes]:
        if self.parts.rendering is not None:
            try:
                asker = self._asker(problem, request, head)
                return "text/html; charset=utf-8", self.parts.rendering.error(problem, asker)
            except Exception:  # an error page that cannot be rendered must not hide the error it tells of
                _log.exception("the error page itself could not be rendered")
        return "text/plain; charset=utf-8", errors.problem_text(problem)

    def _asker(self, problem: Problem, request: Request | None, head: Head) -> Asker | None:
        """Whose browser it is. After a failure of ours nothing more is asked of anybody."""
        if request is not None:
            caller = security.Caller(request.principal, request.session)
        elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return None
        else:
            try:
                caller = security.authenticate(self.parts.accounts, head)
            except ApplianceError:
                return None
        if caller.principal is None or caller.session is None:
            return None
        return Asker(caller.principal, caller.session.csrf, head.origin(self.parts.settings.base_url))

    def _to_login(self, environ: Mapping[str, Any]) -> bottle.HTTPResponse:
        """Pages of nobody lead to the login page, and from there back, if they were only looked at."""
        target = _raw_path(environ)
        if environ.get("QUERY_STRING"):
            target += f"?{environ['QUERY_STRING']}"
        is_look = environ["REQUEST_METHOD"] in ("GET", "HEAD") and is_local_path(target) and target != "/"
        location = f"/login?{urlencode({'next': target})}" if is_look else "/login"
        headers = {"Location": location, "Content-Type": "text/plain; charset=utf-8"}
        return self._answer(environ, b"", HTTPStatus.SEE_OTHER, headers, [])

    def _answer(
        self, environ: Mapping[str, Any], body: Any, status: int, headers: Mapping[str, str], cookies: list[Cookie]
    ) -> bottle.HTTPResponse:
        head: Head = environ["orchestra.head"]
        answer = bottle.HTTPResponse(body, int(status))
        for name, value in {**security.HEADERS, **headers}.items():
            answer.set_header(name, value)
        if head.scheme == "https":
            answer.set_header(*security.TRANSPORT_SECURITY)
        for cookie in cookies:
            answer.add_header("Set-Cookie", security.set_cookie(cookie, head, self.parts.settings))
        return answer


def _raw_path(environ: Mapping[str, Any]) -> str:
    """The path, quoted again: what WSGI hands over is decoded."""
    raw = str(environ.get("bottle.raw_path") or environ.get("PATH_INFO") or "/").encode("latin-1", "replace")
    return "".join(chr(byte) if chr(byte) in _UNQUOTED else f"%{byte:02X}" for byte in raw)


_UNQUOTED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-~:@!$&'()*+,;=")


def _wants_page(environ: Mapping[str, Any]) -> bool:
    """The form of an error where no route was found. It decides nothing else."""
    path = str(environ.get("PATH_INFO") or "")
    return not path.startswith("/api/") and "text/html" in environ["orchestra.head"].headers.get("accept", "")


def _is_header_error(error: ValueError) -> bool:
    return "Header" in str(error)
