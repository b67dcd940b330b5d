"""Users, tokens and sessions, in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.db.memory.keyset import by_name
from appliance.db.repository import KEY_LIFE, PURGED_AT_ONCE, AccountStore, WorkerStore
from appliance.model.entities import Session, Token, User
from appliance.model.errors import Conflict, NotFound
from appliance.model.permissions import ADMINISTRATOR

if TYPE_CHECKING:
    from appliance.db.memory.runs import MemoryRuns

_MOST = 1000


class MemoryAccounts(AccountStore):
    """See :class:`~appliance.db.repository.AccountStore`."""

    workers: WorkerStore
    runs: MemoryRuns

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self._sessions: dict[str, Session] = {}

    def add_user(self, user: User) -> bool:
        """See the interface."""
        with self._lock:
            if any(name.lower() == user.name.lower() for name in self._users):
                return False
            self._users[user.name] = msgspec.structs.replace(user, project_roles=dict(user.project_roles))
            return True

    def add_first_user(self, user: User, setup_hash: str, now: datetime) -> bool:
        """See the interface. Every other setup token ends with it."""
        with self._lock:
            token = self.token(setup_hash)
            if token is None or token.kind != "setup" or _is_over(token.expires_at, now) or not self.add_user(user):
                return False
            self._tokens = {key: one for key, one in self._tokens.items() if one.kind != "setup"}
            return True

    def user(self, name: str) -> User | None:
        """See the interface."""
        with self._lock:
            return self._users.get(name)

    def users(self, after: str | None, limit: int, *, backwards: bool = False) -> list[User]:
        """See the interface."""
        with self._lock:
            return by_name(self._users.values(), lambda one: one.name, after, limit, backwards)

    def replace_user(self, user: User, if_version: int, *, end_sessions: bool) -> bool:
        """See the interface. ``created_at`` never changes."""
        with self._lock:
            before = self._users.get(user.name)
            if before is None or before.version != if_version:
                return False
            self._users[user.name] = msgspec.structs.replace(
                user,
                created_at=before.created_at,
                project_roles=dict(user.project_roles),
                version=if_version + 1,
            )
            if end_sessions:
                self._sessions = {key: one for key, one in self._sessions.items() if one.user != user.name}
            return True

    def dismiss_administrator(self, user: User, if_version: int) -> bool | None:
        """See the interface."""
        with self._lock:
            others = (one for one in self._users.values() if one.name != user.name)
            if not any(one.is_enabled and ADMINISTRATOR in one.site_roles for one in others):
                return None
            return self.replace_user(user, if_version, end_sessions=True)

    def add_token(self, token: Token) -> None:
        """See the interface. Raises NotFound without its user or worker, Conflict when id or hash is taken."""
        with self._lock:
            if token.user is not None and token.user not in self._users:
                raise NotFound(f"no user {token.user}")
            if token.worker_id is not None and self.workers.get(token.worker_id) is None:
                raise NotFound(f"no worker {token.worker_id}")
            if token.id in self._tokens or self.token(token.hash) is not None:
                raise Conflict("this token exists")
            self._tokens[token.id] = token

    def token(self, digest: str) -> Token | None:
        """See the interface."""
        with self._lock:
            # public: as a database looks it up; who knows a token's hash does not know the token
            return next((one for one in self._tokens.values() if one.hash == digest), None)

    def tokens(self, user: str) -> list[Token]:
        """See the interface."""
        with self._lock:
            found = [one for one in self._tokens.values() if one.user == user]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)[:_MOST]

    def touch_token(self, token_id: str, at: datetime) -> None:
        """See the interface."""
        with self._lock:
            token = self._tokens.get(token_id)
            if token is not None:
                first = token.first_used_at or at
                self._tokens[token_id] = msgspec.structs.replace(token, last_used_at=at, first_used_at=first)

    def revoke_token(self, token_id: str) -> bool:
        """See the interface."""
        with self._lock:
            return self._tokens.pop(token_id, None) is not None

    def add_session(self, session: Session) -> None:
        """See the interface. Raises NotFound without its user, Conflict when the id is taken."""
        with self._lock:
            if session.user not in self._users:
                raise NotFound(f"no user {session.user}")
            if session.id in self._sessions:
                raise Conflict("this session exists")
            self._sessions[session.id] = session

    def session(self, session_id: str) -> Session | None:
        """See the interface."""
        with self._lock:
            return self._sessions.get(session_id)

    def sessions(self, user: str) -> list[Session]:
        """See the interface."""
        with self._lock:
            found = [one for one in self._sessions.values() if one.user == user]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)[:_MOST]

    def extend_session(self, session_id: str, refreshed_at: datetime, expires_at: datetime) -> None:
        """See the interface."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None:
                moved = msgspec.structs.replace(session, refreshed_at=refreshed_at, expires_at=expires_at)
                self._sessions[session_id] = moved

    def end_sessions(self, session_ids: Collection[str]) -> None:
        """See the interface."""
        with self._lock:
            for session_id in session_ids:
                self._sessions.pop(session_id, None)

    def purge(self, now: datetime) -> int:
        """See the interface."""
        with self._lock:
            dropped = self.runs.drop_keys(now - KEY_LIFE, PURGED_AT_ONCE)
            tables: tuple[dict[str, Any], ...] = (self._tokens, self._sessions)
            for table in tables:
                over = [key for key, one in table.items() if _is_over(one.expires_at, now)][:PURGED_AT_ONCE]
                for key in over:
                    del table[key]
                dropped += len(over)
            return dropped

    def drop_worker(self, worker_id: str) -> None:
        """Delete a worker's tokens. For ``MemoryWorkers`` only."""
        self._tokens = {key: one for key, one in self._tokens.items() if one.worker_id != worker_id}


def _is_over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now
