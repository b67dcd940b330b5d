"""The gate: who asks, may they, did their own page ask. It decides before a handler runs (security.md 2 and 7).

What the principal may not see is 404 in the very words of a thing that does not exist; what it may see but not do is
403; no login or a bad one is 401. Rules hang on route objects, never on path prefixes, and are evaluated at each
request.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from appliance.accounts import SESSION_LONGEST, Accounts, Login
from appliance.model.caps import derive
from appliance.model.entities import Run, Session
from appliance.model.errors import ApplianceError, Forbidden, NotFound, Unauthenticated
from appliance.model.permissions import PROJECT_RIGHTS, Kind, Principal, Right, may
from appliance.passwords import SEEN_LIFE
from appliance.web.errors import Refused
from appliance.web.head import Head
from appliance.web.routes import Cookie, Parts, Route, WebSettings

CSRF_HEADER = "orchestra-csrf"
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})  # S-10

_VISITOR = re.compile(r"[0-9a-f]{64}(?!\n)$")
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\n)$")

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(
            f"{kind} 'self'"
            for kind in ("script-src", "style-src", "img-src", "font-src", "connect-src", "form-action")
        ),
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
"""S-14, on every answer. A handler may set its own value: Cache-Control of static files, CSP of raw logs."""
TRANSPORT_SECURITY = ("Strict-Transport-Security", "max-age=31536000")


@dataclass(frozen=True)
class Caller:
    """Who asks. ``session`` is set when the website's cookie told; nobody at all has no principal."""

    principal: Principal | None = None
    session: Session | None = None


NOBODY = Caller()


def authenticate(accounts: Accounts, head: Head) -> Caller:
    """Whom the request speaks for: a token (Bearer, or Basic as ``user:token``), else the session cookie.

    A request with an Authorization header ignores cookies (S-11). Raises Unauthenticated for a login that is not good.
    """
    authorization = head.headers.get("authorization")
    if authorization is not None:
        return Caller(_principal_of_header(accounts, authorization))
    cookie = head.cookie(cookie_name("session", head))
    if cookie is None:
        return NOBODY
    principal, session = accounts.principal_of_session(cookie)
    return Caller(principal, session)


def authenticate_socket(accounts: Accounts, settings: WebSettings, head: Head) -> Caller:
    """Whom a handshake on ``/api/v1/events`` speaks for (S-12): a token, or a session from a page of our own Origin.

    Raises Unauthenticated, or Forbidden for a foreign Origin.
    """
    origin = head.headers.get("origin")
    if origin is not None and not head.is_own_origin(origin, settings.base_url):
        raise Forbidden("pages of other sites may not listen here")
    if origin is not None:
        # TLS may have ended before us; the Origin, which is ours, tells which of the two cookie names the page has.
        head = replace(head, scheme=origin.partition("://")[0].lower())
    caller = authenticate(accounts, head)
    if caller.principal is None:
        raise Unauthenticated("log in, or send a token")
    if caller.session is not None and origin is None:
        raise Forbidden("a login by cookie needs the Origin header of this site")
    return caller


def require_own_page(head: Head, settings: WebSettings, given: str, expected: str) -> None:
    """S-11: the change was asked for by a page of this site, which knows the token of its session. Raises Forbidden.

    Every browser says where a request comes from, in Sec-Fetch-Site or in Origin. One that says neither is a program
    with a cookie jar; it has the token, or it is refused as well.
    """
    site, origin = head.headers.get("sec-fetch-site"), head.headers.get("origin")
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = origin is None or head.is_own_origin(origin, settings.base_url)
    if not is_own or not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        raise Forbidden("this request was not made by a page of this site, or the page is too old: reload it and retry")


def require_private(is_private: bool) -> None:
    """Raise Forbidden for a password or a session over plain HTTP beyond this machine (S-09)."""
    if not is_private:
        raise Forbidden(
            "your password would cross the network unprotected: use HTTPS, or this server's own machine "
            "(or see insecure_http in the settings)"
        )


def is_private(head: Head, settings: WebSettings) -> bool:
    """HTTPS, or loopback, or an administrator's choice of plain HTTP."""
    return head.scheme == "https" or head.is_local or settings.insecure_http


