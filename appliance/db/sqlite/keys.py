"""Idempotency keys: which run a request has made already."""

from __future__ import annotations

from datetime import datetime

import apsw

from appliance.db.repository import KEY_LIFE, PURGED_AT_ONCE
from appliance.db.sqlite.run_rows import hex_in, hex_out, id_out
from appliance.model.entities import IdempotencyKey
from appliance.model.errors import Conflict
from appliance.model.times import to_millis

_FIND = """
    SELECT digest, run.id FROM idempotency_key CROSS JOIN run ON run.place = idempotency_key.place
    WHERE owner = ? AND key = ?
"""
_INSERT = "INSERT INTO idempotency_key (owner, key, digest, created_at, place) VALUES (?, ?, ?, ?, ?)"
_DELETE = """
    DELETE FROM idempotency_key WHERE (owner, key) IN (
        SELECT owner, key FROM idempotency_key WHERE created_at <= ? ORDER BY created_at LIMIT ?
    )
"""


def first_run(connection: apsw.Connection, key: IdempotencyKey) -> str | None:
    """The id of the run that came with this key. Raises Conflict when the request was another."""
    for digest, run_id in connection.execute(_FIND, (key.owner, key.key)):
        if hex_out(digest) != key.digest:  # public: both are digests of what this caller sent itself
            raise Conflict("this Idempotency-Key was used for another request; use a new key")
        return id_out(run_id)
    return None


def note(connection: apsw.Connection, key: IdempotencyKey, at: datetime, place: int) -> None:
    """The run at ``place`` came with this key."""
    connection.execute(_INSERT, (key.owner, key.key, hex_in(key.digest), to_millis(at), place))


def purge(connection: apsw.Connection, now: datetime) -> int:
    """Delete old keys; answers how many."""
    connection.execute(_DELETE, (to_millis(now - KEY_LIFE), PURGED_AT_ONCE))
    return connection.changes()
