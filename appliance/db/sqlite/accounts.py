# ruff: noqa: S608  only names of our own tables and columns are set into SQL; values are always bound
"""Users, tokens and sessions, in SQLite."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import apsw

from appliance.db.repository import PURGED_AT_ONCE, AccountStore
from appliance.db.sqlite import keys
from appliance.db.sqlite.readers import Readers
from appliance.db.sqlite.rows import Rows, T, behind
from appliance.db.sqlite.writer import Writer
from appliance.model.entities import Session, Token, User
from appliance.model.errors import Conflict, NotFound
from appliance.model.permissions import ADMINISTRATOR
from appliance.model.times import to_millis

_USERS, _TOKENS, _SESSIONS = Rows(User), Rows(Token), Rows(Session)
_CHANGING = tuple(name for name in _USERS.columns if name not in ("name", "created_at", "version"))
_MOST = 1000

_INSERT_USER = f"INSERT INTO user ({_USERS.names}) VALUES ({_USERS.places}) ON CONFLICT DO NOTHING RETURNING 1"
_UPDATE_USER = (
    f"UPDATE user SET {', '.join(f'{name} = ?' for name in _CHANGING)}, version = version + 1 "
    f"WHERE name = ? COLLATE BINARY AND version = ? RETURNING 1"
)
_OTHER_ADMINISTRATOR = """
    SELECT 1 FROM user, json_each(user.site_roles) AS role
    WHERE name <> ? COLLATE BINARY AND is_enabled AND role.value = ? LIMIT 1