def authorize(route: Route, principal: Principal | None, params: Mapping[str, str], parts: Parts) -> Run | None:
    """Apply the route's rule; answers the run that it is about, if any. Raises as the module says."""
    if route.right == "public":
        return None
    if principal is None:
        raise Unauthenticated("log in, or send a token")
    if route.scope == "run":
        return _authorized_run(route, principal, params, parts)
    project = params["project"] if route.scope == "project" else None
    if project is not None:
        _require_visible_project(principal, project, parts)
    if not _has_right(principal, route.right, project):
        raise Forbidden(f"this needs the right to {_words(route.right)}, which you do not have")
    return None


def _has_right(principal: Principal, right: Right | str, project: str | None) -> bool:
    if right == "self":
        return principal.kind is Kind.USER
    if project is None and right in PROJECT_RIGHTS:
        return principal.kind is Kind.USER  # a list: the handler shows what this reader may see of it
    return may(principal, Right(right), project)


def _require_visible_project(principal: Principal, project: str, parts: Parts) -> None:
    """In force, or removed with runs left behind, whose pages stay (D3): handlers know which."""
    if not may(principal, Right.READ, project) or not parts.projects.is_known(project):
        raise NotFound(f"no project {project[:64]!r}")


def _authorized_run(route: Route, principal: Principal, params: Mapping[str, str], parts: Parts) -> Run:
    missing = NotFound("there is no such run")
    try:
        if "run_id" in params:
            if not _RUN_ID.match(params["run_id"]):
                raise missing
            run = parts.runs.get(params["run_id"])
        else:
            run = parts.runs.numbered(params["project"], params["job"], params["number"])
    except NotFound:
        raise missing from None

    def allowed(right: Right) -> bool:
        return may(principal, right, run.project, run_id=run.id, parent=run.parent)

    if not allowed(Right.READ):
        raise missing
    if route.right != "self" and not allowed(Right(route.right)):
        raise Forbidden(f"this needs the right to {_words(route.right)} in {run.project}, which you do not have")
    return run


def _words(right: Right | str) -> str:
    return "act as a user" if right == "self" else str(right)


def _principal_of_header(accounts: Accounts, authorization: str) -> Principal:
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return accounts.principal_of_token(value)
    if scheme.lower() == "basic" and len(value) <= 512:
        try:
            user, mark, token = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            user, mark, token = "", "", ""
        if mark:
            principal = accounts.principal_of_token(token)
            if principal.name == user:
                return principal
    raise Unauthenticated("send Authorization: Bearer and a token, or Basic with user:token")


# ---- cookies (S-09)


def cookie_name(name: str, head: Head) -> str:
    """The name with the prefix that binds it to this host and to HTTPS; without it over plain HTTP."""
    return f"__Host-{name}" if head.scheme == "https" else name


def set_cookie(cookie: Cookie, head: Head, settings: WebSettings) -> str:
    """The value of a Set-Cookie header. A session is never given out over a transport that others can read."""
    if cookie.name == "session":
        require_private(is_private(head, settings))
    parts = [f"{cookie_name(cookie.name, head)}={cookie.value or ''}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if head.scheme == "https":
        parts.append("Secure")
    if cookie.value is None:
        parts.append("Max-Age=0")
    elif cookie.max_age is not None:
        parts.append(f"Max-Age={cookie.max_age}")
    return "; ".join(parts)


def login_cookies(login: Login) -> tuple[Cookie, Cookie]:
    """What the browser keeps of a login: the session, and that this user has logged in from here before.

    The session's life here is the longest it can have; the server ends it earlier.
    """
    return (
        Cookie("session", login.cookie, int(SESSION_LONGEST.total_seconds())),
        Cookie("seen", login.seen, int(SEEN_LIFE.total_seconds())),
    )


class FormTokens:
    """The CSRF token of one request: the session's, or before a login one that is bound to a visitor cookie."""

    def __init__(self, head: Head, session: Session | None, key: bytes) -> None:
        self._session = session
        self._key = derive(key, "visitor")
        visitor = head.cookie(cookie_name("visitor", head))
        self._visitor = visitor if visitor is not None and _VISITOR.match(visitor) else None
        self.new_visitor: str | None = None  # to be set as a cookie, because somebody asked for a token

    def __call__(self) -> str:
        """The token for forms and headers."""
        if self._session is not None:
            return self._session.csrf
        if self._visitor is None:
            self._visitor = self.new_visitor = secrets.token_hex(32)
        return hmac.new(self._key, self._visitor.encode(), "sha256").hexdigest()


def refuse_method(method: str, allowed: str) -> ApplianceError:
    """405 with what is allowed."""
    return Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]} is not possible here", {"Allow": allowed})
