"""Who may do what: the rights table of security.md section 7, as one pure function.

Routes name a Right; the gate asks :func:`may`. What one may not see is answered 404, what one may see but not do 403:
``may(principal, Right.READ, project)`` tells which. Roles are closed sets and compared whole (J37).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from appliance.model.entities import Token, User, Worker
from appliance.model.errors import Disconnected, Forbidden, Invalid
from appliance.model.names import check_name

ADMINISTRATOR, AUDITOR = "administrator", "auditor"
VIEWER, OPERATOR, EDITOR = "viewer", "operator", "editor"

SITE_ROLES = frozenset({ADMINISTRATOR, AUDITOR})
PROJECT_ROLES = (VIEWER, OPERATOR, EDITOR)
"""Each role has the rights of those before it."""


class Right(enum.StrEnum):
    """What a route asks for. The first group is asked for a project, the second for the whole site."""

    READ = "read"  # projects, jobs, runs, logs, artifacts, schedules
    TRIGGER = "trigger"  # new runs, reruns
    CONTROL = "control"  # cancel, abort, pin, declare lost, answer a gate
    WRITE_RESULTS = "write results"
    SWITCH = "switch"  # the project, its jobs and schedules on and off; locks
    WRITE_SECRETS = "write secrets"

    READ_WORKERS = "read workers"  # workers and pools: the reasons of waiting runs name them
    MANAGE_WORKERS = "manage workers"  # also pools, site-wide pause, revocation, webhooks, outbound hosts
    MANAGE_USERS = "manage users"  # also roles, others' tokens and sessions, restore, config apply
    READ_AUDIT = "read audit"
    QUERY = "query"  # the SQL page; its views show the reader's projects only
    READ_METRICS = "read metrics"
    OWN_ACCOUNT = "own account"  # own password, tokens, sessions
    CONNECT_WORKER = "connect worker"  # the socket /worker, and nothing else


PROJECT_RIGHTS = frozenset(
    {Right.READ, Right.TRIGGER, Right.CONTROL, Right.WRITE_RESULTS, Right.SWITCH, Right.WRITE_SECRETS}
)
SITE_RIGHTS = frozenset(Right) - PROJECT_RIGHTS

_PROJECT_ROLE_RIGHTS: dict[str, frozenset[Right]] = {
    VIEWER: frozenset({Right.READ}),
    OPERATOR: frozenset({Right.READ, Right.TRIGGER, Right.CONTROL, Right.WRITE_RESULTS}),
    EDITOR: PROJECT_RIGHTS,
}
_SITE_ROLE_RIGHTS: dict[str, frozenset[Right]] = {
    ADMINISTRATOR: frozenset(Right) - {Right.CONNECT_WORKER},
    AUDITOR: frozenset({Right.READ, Right.READ_WORKERS, Right.READ_AUDIT, Right.QUERY, Right.READ_METRICS}),
}
_ANY_ROLE_RIGHTS = frozenset({Right.READ_WORKERS, Right.QUERY})
_OWN_RUN_RIGHTS = frozenset({Right.READ, Right.WRITE_RESULTS})
_CHILD_RUN_RIGHTS = frozenset({Right.READ, Right.CONTROL})


class Kind(enum.StrEnum):
    """What a principal is. A disabled user or a dead token is no principal at all."""

    ANONYMOUS = "anonymous"
    USER = "user"
    WORKER = "worker"
    RUN = "run"
    SYSTEM = "system"  # the appliance itself and local commands on its data directory


class Principal(msgspec.Struct, frozen=True):
    """Who asks. ``name``: the user, the worker, or the id of the run.

    ``run_id`` and ``run_project`` are set for a run token, ``worker_id`` for a worker token, ``token_id`` for any
    stored token.
    """

    kind: Kind
    name: str = ""
    site_roles: frozenset[str] = frozenset()
    project_roles: Mapping[str, str] = {}
    run_id: str | None = None
    run_project: str | None = None
    worker_id: str | None = None
    token_id: str | None = None
    expires_at: datetime | None = None  # of the token; None: it does not expire


def principal_of(user: User, token: Token | None = None) -> Principal:
    """A user, speaking for itself or by one of its tokens."""
    return Principal(
        Kind.USER,
        user.name,
        site_roles=user.site_roles,
        project_roles=user.project_roles,
        token_id=token.id if token else None,
        expires_at=token.expires_at if token else None,
    )


ANONYMOUS = Principal(Kind.ANONYMOUS)
SYSTEM = Principal(Kind.SYSTEM, "system")


def may(
    principal: Principal,
    right: Right,
    project: str | None = None,
    *,
    run_id: str | None = None,
    parent: str | None = None,
) -> bool:
    """Whether the principal has the right.

    ``project``: where; None asks for the whole site, which for a project right only site roles answer with yes.
    ``run_id`` and ``parent``: the run that is asked about and the run that triggered it, for run tokens (S-84): such a
    token reads its own run and writes its results, and reads, cancels and aborts its children.
    """
    match principal.kind:
        case Kind.SYSTEM:
            return right is not Right.CONNECT_WORKER
        case Kind.WORKER:
            return right is Right.CONNECT_WORKER
        case Kind.RUN:
            return _run_may(principal, right, project, run_id, parent)
        case Kind.USER:
            return _user_may(principal, right, project)
        case Kind.ANONYMOUS:
            return False


def visible_projects(principal: Principal) -> frozenset[str] | None:
    """The projects whose things the principal may list; None: all of them.

    A run token lists nothing: it may read single runs, as :func:`may` says.
    """
    if may(principal, Right.READ):
        return None
    if principal.kind is not Kind.USER:
        return frozenset()
    return frozenset(project for project in principal.project_roles if may(principal, Right.READ, project))


def check_site_roles(roles: Iterable[str]) -> frozenset[str]:
    """The roles, if each is one there is. Raises Invalid (J37)."""
    given = frozenset(roles)
    for role in sorted(given - SITE_ROLES):
        raise Invalid(f"{role[:40]!r} is no site role: use administrator or auditor", {"site_roles": "unknown role"})
    return given


def check_project_role(role: str) -> str:
    """The role, if it is one there is. Raises Invalid (J37)."""
    if role not in PROJECT_ROLES:
        sentence = f"{role[:40]!r} is no project role: use viewer, operator or editor"
        raise Invalid(sentence, {"role": "unknown role"})
    return role


def check_project_roles(roles: Mapping[str, str]) -> dict[str, str]:
    """Roles by project, if names and roles are possible ones. Raises Invalid."""
    return {check_name("project", project): check_project_role(role) for project, role in roles.items()}


def _user_may(principal: Principal, right: Right, project: str | None) -> bool:
    if right is Right.OWN_ACCOUNT:
        return True
    if any(right in _SITE_ROLE_RIGHTS.get(role, ()) for role in principal.site_roles):
        return True
    if right in PROJECT_RIGHTS:
        role = principal.project_roles.get(project) if project is not None else None
        return role is not None and right in _PROJECT_ROLE_RIGHTS.get(role, ())
    return right in _ANY_ROLE_RIGHTS and any(role in _PROJECT_ROLE_RIGHTS for role in principal.project_roles.values())


def _run_may(principal: Principal, right: Right, project: str | None, run_id: str | None, parent: str | None) -> bool:
    own = principal.run_id
    if own is None or run_id is None or project is None:
        return False
    if run_id == own:
        return project == principal.run_project and right in _OWN_RUN_RIGHTS
    return parent == own and right in _CHILD_RUN_RIGHTS


def check_standing(worker: Worker | None, owner: User | None) -> Worker:
    """The worker, if something may be taken from it. Raises Forbidden if it was removed (None), or for the reason of
    :func:`standing`; Disconnected while an operator wants it to stay away (W6). Each sentence fits a close frame."""
    if worker is None:
        raise Forbidden("this worker was removed")
    if why := standing(worker, owner):
        raise Forbidden(why)
    if worker.is_disconnected:
        raise Disconnected(f"disconnected by {worker.switched_by}; let in again once it is enabled")
    return worker


def standing(worker: Worker, owner: User | None) -> str:
    """Why nothing may be taken from a worker, as a sentence; "" when all is well (F25)."""
    if worker.revoked_at is not None:
        return "this worker's token was revoked"
    if owner is not None and not owner.is_enabled:
        return f"{owner.name}, who owns this worker, is disabled"
    return ""
