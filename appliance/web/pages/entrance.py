"""The way in and out: ``/login``, ``/logout`` and the one-time setup link (S-06 to S-09)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.accounts import Login
from appliance.model.errors import ApplianceError, Forbidden, Invalid, Unauthenticated, Unavailable
from appliance.web import forms
from appliance.web.pages import links
from appliance.web.pages.answers import refuse, show
from appliance.web.pieces import Field, Form
from appliance.web.routes import Cookie, Parts, Request, Response, Route, is_local_path, redirect
from appliance.web.security import login_cookies, require_private
from appliance.web.views import LoginPage, SetupPage

Line = Annotated[str, msgspec.Meta(max_length=2000)]
Password = Annotated[str, msgspec.Meta(max_length=2048)]  # too long ones are refused with a sentence of their own


class LoginQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``next``: where to go after the login."""

    next: Line = ""


class LoginForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name and password."""

    user: Line = ""
    password: Password = ""
    next: Line = ""


class SetupQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``token``: of the setup link."""

    token: Annotated[str, msgspec.Meta(max_length=200)] = ""


class SetupForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first administrator."""

    token: Annotated[str, msgspec.Meta(max_length=200)] = ""
    name: Line = ""
    password: Password = ""
    repeat: Password = ""


def login_page(request: Request, parts: Parts) -> Response:
    """The form; who is logged in already goes on."""
    if request.principal is not None and request.session is not None:
        return redirect(_next(request.query.next))
    return show(LoginPage(title="Log in", form=_login_form("", request.query.next)))


def login(request: Request, parts: Parts) -> Response:
    """A new session, and on to where the reader wanted to go."""
    body: LoginForm = request.body
    try:
        require_private(request.is_secure)
        made = parts.accounts.login(
            body.user, body.password, request.address, request.agent, request.seen_before, request.session
        )
    except (Unauthenticated, Forbidden, Invalid, Unavailable) as error:
        form = forms.refused(_login_form(body.user, body.next), error)
        return refuse(LoginPage(title="Log in", form=form), error)
    return _enter(made, _next(body.next))


def logout(request: Request, parts: Parts) -> Response:
    """End this session, here and on the server."""
    if request.session is not None:
        parts.accounts.logout(request.session)
    return redirect(links.LOGIN).with_cookies(Cookie("session", None))


def setup_page(request: Request, parts: Parts) -> Response:
    """The form of a setup link, as long as the link is good."""
    try:
        parts.accounts.check_setup_token(request.query.token)
    except Unauthenticated:
        return show(SetupPage(title="Set up", form=None), 404)
    return show(SetupPage(title="Set up", form=_setup_form(request.query.token, "")))


def setup(request: Request, parts: Parts) -> Response:
    """Make the first administrator and log in."""
    body: SetupForm = request.body
    form = _setup_form(body.token, body.name)
    try:
        require_private(request.is_secure)
        if body.password != body.repeat:
            raise Invalid("the passwords differ", {"repeat": "this is not the password above"})
        made = parts.accounts.use_setup_token(body.token, body.name, body.password, request.address, request.agent)
    except Unauthenticated as error:
        return refuse(SetupPage(title="Set up", form=None), error)
    except ApplianceError as error:
        return refuse(SetupPage(title="Set up", form=forms.refused(form, error)), error)
    return _enter(made, links.DASHBOARD)


def _enter(made: Login, path: str) -> Response:
    return redirect(path).with_cookies(*login_cookies(made))


def _next(path: str) -> str:
    return path if path and is_local_path(path) else links.DASHBOARD


def _login_form(user: str, next_path: str) -> Form:
    return Form(
        action=links.LOGIN,
        submit="Log in",
        fields=(
            Field("user", "Name", value=user[:64], is_required=True, autocomplete="username", limit=64),
            Field("password", "Password", kind="secret", is_required=True, autocomplete="current-password", limit=1024),
        ),
        hidden=(("next", next_path),) if next_path and is_local_path(next_path) else (),
    )


def _setup_form(token: str, name: str) -> Form:
    return Form(
        action=links.SETUP,
        submit="Create administrator",
        fields=(
            Field("name", "Name", value=name[:64], is_required=True, autocomplete="username", limit=64),
            Field(
                "password",
                "Password",
                kind="secret",
                hint="At least 12 characters, and not a common password.",
                is_required=True,
                autocomplete="new-password",
                limit=1024,
            ),
            Field(
                "repeat",
                "Password again",
                kind="secret",
                is_required=True,
                autocomplete="new-password",
                limit=1024,
            ),
        ),
        hidden=(("token", token),),
    )


ROUTES = (
    Route("GET", "/login", login_page, "public", kind="page", query=LoginQuery, summary="Log in"),
    Route("POST", "/login", login, "public", kind="page", body=LoginForm, body_limit=4096 * 4, summary="Log in"),
    Route("POST", "/logout", logout, "self", kind="page", summary="Log out"),
    Route("GET", "/setup", setup_page, "public", kind="page", query=SetupQuery, summary="The setup link"),
    Route("POST", "/setup", setup, "public", kind="page", body=SetupForm, body_limit=4096 * 4,
          summary="Make the first administrator"),
)  # fmt: skip
