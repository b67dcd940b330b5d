"""Login, and what every user does for itself: password and tokens."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec

from appliance.model.entities import Token
from appliance.model.times import from_rfc3339
from appliance.web import sorting
from appliance.web.api import lists
from appliance.web.api.documents import MeDocument, Time, TokenDocument, me_document, time, token_document
from appliance.web.api.lists import Listing
from appliance.web.paging import PageQuery
from appliance.web.routes import Cookie, Parts, Request, Response, Route, document, nothing
from appliance.web.security import login_cookies, require_private

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(max_length=1024)]


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who logs in."""

    user: Name
    password: Password


class NewTokenDocument(msgspec.Struct, frozen=True):
    """A token's text, shown this once."""

    token: str
    expires_at: Time | None
    id: str
    label: str


class PasswordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of one's own password."""

    current: Password
    password: Password


class TokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new token, with the rights of its user."""

    label: Annotated[str, msgspec.Meta(max_length=200)] = ""
    expires_at: Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})] | None = None


class TokenQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The query of a user's tokens."""

    sort: sorting.TokenSort = sorting.TOKENS[0]


def login(request: Request, parts: Parts) -> Response:
    """A token of seven days for the right password."""
    require_private(request.is_secure)
    text, token = parts.accounts.login_for_token(request.body.user, request.body.password, request.address)
    return document(_new_token(text, token))


def logout(request: Request, parts: Parts) -> Response:
    """End the session, or revoke the token, that this request came with."""
    principal = request.someone
    if request.session is not None:
        parts.accounts.logout(request.session)
        return nothing().with_cookies(Cookie("session", None))
    if principal.token_id is not None:
        parts.accounts.revoke_token(principal.name, principal.token_id)
    return nothing()


def me(request: Request, parts: Parts) -> Response:
    """Who asks, with its roles."""
    return document(me_document(request.someone, request.session))


def change_password(request: Request, parts: Parts) -> Response:
    """A new password. All sessions of the user end; one that asked goes on as a new one."""
    require_private(request.is_secure)
    login = parts.accounts.change_password(
        request.someone.name, request.body.current, request.body.password, request.address, request.session
    )
    return nothing() if login is None else nothing().with_cookies(*login_cookies(login))


def tokens(request: Request, parts: Parts) -> Response:
    """One's own tokens, newest first if no other order is asked for."""
    return tokens_of(request.someone.name, request, parts)


def tokens_of(user: str, request: Request, parts: Parts) -> Response:
    """A user's tokens, in the order that is asked for."""
    sort = sorting.chosen(request.query.sort, sorting.TOKENS)
    found = sorting.ordered(parts.accounts.tokens(user), sort, sorting.TOKEN_ORDERS)
    return lists.whole(parts.key, f"tokens by {sort}", request.query, found, lambda token: token.id, token_document)


def create_token(request: Request, parts: Parts) -> Response:
    """A new token of one's own; the only time its text is shown."""
    return create_token_of(request.someone.name, None, request, parts)


def create_token_of(user: str, by: str | None, request: Request, parts: Parts) -> Response:
    """A new token of a user, made ``by`` another one."""
    body: TokenBody = request.body
    expires_at = None if body.expires_at is None else parts.expiry(from_rfc3339(body.expires_at))
    text, token = parts.accounts.create_token(user, body.label, expires_at, by)
    return document(_new_token(text, token), HTTPStatus.CREATED)


def revoke_token(request: Request, parts: Parts) -> Response:
    """End a token of one's own, and what was opened with it."""
    parts.accounts.revoke_token(request.someone.name, request.params["token_id"])
    return nothing()


def _new_token(text: str, token: Token) -> NewTokenDocument:
    return NewTokenDocument(text, time(token.expires_at), token.id, token.label)


ROUTES = (
    Route(
        "POST",
        "/api/v1/login",
        login,
        "public",
        body=LoginBody,
        body_limit=4096,
        answer=NewTokenDocument,
        summary="Get a token for a password",
    ),
    Route("POST", "/api/v1/logout", logout, "self", status=204, summary="End this session or token"),
    Route("GET", "/api/v1/me", me, "self", answer=MeDocument, summary="Who am I"),
    Route(
        "POST",
        "/api/v1/me/password",
        change_password,
        "self",
        body=PasswordBody,
        body_limit=4096,
        status=204,
        summary="Change my password",
    ),
    Route(
        "GET",
        "/api/v1/me/tokens",
        tokens,
        "self",
        query=TokenQuery,
        answer=Listing[TokenDocument],
        summary="My tokens",
    ),
    Route(
        "POST",
        "/api/v1/me/tokens",
        create_token,
        "self",
        body=TokenBody,
        status=201,
        answer=NewTokenDocument,
        summary="Make a token",
    ),
    Route(
        "DELETE",
        "/api/v1/me/tokens/<token_id>",
        revoke_token,
        "self",
        status=204,
        summary="Revoke a token of mine",
    ),
)