"""
_SETUP = "SELECT 1 FROM token WHERE hash = ? AND kind = 'setup' AND (expires_at IS NULL OR expires_at > ?)"
_OVER_TOKENS, _OVER_SESSIONS = (
    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires_at <= ? LIMIT ?)"
    for table in ("token", "session")
)


class SqliteAccounts(AccountStore):
    """See :class:`~appliance.db.repository.AccountStore`."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def add_user(self, user: User) -> bool:
        """See the interface."""
        row = _USERS.to_row(user)
        return self._writer.do(lambda connection: connection.execute(_INSERT_USER, row).get is not None)

    def add_first_user(self, user: User, setup_hash: str, now: datetime) -> bool:
        """See the interface. Every other setup token ends with it."""

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(_SETUP, (setup_hash, to_millis(now))).get is None:
                return False
            if connection.execute(_INSERT_USER, _USERS.to_row(user)).get is None:
                return False
            connection.execute("DELETE FROM token WHERE kind = 'setup'")
            return True

        return self._writer.do(verb)

    def user(self, name: str) -> User | None:
        """See the interface."""
        sql = f"SELECT {_USERS.names} FROM user WHERE name = ?1 AND name = ?1 COLLATE BINARY"
        return _first(self._list(_USERS, sql, name))

    def users(self, after: str | None, limit: int, *, backwards: bool = False) -> list[User]:
        """See the interface."""
        where, bindings = behind(after, limit, backwards)
        return self._list(_USERS, f"SELECT {_USERS.names} FROM user {where}", *bindings)

    def replace_user(self, user: User, if_version: int, *, end_sessions: bool) -> bool:
        """See the interface. ``created_at`` never changes."""
        bindings = (*_USERS.to_row(user, _CHANGING), user.name, if_version)

        def verb(connection: apsw.Connection) -> bool:
            if connection.execute(_UPDATE_USER, bindings).get is None:
                return False
            if end_sessions:
                connection.execute("DELETE FROM session WHERE user = ?", (user.name,))
            return True

        return self._writer.do(verb)

    def dismiss_administrator(self, user: User, if_version: int) -> bool | None:
        """See the interface."""
        bindings = (*_USERS.to_row(user, _CHANGING), user.name, if_version)

        def verb(connection: apsw.Connection) -> bool | None:
            if connection.execute(_OTHER_ADMINISTRATOR, (user.name, ADMINISTRATOR)).get is None:
                return None
            if connection.execute(_UPDATE_USER, bindings).get is None:
                return False
            connection.execute("DELETE FROM session WHERE user = ?", (user.name,))
            return True

        return self._writer.do(verb)

    def add_token(self, token: Token) -> None:
        """See the interface. Raises NotFound without its user or worker, Conflict when id or hash is taken."""
        self._writer.do(lambda connection: insert_token(connection, token))

    def token(self, digest: str) -> Token | None:
        """See the interface."""
        return _first(self._list(_TOKENS, f"SELECT {_TOKENS.names} FROM token WHERE hash = ?", digest))

    def tokens(self, user: str) -> list[Token]:
        """See the interface."""
        sql = f"SELECT {_TOKENS.names} FROM token WHERE user = ? ORDER BY created_at DESC, id DESC LIMIT ?"
        return self._list(_TOKENS, sql, user, _MOST)

    def touch_token(self, token_id: str, at: datetime) -> None:
        """See the interface."""
        sql = "UPDATE token SET last_used_at = ?1, first_used_at = ifnull(first_used_at, ?1) WHERE id = ?2"
        self._change(sql, to_millis(at), token_id)

    def revoke_token(self, token_id: str) -> bool:
        """See the interface."""
        return self._change("DELETE FROM token WHERE id = ?", token_id) > 0

    def add_session(self, session: Session) -> None:
        """See the interface. Raises NotFound without its user, Conflict when the id is taken."""
        sql = f"INSERT INTO session ({_SESSIONS.names}) VALUES ({_SESSIONS.places})"

        def verb(connection: apsw.Connection) -> None:
            _require(connection, "user", "name", session.user)
            try:
                connection.execute(sql, _SESSIONS.to_row(session))
            except apsw.ConstraintError as error:
                raise Conflict("this session exists") from error

        self._writer.do(verb)

    def session(self, session_id: str) -> Session | None:
        """See the interface."""
        return _first(self._list(_SESSIONS, f"SELECT {_SESSIONS.names} FROM session WHERE id = ?", session_id))

    def sessions(self, user: str) -> list[Session]:
        """See the interface."""
        sql = f"SELECT {_SESSIONS.names} FROM session WHERE user = ? ORDER BY created_at DESC, id DESC LIMIT ?"
        return self._list(_SESSIONS, sql, user, _MOST)

    def extend_session(self, session_id: str, refreshed_at: datetime, expires_at: datetime) -> None:
        """See the interface."""
        sql = "UPDATE session SET refreshed_at = ?, expires_at = ? WHERE id = ?"
        self._change(sql, to_millis(refreshed_at), to_millis(expires_at), session_id)

    def end_sessions(self, session_ids: Collection[str]) -> None:
        """See the interface."""
        rows = [(session_id,) for session_id in session_ids]

        def verb(connection: apsw.Connection) -> None:
            connection.executemany("DELETE FROM session WHERE id = ?", rows)

        if rows:
            self._writer.do(verb)

    def purge(self, now: datetime) -> int:
        """See the interface."""

        def verb(connection: apsw.Connection) -> int:
            count = keys.purge(connection, now)
            for sql in (_OVER_TOKENS, _OVER_SESSIONS):
                connection.execute(sql, (to_millis(now), PURGED_AT_ONCE))
                count += connection.changes()
            return count

        return self._writer.do(verb)

    def _list(self, rows: Rows[T], sql: str, *bindings: Any) -> list[T]:
        return self._readers.read(lambda connection: [rows.from_row(row) for row in connection.execute(sql, bindings)])

    def _change(self, sql: str, *bindings: Any) -> int:
        def verb(connection: apsw.Connection) -> int:
            connection.execute(sql, bindings)
            return connection.changes()

        return self._writer.do(verb)


def insert_token(connection: apsw.Connection, token: Token) -> None:
    """Store a token inside a verb. Raises NotFound without its user or worker, Conflict when id or hash is taken."""
    if token.user is not None:
        _require(connection, "user", "name", token.user)
    if token.worker_id is not None:
        _require(connection, "worker", "id", token.worker_id)
    try:
        connection.execute(f"INSERT INTO token ({_TOKENS.names}) VALUES ({_TOKENS.places})", _TOKENS.to_row(token))
    except apsw.ConstraintError as error:
        raise Conflict("this token exists") from error


def _require(connection: apsw.Connection, table: str, column: str, key: str) -> None:
    if connection.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (key,)).get is None:
        raise NotFound(f"no {table} {key}")


def _first(found: list[T]) -> T | None:
    return found[0] if found else None
