"""What a route is, what its handler gets and what it gives back.

A route states who may use it; the gate (``web.security``) decides before the handler runs, so a handler never asks
about rights. The table of all routes is ``web.service.ROUTES``; ``build`` makes the WSGI application of it.

    def run_page(request: Request, parts: Parts) -> Response:
        run = request.run                                   # looked up by the gate, which knows that it may be seen
        return page(RunView(...))

    Route("GET", "/p/<project>/<job>/<number>", run_page, Right.READ, scope="run", kind="page", summary="One run")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

import msgspec

from appliance.model.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime

    import bottle

    from appliance.accounts import Accounts
    from appliance.clock import Clock
    from appliance.configuration import Configuration
    from appliance.lost_runs import LostRuns
    from appliance.model.entities import Run, Session
    from appliance.model.permissions import Principal, Right
    from appliance.projects import Projects
    from appliance.recoveries import Recoveries
    from appliance.runs import Runs
    from appliance.waits import Waits
    from appliance.web.static_files import StaticFiles
    from appliance.web.views import View
    from appliance.workers import Workers

Scope = Literal["site", "project", "run"]
Kind = Literal["api", "page", "static"]
Public = Literal["public"]  # everyone, without a login
Self = Literal["self"]  # every enabled user, for itself


@dataclass(frozen=True)
class Page:
    """A page to be rendered: its view, a dataclass of ``web.views`` that names its template."""

    view: View


@dataclass(frozen=True)
class Cookie:
    """A cookie to set; ``value`` None removes it. Name prefix and attributes are the gate's (S-09)."""

    name: Literal["session", "visitor", "seen"]
    value: str | None
    max_age: int | None = None


@dataclass(frozen=True)
class Response:
    """What a handler answers. Made by the functions ``document``, ``page``, ``redirect``, ``content``, ``nothing``.

    ``body`` is a Page, bytes, an open file, or (api) a value for JSON. ``flash`` is what the next page says, to
    the session ``new_session`` where the answer begins one, else to that of the request.
    """

    body: object = None
    status: int = HTTPStatus.OK
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[Cookie, ...] = ()
    flash: str | None = None
    new_session: str | None = None

    def with_cookies(self, *cookies: Cookie) -> Response:
        """The same answer, setting these cookies too."""
        return replace(self, cookies=self.cookies + cookies)

    def to_session(self, session_id: str) -> Response:
        """The same answer, whose ``flash`` is for a session that begins with it."""
        return replace(self, new_session=session_id)


def document(value: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. ``value`` is a msgspec Struct or plain values; times become RFC 3339 with milliseconds."""
    return Response(value, status, "application/json", headers or {})


def page(view: View, status: int = HTTPStatus.OK) -> Response:
    """An HTML page. The gate renders it after the handler, with ``Rendering.page(view, request)``."""
    return Response(Page(view), status, "text/html; charset=utf-8")


def redirect(path: str, flash: str | None = None) -> Response:
    """See other: a GET of ``path``, a path we built (S-17). ``flash`` is shown once on the next page with a login."""
    if not is_local_path(path):
        raise NotFound("this address leads nowhere")
    return Response(b"", HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", {"Location": path}, flash=flash)


def content(
    body: bytes | BinaryIO,
    content_type: str,
    headers: Mapping[str, str] | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    """Bytes or an open file (it is closed at the end), as they are."""
    return Response(body, status, content_type, headers or {})


def nothing() -> Response:
    """204: done, and there is nothing to say."""
    return Response(b"", HTTPStatus.NO_CONTENT)


def is_local_path(path: str) -> bool:
    """Whether a path stays on this site in every browser: one leading slash, no backslash, printable ASCII (S-17)."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and "\\" not in path
        and len(path) <= 2000
        and all(" " < letter < "\x7f" for letter in path)
    )


class FormToken(Protocol):
    """Where :attr:`Request.csrf` comes from."""

    def __call__(self) -> str: ...


