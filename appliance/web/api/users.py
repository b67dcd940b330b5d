"""Users, for administrators."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.model.permissions import Right
from appliance.web.api import lists
from appliance.web.api.accounts import Password
from appliance.web.api.documents import UserDocument, user_document
from appliance.web.api.lists import Listing, NameQuery
from appliance.web.routes import Parts, Request, Response, Route, document

Role = Annotated[str, msgspec.Meta(max_length=64)]
SiteRoles = Annotated[list[Role], msgspec.Meta(max_length=10)]
ProjectRoles = Annotated[dict[Role, Role], msgspec.Meta(max_length=1000)]


class UserBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new user. Without a password it uses tokens only."""

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


def users(request: Request, parts: Parts) -> Response:
    """All users, by name."""
    return lists.by_name(parts.key, "users", request.query, parts.accounts.users, lambda user: user.name, user_document)


def user(request: Request, parts: Parts) -> Response:
    """One user."""
    return document(user_document(parts.accounts.user(request.params["user"])))


def add_user(request: Request, parts: Parts) -> Response:
    """A new user."""
    body: UserBody = request.body
    return document(
        user_document(parts.accounts.add_user(body.name, body.password, body.site_roles, body.project_roles)), 201
    )


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
    return document(user_document(changed))


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
        answer=UserDocument,
        summary="Add a user",
    ),
    Route("GET", "/api/v1/users/<user>", user, Right.MANAGE_USERS, answer=UserDocument, summary="A user"),
    Route(
        "PATCH",
        "/api/v1/users/<user>",
        change_user,
        Right.MANAGE_USERS,
        body=UserPatch,
        answer=UserDocument,
        summary="Change a user",
    ),
)
