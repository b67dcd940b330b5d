"""``/me``: one's own password, tokens and sessions (U3, U4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import msgspec

from appliance.model.errors import ApplianceError, Invalid
from appliance.web import forms, sorting
from appliance.web.pages import links, rows
from appliance.web.pages.answers import reader, refuse, show
from appliance.web.pages.entrance import Password
from appliance.web.pages.orders import asked, orders, part
from appliance.web.pages.runs import Word
from appliance.web.paging import Cursor
from appliance.web.pieces import Field, Form, Option, SessionRow, TokenRow
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.security import login_cookies
from appliance.web.views import MePage

SHOWN = 50
LIVES = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "1 year", "": "never ends"}
# The order matters: most of them also claim to be Chrome or Safari.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
_PASSWORD = Form(
    action=f"{links.ME}/password",
    submit="Change password",
    fields=(
        Field("current", "Current password", "secret", is_required=True, autocomplete="current-password", limit=1024),
        Field(
            "password",
            "New password",
            "secret",
            hint="At least 12 characters, and not a common password. You are logged out everywhere else.",
            is_required=True,
            autocomplete="new-password",
            limit=1024,
        ),
    ),
)
_TOKEN = Form(
    action=f"{links.ME}/tokens",
    submit="Make token",
    fields=(
        Field("label", "Label", hint="What it is for, such as laptop or backup script.", is_required=True, limit=200),
        Field(
            "days",
            "Ends after",
            "choice",
            options=tuple(Option(days, text, days == "90") for days, text in LIVES.items()),
        ),
    ),
)


class PasswordForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of one's own password."""

    current: Password = ""
    password: Password = ""


class TokenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``days``: one of LIVES; empty = for ever."""

    label: Annotated[str, msgspec.Meta(max_length=400)] = ""
    days: Annotated[str, msgspec.Meta(max_length=8)] = "90"


class MeQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The order of the tokens; ``cursor``: where in them the reader is, ``sessions``: where in the sessions."""

    sort: Word = ""
    cursor: Cursor | None = None
    sessions: Cursor | None = None


def me(request: Request, parts: Parts) -> Response:
    """Everything about the reader's account."""
    return show(_page(request, parts))


def change_password(request: Request, parts: Parts) -> Response:
    """Set a new password; every other session ends (S-06)."""
    body: PasswordForm = request.body
    try:
        made = parts.accounts.change_password(
            reader(request), body.current, body.password, request.address, request.session
        )
    except ApplianceError as error:
        form = forms.refused(_PASSWORD, error)
        return refuse(_page(request, parts, password_form=form), error)
    answer = redirect(links.ME, "Your password is changed. All other sessions are over.")
    if made is None:
        return answer
    return answer.with_cookies(*login_cookies(made)).to_session(made.session.id)


def make_token(request: Request, parts: Parts) -> Response:
    """A new token. The answer shows it, this once, so it is no redirect."""
    body: TokenForm = request.body
    given = replace(_TOKEN, fields=_filled(body))
    try:
        errors = {} if body.label.strip() else {"label": "say what the token is for"}
        if body.days not in LIVES:
            errors["days"] = "choose one of the list"
        if errors:
            raise Invalid("the token cannot be made so", errors)
        expires_at = parts.expiry(parts.clock.now() + timedelta(days=int(body.days))) if body.days else None
        text, _ = parts.accounts.create_token(reader(request), body.label.strip(), expires_at)
    except ApplianceError as error:
        form = forms.refused(given, error)
        return refuse(_page(request, parts, token_form=form), error)
    return show(_page(request, parts, new_token=text))


def _filled(body: TokenForm) -> tuple[Field, ...]:
    """The fields with what was typed and chosen."""
    label, days = _TOKEN.fields
    chosen = tuple(replace(option, is_selected=option.value == body.days) for option in days.options)
    return replace(label, value=body.label), replace(days, options=chosen)


def revoke_token(request: Request, parts: Parts) -> Response:
    """End one of one's own tokens."""
    parts.accounts.revoke_token(reader(request), request.params["token_id"])
    return redirect(links.ME, "The token is revoked.")


def end_session(request: Request, parts: Parts) -> Response:
    """End one of one's own sessions."""
    parts.accounts.end_session(reader(request), request.params["session_id"])
    return redirect(links.ME, "The session is over.")


def _page(
    request: Request,
    parts: Parts,
    password_form: Form = _PASSWORD,
    token_form: Form = _TOKEN,
    new_token: str | None = None,
) -> MePage:
    now = parts.clock.now()
    name = reader(request)
    who = request.someone
    this = request.session.id if request.session else None
    query = request.query if isinstance(request.query, MeQuery) else MeQuery()
    sort, order = asked(query.sort, sorting.TOKENS)
    every = parts.accounts.tokens(name)
    some_tokens, token_paging = part(
        parts.key,
        f"pages of tokens by {sort}",
        sorting.ordered(every, sort, sorting.TOKEN_ORDERS),
        lambda token: token.id,
        query.cursor,
        SHOWN,
        lambda cursor: links.with_query(links.ME, sort=order, cursor=cursor),
    )
    some_sessions, session_paging = part(
        parts.key,
        "pages of sessions",
        parts.accounts.sessions(name),
        lambda session: session.id,
        query.sessions,
        SHOWN,
        lambda cursor: links.with_query(links.ME, sort=order, sessions=cursor),
    )
    tokens = tuple(
        TokenRow(
            label=token.label or "(no label)",
            created=rows.when(token.created_at, now),
            last_used=rows.when(token.last_used_at, now) if token.last_used_at else None,
            expires=token.expires_at,
            revoke_action=links.below_me("tokens", token.id, "revoke"),
        )
        for token in some_tokens
    )
    sessions = tuple(
        SessionRow(
            browser=browser_name(session.agent),
            agent=session.agent,
            address=session.address,
            created=rows.when(session.created_at, now),
            is_this=session.id == this,
            end_action=None if session.id == this else links.below_me("sessions", session.id, "end"),
        )
        for session in some_sessions
    )
    roles = [*sorted(who.site_roles), *(f"{role} of {project}" for project, role in sorted(who.project_roles.items()))]
    return MePage(
        title="Your account",
        user=name,
        roles=tuple(roles),
        password_form=password_form,
        token_form=token_form,
        new_token=new_token,
        tokens=tokens,
        token_orders=orders(links.ME, sorting.TOKENS, sort) if len(every) > 1 else (),
        token_paging=token_paging,
        sessions=sessions,
        session_paging=session_paging,
    )


def browser_name(agent: str) -> str:
    """``Firefox on Linux``, from what a browser says of itself; anything may be a lie."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent[:60] or "unknown"


ROUTES = (
    Route("GET", "/me", me, "self", kind="page", query=MeQuery, summary="Your account"),
    Route("POST", "/me/password", change_password, "self", kind="page", body=PasswordForm, body_limit=4096 * 4,
          summary="Change your password"),
    Route("POST", "/me/tokens", make_token, "self", kind="page", body=TokenForm, summary="Make a token"),
    Route("POST", "/me/tokens/<token_id>/revoke", revoke_token, "self", kind="page", summary="Revoke a token"),
    Route("POST", "/me/sessions/<session_id>/end", end_session, "self", kind="page", summary="End a session"),
)  # fmt: skip
