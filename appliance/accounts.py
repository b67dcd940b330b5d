"""Users, their passwords, tokens and sessions; who a token or a cookie speaks for (security.md sections 2 and 4)."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from appliance.clock import Clock
from appliance.db.repository import Repository
from appliance.events import AccountChanged, Events, SessionsEnded
from appliance.model import tokens
from appliance.model.caps import derive
from appliance.model.entities import Session, Token, User
from appliance.model.errors import Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from appliance.model.names import check_name
from appliance.model.permissions import (
    ADMINISTRATOR,
    Kind,
    Principal,
    check_project_roles,
    check_site_roles,
    check_standing,
    principal_of,
)
from appliance.model.run_state import LIVE
from appliance.passwords import PasswordLimits, Passwords

SESSION_IDLE = timedelta(days=7)  # S-07
SESSION_LONGEST = timedelta(days=30)
SESSION_REFRESH = timedelta(days=1)
TOKEN_LIFE = timedelta(days=7)  # of a token got by a login of the service
SETUP_LIFE = timedelta(days=1)
WORKER_FIRST_USE = timedelta(days=1)  # S-85
TOUCH = timedelta(minutes=1)  # how exact ``last_used_at`` of a token is
TOKENS_PER_USER = 200

_COOKIE = re.compile(r"[0-9a-f]{64}(?!\n)$")
_WRONG = "the user or the password is wrong"
_log = logging.getLogger(__name__)


class Login(msgspec.Struct, frozen=True):
    """A new session. ``cookie`` and ``seen`` are the values of the two cookies; neither is stored anywhere here."""

    cookie: str
    session: Session
    seen: str


class Accounts:
    """The use cases about accounts. ``random(n)`` gives n bytes that nobody can guess; ``key`` is the master key."""

    def __init__(
        self,
        repository: Repository,
        clock: Clock,
        events: Events,
        random: Callable[[int], bytes],
        key: bytes,
        limits: PasswordLimits = PasswordLimits(),  # noqa: B008 -- frozen
    ) -> None:
        self._store = repository.accounts
        self._runs = repository.runs
        self._workers = repository.workers
        self._clock = clock
        self._events = events
        self._random = random
        self._run_key = derive(key, "run token")
        self._passwords = Passwords(clock, random, derive(key, "seen before"), limits)

    # ---- login

    def login(
        self,
        user: str,
        password: str,
        address: str,
        agent: str = "",
        seen_before: str | None = None,
        instead_of: Session | None = None,
    ) -> Login:
        """A new session for the right password. ``instead_of``: the browser's session until now; it ends (S-06).

        Raises Unauthenticated, Throttled (this address or account tried too often), Unavailable (too many logins).
        """
        found = self._authenticate(user, password, address, seen_before)
        if instead_of is not None:
            self.logout(instead_of)
        return self._open_session(found, address, agent)

    def login_for_token(self, user: str, password: str, address: str) -> tuple[str, Token]:
        """A user token of seven days for the right password. Raises as :meth:`login`."""
        found = self._authenticate(user, password, address, None)
        return self.create_token(found.name, "login", self._clock.now() + TOKEN_LIFE)

    def logout(self, session: Session) -> None:
        """End one session, on the server."""
        self._store.end_sessions([session.id])
        self._events.publish(SessionsEnded(frozenset({session.id})))

    def sessions(self, user: str) -> list[Session]:
        """A user's sessions that are not over, newest first (U4)."""
        now = self._clock.now()
        return [session for session in self._store.sessions(user) if session.expires_at > now]

    def end_session(self, user: str, session_id: str) -> None:
        """End one of a user's sessions. Raises NotFound."""
        for session in self._store.sessions(user):
            if session.id == session_id:
                return self.logout(session)
        raise NotFound(f"{user} has no such session")

    # ---- who is it

    def principal_of_session(self, cookie: str) -> tuple[Principal, Session]:
        """Whom the session cookie speaks for. Raises Unauthenticated.

        A session is over after 7 days without use or 30 days in all; its end moves once a day (S-07, U4).
        """
        session = self._store.session(_session_id(cookie)) if _COOKIE.match(cookie) else None
        now = self._clock.now()
        if session is None or session.expires_at <= now:
            raise Unauthenticated("you are not logged in, or the login has expired: log in again")
        user = self._enabled_user(session.user)
        if now - session.refreshed_at >= SESSION_REFRESH:
            expires_at = min(now + SESSION_IDLE, session.created_at + SESSION_LONGEST)
            with contextlib.suppress(Unavailable):  # the next request tries again; reading must go on (F16, F19)
                self._store.extend_session(session.id, now, expires_at)
                session = msgspec.structs.replace(session, refreshed_at=now, expires_at=expires_at)
        return principal_of(user), session

    def principal_of_token(self, text: str, kinds: Collection[Kind] = (Kind.USER, Kind.RUN)) -> Principal:
        """Whom a token speaks for. ``kinds``: which are let in at this door. Raises Unauthenticated.

        A run's token is good while the run is live (S-84). A worker's is dead if it was not used within a day (S-85).
        """
        parsed = tokens.parse(text)
        if parsed.kind is not None and parsed.kind not in kinds:
            raise Unauthenticated(f"a {parsed.kind} token does not open this")
        if parsed.kind == "run":
            return self._principal_of_run(parsed.secret)
        token = self._store.token(parsed.stored_hash)
        now = self._clock.now()
        if token is None or token.kind not in kinds or (parsed.kind or token.kind) != token.kind:
            raise Unauthenticated("this is not a valid token")
        if token.expires_at is not None and token.expires_at <= now and token.kind == "user":
            raise Unauthenticated("this token has expired: make a new one")
        if token.kind == "worker" and token.first_used_at is None and now - token.created_at > WORKER_FIRST_USE:
            raise Unauthenticated("this token was not used within a day and is dead: make a new one")
        principal = self._principal_of_stored(token)
        if token.first_used_at is None or token.last_used_at is None or now - token.last_used_at >= TOUCH:
            with contextlib.suppress(Unavailable):  # as with a session
                self._store.touch_token(token.id, now)
        return principal

    def run_token(self, run_id: str) -> str:
        """The token of a run. Derived, never stored: every call gives the same."""
        return tokens.render("run", tokens.run_secret(run_id, self._run_key))

    def mint(self, kind: tokens.Kind) -> tuple[str, str]:
        """A new random token: its text, to be shown once, and the hash to be stored."""
        secret = self._random(tokens.SIZE)
        return tokens.render(kind, secret), tokens.stored_hash(secret)

    # ---- tokens of users

    def create_token(
        self, user: str, label: str = "", expires_at: datetime | None = None, by: str | None = None
    ) -> tuple[str, Token]:
        """A new token with the rights of its user. ``by``: an administrator, for a program that cannot log in.

        Raises NotFound, Conflict (disabled, too many, or ``by`` for one that can log in), Invalid.
        """
        now = self._clock.now()
        if len(label) > 200:
            raise Invalid("a label has at most 200 characters", {"label": "at most 200 characters"})
        if expires_at is not None and expires_at <= now:
            raise Invalid("the token would have expired already", {"expires_at": "must be in the future"})
        if not (found := self.user(user)).is_enabled:
            raise Conflict(f"{user} is disabled: enable the user first")
        if by and found.password_hash is not None:
            raise Conflict(f"{user} has a password, and makes tokens with it: orchestra token create --user {user}")
        if len(self.tokens(user)) >= TOKENS_PER_USER:
            raise Conflict(f"{user} has {TOKENS_PER_USER} tokens: revoke some that are not in use")
        text, digest = self.mint("user")
        token = Token(self._new_id(), "user", digest, now, user=user, label=label, expires_at=expires_at)
        self._store.add_token(token)
        if by:
            _log.info("%s made a token for %s: %s", by, user, token.id)
        return text, token

    def tokens(self, user: str) -> list[Token]:
        """A user's tokens that have not expired, newest first."""
        now = self._clock.now()
        return [token for token in self._store.tokens(user) if token.expires_at is None or token.expires_at > now]

    def revoke_token(self, user: str, token_id: str) -> None:
        """End one of a user's tokens, and what was opened with it. Raises NotFound."""
        if not any(token.id == token_id for token in self._store.tokens(user)):
            raise NotFound(f"{user} has no such token")
        self._store.revoke_token(token_id)
        self._events.publish(AccountChanged(user))

    # ---- users

    def add_user(
        self,
        name: str,
        password: str | None = None,
        site_roles: Collection[str] = (),
        project_roles: Mapping[str, str] | None = None,
    ) -> User:
        """A new user. Without a password it uses tokens that others make for it. Raises Invalid, Conflict (taken)."""
        user = User(
            name=check_name("user", name),
            created_at=self._clock.now(),
            password_hash=None if password is None else self._passwords.new_hash(name, password),
            site_roles=check_site_roles(site_roles),
            project_roles=check_project_roles(project_roles or {}),
        )
        if not self._store.add_user(user):
            raise Conflict(f"the name {name!r} is taken: choose another (case does not tell names apart)")
        return user

    def user(self, name: str) -> User:
        """One user. Raises NotFound."""
        user = self._store.user(name)
        if user is None or user.name != name:
            raise NotFound(f"no user {name[:64]!r}")
        return user

    def users(self, after: str | None = None, limit: int = 100, *, backwards: bool = False) -> list[User]:
        """By name, from Z to A when ``backwards``."""
        return self._store.users(after, limit, backwards=backwards)

    def change_user(
        self,
        name: str,
        *,
        is_enabled: bool | None = None,
        site_roles: Collection[str] | None = None,
        project_roles: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> User:
        """Change what is given, in one write that also ends the user's sessions (S-06, S-07, J42).

        Off: no token of the user works (J34). Raises NotFound, Invalid (a role there is not, J37; a weak password),
        Conflict (the last administrator).
        """
        changes: dict[str, Any] = {}
        if is_enabled is not None:
            changes["is_enabled"] = is_enabled
        if site_roles is not None:
            changes["site_roles"] = check_site_roles(site_roles)
        if project_roles is not None:
            changes["project_roles"] = check_project_roles(project_roles)
        self.user(name)
        if password is not None:
            changes["password_hash"] = self._passwords.new_hash(name, password)
        return self._change(name, lambda user: msgspec.structs.replace(user, **changes))

    def set_password(self, name: str, password: str) -> User:
        """See :meth:`change_user`."""
        return self.change_user(name, password=password)

    def change_password(self, user: str, current: str, new: str, address: str, session: Session | None) -> Login | None:
        """Set one's own password. All sessions end; answers a new one if it was asked from a session (S-06).

        Raises Invalid on ``current`` when that is wrong and on ``password`` when it is weak, Throttled, Unavailable.
        """
        try:
            self._authenticate(user, current, address, None)
        except Unauthenticated:
            raise Invalid("the current password is wrong", {"current": "this is not your current password"}) from None
        self.set_password(user, new)
        return None if session is None else self._open_session(self.user(user), address, session.agent)

    # ---- the first administrator (S-08)

    def make_setup_token(self) -> str:
        """A token that makes the first administrator, once, within a day. Raises Conflict when there is a user."""
        if self._store.users(None, 1):
            raise Conflict("there are users already: an administrator adds more with orchestra user add")
        text, digest = self.mint("setup")
        now = self._clock.now()
        self._store.add_token(Token(self._new_id(), "setup", digest, now, expires_at=now + SETUP_LIFE))
        return text

    def check_setup_token(self, text: str) -> None:
        """Raise Unauthenticated unless the setup link is still good. Changes nothing."""
        parsed = tokens.parse(text)
        token = self._store.token(parsed.stored_hash)
        is_good = token is not None and token.kind == "setup" and parsed.kind == "setup"
        if token is None or not is_good or (token.expires_at and token.expires_at <= self._clock.now()):
            raise Unauthenticated("this setup link was used, has expired or was never given out: make a new one")

    def use_setup_token(self, text: str, name: str, password: str, address: str, agent: str = "") -> Login:
        """Make the first administrator and log it in. Raises Unauthenticated, Invalid, Throttled, Unavailable."""
        self._passwords.spend_try(address)
        self.check_setup_token(text)
        user = User(
            name=check_name("user", name),
            created_at=self._clock.now(),
            password_hash=self._passwords.new_hash(name, password),
            site_roles=frozenset({ADMINISTRATOR}),
        )
        if not self._store.add_first_user(user, tokens.parse(text).stored_hash, self._clock.now()):
            raise Unauthenticated("this setup link has been used: log in, or make a new one")
        return self._open_session(self.user(user.name), address, agent)

    # ---- inside

    def _authenticate(self, name: str, password: str, address: str, seen_before: str | None) -> User:
        self._passwords.spend_try(address)
        user = self._store.user(name) if len(name) <= 64 else None
        stored = user.password_hash if user is not None and user.name == name and user.is_enabled else None
        is_right = self._passwords.check(name, password, stored, seen_before)
        if user is None or not is_right:
            _log.warning("a login as %r from %s failed", name[:64], address)
            raise Unauthenticated(_WRONG)
        return user

    def _open_session(self, user: User, address: str, agent: str) -> Login:
        cookie = self._random(32).hex()
        now = self._clock.now()
        session = Session(
            id=_session_id(cookie),
            user=user.name,
            created_at=now,
            refreshed_at=now,
            expires_at=now + SESSION_IDLE,
            csrf=self._random(32).hex(),
            address=address[:64],
            agent=agent[:200],
        )
        self._store.add_session(session)
        if self._enabled_user(user.name).version != user.version:  # changed while its password was checked (S-06)
            self.logout(session)
            raise Unauthenticated("this account was changed just now: log in again")
        return Login(cookie, session, self._passwords.seen(user.name))

    def _enabled_user(self, name: str) -> User:
        user = self._store.user(name)
        if user is None or not user.is_enabled:
            raise Unauthenticated("this user is disabled or gone")
        return user

    def _principal_of_stored(self, token: Token) -> Principal:
        if token.kind == "user" and token.user is not None:
            return principal_of(self._enabled_user(token.user), token)
        worker = self._workers.get(token.worker_id) if token.worker_id is not None else None
        if token.kind != "worker" or worker is None:
            raise Unauthenticated("this is not a valid token")
        check_standing(worker, self._store.user(worker.owner))
        return Principal(Kind.WORKER, worker.name, worker_id=worker.id, token_id=token.id)

    def _principal_of_run(self, secret: bytes) -> Principal:
        run_id = tokens.run_of(secret, self._run_key)
        run = self._runs.get(run_id) if run_id is not None else None
        if run is None or run.status not in LIVE:
            raise Unauthenticated("this run token is not valid, or its run has ended")
        return Principal(Kind.RUN, run.id, run_id=run.id, run_project=run.project)

    def _change(self, name: str, change: Callable[[User], User]) -> User:
        """Compare-and-set of a user; its sessions end with the same write."""
        while True:
            before = self.user(name)
            after = msgspec.structs.replace(change(before), version=before.version + 1)
            ended = frozenset(session.id for session in self._store.sessions(name))
            if _is_administrator(before) and not _is_administrator(after):
                stored = self._store.dismiss_administrator(after, before.version)
            else:
                stored = self._store.replace_user(after, before.version, end_sessions=True)
            if stored is None:
                raise Conflict(f"{name} is the last administrator: make another one first")
            if stored:
                self._events.publish(AccountChanged(name))
                if ended:
                    self._events.publish(SessionsEnded(ended))
                return after

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))


def _session_id(cookie: str) -> str:
    return hashlib.sha256(bytes.fromhex(cookie)).hexdigest()


def _is_administrator(user: User) -> bool:
    return user.is_enabled and ADMINISTRATOR in user.site_roles
