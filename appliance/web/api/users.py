"""Users, for administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from appliance.model.entities import User
from appliance.model.names import did_you_mean
from appliance.model.permissions import Right
from appliance.web.api import lists
from appliance.web.api.accounts import NewTokenDocument, Password, TokenBody, TokenQuery, create_token_of, tokens_of
from appliance.web.api.documents import TokenDocument, UserDocument, user_document
from appliance.web.api.lists import Listing, NameQuery
from appliance.web.routes import Parts, Request, Response, Route, document, nothing

Role = Annotated[str, msgspec.Meta(max_length=64)]
SiteRoles = Annotated[list[Role], msgspec.Meta(max_length=10)]
ProjectRoles = Annotated[dict[Role, Role], msgspec.Meta(max_length=1000)]


class UserBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new user. Without a password it uses tokens only, which an administrator makes."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    password: Password | None = None
    site_roles: SiteRoles = []
    project_roles: ProjectRoles = {}


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is not given stays. Every change ends the user's sessions."""

    is_enabled: bool | None = None
    site_roles: SiteRoles | None = None
    project_roles: ProjectRoles | None = None
    password: Password | None = None


class ChangedUserDocument(UserDocument, frozen=True, kw_only=True):
    """A user that was made or changed. ``warnings``: sentences about what was given and has no effect yet."""

    warnings: list[str]


def users(request: Request, parts: Parts) -> Response:
    """All users, by name."""
    return lists.by_name(parts.key, "users", request.query, parts.accounts.users, lambda user: user.name, user_document)


def user(request: Request, parts: Parts) -> Response:
    """One user."""
    return document(user_document(parts.accounts.user(request.params["user"])))


def add_user(request: Request, parts: Parts) -> Response:
    """A new user."""
    body: UserBody = request.body
    made = parts.accounts.add_user(body.name, body.password, body.site_roles, body.project_roles)
    return document(_changed(made, body.project_roles, parts), 201)


def change_user(request: Request, parts: Parts) -> Response:
    """Switch a user on or off, give it roles, set its password."""
    body: UserPatch = request.body
    changed = parts.accounts.change_user(
        request.params["user"],
        is_enabled=body.is_enabled,
        site_roles=body.site_roles,
        project_roles=body.project_roles,
        password=body.password,
    )
    return document(_changed(changed, body.project_roles or {}, parts))


def _changed(user: User, given: Mapping[str, str], parts: Parts) -> ChangedUserDocument:
    """A role of a project that is to come is no mistake for sure, and one of a misspelt name gives nothing."""
    known = {project.identifier for project in parts.projects.projects()}
    warnings = [
        f"no project {name!r} is in force{did_you_mean(name, known)}; the role counts once there is one"
        for name in sorted(set(given) - known)
    ]
    return ChangedUserDocument(**msgspec.structs.asdict(user_document(user)), warnings=warnings)


def tokens(request: Request, parts: Parts) -> Response:
    """The tokens of a user, newest first if no other order is asked for."""
    return tokens_of(parts.accounts.user(request.params["user"]).name, request, parts)


def create_token(request: Request, parts: Parts) -> Response:
    """A new token of a user that has no password; the only time its text is shown."""
    return create_token_of(request.params["user"], request.someone.name, request, parts)


def revoke_token(request: Request, parts: Parts) -> Response:
    """End a token of a user, and what was opened with it."""
    parts.accounts.revoke_token(request.params["user"], request.params["token_id"])
    return nothing()


ROUTES = (
    Route(
        "GET",
        "/api/v1/users",
        users,
        Right.MANAGE_USERS,
        query=NameQuery,
        answer=Listing[UserDocument],
        summary="Users",
    ),
    Route(
        "POST",
        "/api/v1/users",
        add_user,
        Right.MANAGE_USERS,
        body=UserBody,
        status=201,
        answer=ChangedUserDocument,
        summary="Add a user",
    ),
    Route("GET", "/api/v1/users/<user>", user, Right.MANAGE_USERS, answer=UserDocument, summary="A user"),
    Route(
        "PATCH",
        "/api/v1/users/<user>",
        change_user,
        Right.MANAGE_USERS,
        body=UserPatch,
        answer=ChangedUserDocument,
        summary="Change a user",
    ),
    Route(
        "GET",
        "/api/v1/users/<user>/tokens",
        tokens,
        Right.MANAGE_USERS,
        query=TokenQuery,
        answer=Listing[TokenDocument],
        summary="The tokens of a user",
    ),
    Route(
        "POST",
        "/api/v1/users/<user>/tokens",
        create_token,
        Right.MANAGE_USERS,
        body=TokenBody,
        status=201,
        answer=NewTokenDocument,
        summary="Make a token for a user without a password",
    ),
    Route(
        "DELETE",
        "/api/v1/users/<user>/tokens/<token_id>",
        revoke_token,
        Right.MANAGE_USERS,
        status=204,
        summary="Revoke a token of a user",
    ),
)