@dataclass(frozen=True)
class Problem:
    """What went wrong, for a person or a program. ``errors``: field to what is wrong with it."""

    status: int
    title: str  # the name of the status: "Not Found"
    sentence: str
    errors: Mapping[str, str] = field(default_factory=dict)
    error_id: str | None = None  # to be found in the server's log (S-54)
    retry_after: int | None = None  # seconds
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One request, checked: who asks, for what, with which typed values. Nothing raw is in here."""

    route: Route
    path: str  # decoded, without the query
    target: str  # path and query as sent, for "come back here after the login"; a local path, or "/"
    params: Mapping[str, str]  # the named parts of the route's path
    query: Any  # an instance of route.query
    body: Any  # an instance of route.body, or None
    principal: Principal | None  # None only where the route is public
    session: Session | None  # set when the login is the website's cookie
    run: Run | None  # set where scope is "run"
    address: str
    agent: str
    is_secure: bool  # HTTPS, or plain HTTP that never leaves this machine
    origin: str  # scheme://host[:port] of this site
    idempotency_key: str | None
    seen_before: str | None  # the signed "seen before" cookie (security.md section 4)
    form_token: FormToken
    routes: tuple[Route, ...]  # all that this server has
    flash: str | None = None  # what the last page had to say; shown once

    @property
    def csrf(self) -> str:
        """The token for the hidden field ``csrf`` of every form and for the header ``Orchestra-CSRF`` (S-11)."""
        return self.form_token()

    @property
    def someone(self) -> Principal:
        """The principal of a route that is not public."""
        if self.principal is None:
            raise LookupError(f"{self.route.path} is public and has no principal")
        return self.principal

    @property
    def the_run(self) -> Run:
        """The run of a route whose scope is "run"."""
        if self.run is None:
            raise LookupError(f"{self.route.path} is not about one run")
        return self.run


@dataclass(frozen=True)
class Asker:
    """Who is told of a refusal: what the frame of the page needs, so that a reader who is logged in can go on."""

    principal: Principal
    csrf: str
    origin: str


Handler = Callable[[Request, "Parts"], Response]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a route that takes none."""


@dataclass(frozen=True)
class Route:
    """One method of one path, with its rule.

    ``path``: bottle's syntax, ``<name>`` for one part, ``<path:path>`` for the rest.
    ``right``: what the principal needs; "public" = nothing, "self" = an enabled user.
    ``scope``: where the right must hold. "project": in ``<project>``. "run": in the project of ``<run_id>``, or of
    ``<project>/<job>/<number>``; the gate looks the run up. What the principal may not see is 404 (security.md 7).
    ``body``: a Struct with ``forbid_unknown_fields``; a JSON object (api) or a form (page; a field ``a.b`` becomes
    key ``b`` of the field ``a``; ``csrf`` is taken out). ``query``: likewise; a tuple takes repeated values.
    ``answer``: the Struct of a JSON answer, for OpenAPI; None = not JSON. ``statuses``: further good ones.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Handler
    right: Right | Public | Self
    scope: Scope = "site"
    kind: Kind = "api"
    body: Any = None  # a Struct; or dict[str, Any] for any JSON object
    query: type[msgspec.Struct] = Nothing
    answer: Any = None
    status: int = HTTPStatus.OK
    statuses: tuple[int, ...] = ()
    body_limit: int = 1 << 20
    takes: tuple[str, ...] = ()  # names of headers of the request that are part of the contract
    headers: tuple[str, ...] = ()  # and those of the answer
    summary: str = ""


class Rendering(Protocol):
    """What the gate asks of ``web.rendering``."""

    def page(self, view: View, request: Request) -> bytes:
        """The HTML of a page, in UTF-8."""
        ...

    def error(self, problem: Problem, asker: Asker | None) -> bytes:
        """The HTML of an error page. ``asker`` is None when nobody is logged in, or nobody knows."""
        ...


@dataclass(frozen=True)
class WebSettings:
    """What the web shell needs of the settings."""

    base_url: str = ""  # "" = as the Host header says
    insecure_http: bool = False
    triggers_per_minute: int = 600
    trigger_burst: int = 300
    extra_routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The use cases that handlers call. Built once by the Appliance."""

    accounts: Accounts
    projects: Projects
    configuration: Configuration
    runs: Runs
    lost_runs: LostRuns
    workers: Workers
    waits: Waits
    recoveries: Recoveries
    clock: Clock
    key: bytes  # 32 bytes of this appliance; signs cursors and cookies, each with its own prefix
    unready: Callable[[], Sequence[str]]  # what keeps the appliance from working; empty = ready
    full_since: Callable[[], datetime | None] = lambda: None  # since when the server's disk is full (F16)
    clock_trouble: Callable[[], str] = lambda: ""  # a sentence, without its full stop, about the server's clock (F22)
    expiry: Callable[[datetime], datetime] = lambda at: at  # a time of the wall clock, by the clock that ends tokens
    settings: WebSettings = WebSettings()
    rendering: Rendering | None = None  # None: no website, only the service
    static_files: StaticFiles | None = None


def build(parts: Parts, routes: Sequence[Route] | None = None) -> bottle.Bottle:
    """The WSGI application: every route behind the gate. ``routes``: all of the product when not given."""
    from appliance.web import service  # here, because the table imports this module

    if routes is None:
        known = service.ROUTES + parts.settings.extra_routes
        routes = [route for route in known if route.kind == "api" or parts.rendering is not None]
    return service.Service(parts, routes)
