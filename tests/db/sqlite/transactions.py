"""Twelve transactions that stand for all of them: what leads to each, and what it does, the same every time (R14)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import apsw
import msgspec

from appliance.db.sqlite import SqliteRepository
from appliance.model.entities import Receipt, Run, StreamRecord
from appliance.model.run_state import Status
from tests.db.values import (
    NOW,
    assigned,
    at,
    configuration,
    ended,
    job,
    lease_of,
    new_run,
    session,
    stored,
    user,
    worker,
)
from tests.db.values import token as made_token

Step = Callable[[SqliteRepository], object]

FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"
_LONG = "x" * 6000  # so that a transaction has more pages than one


class Transaction(NamedTuple):
    """``prepare`` builds the state that ``commit``, the transaction itself, begins with."""

    prepare: Step
    commit: Step


def streams(run_id: str, content: bytes = b"what it printed") -> list[StreamRecord]:
    """The records of its output."""
    digest = hashlib.sha256(content).hexdigest()
    return [StreamRecord(run_id, 0, len(content), zlib.crc32(content), "boot", digest)]


def _pending(repository: SqliteRepository) -> Run:
    return repository.runs.add(new_run(id=FIRST, parameters={"text": _LONG}))[0]


def _assigned(repository: SqliteRepository) -> Run:
    run = _pending(repository)
    assert repository.runs.grant(assigned(run), lease_of(run), run.version)
    return stored(repository, run)


def _running(repository: SqliteRepository) -> Run:
    run = _assigned(repository)
    assert repository.runs.replace(msgspec.structs.replace(run, status=Status.RUNNING), run.version)
    return stored(repository, run)


def _first(repository: SqliteRepository) -> Run:
    run = repository.runs.get(FIRST)
    assert run is not None
    return run


def _grant(repository: SqliteRepository) -> object:
    run = _first(repository)
    return repository.runs.grant(assigned(run), lease_of(run), run.version)


def _accept(repository: SqliteRepository) -> object:
    run = _first(repository)
    return repository.runs.replace(msgspec.structs.replace(run, status=Status.RUNNING, accepted_at=at(2)), run.version)


def _finish(repository: SqliteRepository) -> object:
    run = _first(repository)
    (record,) = streams(FIRST)
    receipt = Receipt(size=record.size, sha256=record.sha256, complete=True, verified=True)
    after = msgspec.structs.replace(ended(run), log=receipt)
    return repository.runs.finish(after, [record], f'{{"text":"{_LONG}"}}', run.version)


def _take_back(repository: SqliteRepository) -> object:
    run = _first(repository)
    back = msgspec.structs.replace(run, status=Status.PENDING, assigned_at=None, worker_id=None, worker=None, slot=None)
    return repository.runs.take_back(back, run.version)


def _workers(repository: SqliteRepository) -> None:
    for number in range(3):
        made = worker(f"builder-{number}")
        assert repository.workers.add(made, made_token(number, "worker", worker_id=made.id))


def _beat(repository: SqliteRepository) -> object:
    return repository.workers.beats({f"id of builder-{number}": at(number) for number in range(3)})


def _apply(repository: SqliteRepository) -> object:
    jobs = [job(f"job-{number}", version=f"v{number}", description=_LONG[:500]) for number in range(20)]
    return repository.projects.apply(configuration(*jobs), NOW)


TRANSACTIONS: dict[str, Transaction] = {
    "add": Transaction(_pending, lambda one: one.runs.add(new_run(id=SECOND, parameters={"text": _LONG}))),
    "grant": Transaction(_pending, _grant),
    "accept": Transaction(_assigned, _accept),
    "finish": Transaction(_running, _finish),
    "take back": Transaction(_assigned, _take_back),
    "put streams": Transaction(_running, lambda one: one.runs.put_streams(streams(FIRST))),
    "put results": Transaction(_running, lambda one: one.runs.put_results(FIRST, 1, f'{{"text":"{_LONG}"}}')),
    "set results": Transaction(_running, lambda one: one.runs.set_results(FIRST, {"text": _LONG})),
    "apply configuration": Transaction(lambda one: one.projects.apply(configuration(job("old")), NOW), _apply),
    "beats": Transaction(_workers, _beat),
    "log in": Transaction(lambda one: one.accounts.add_user(user()), lambda one: one.accounts.add_session(session(1))),
    "open epoch": Transaction(lambda one: None, lambda one: one.lineage.open_epoch("incarnation", "boot", NOW)),
}


def dump(repository: SqliteRepository) -> dict[str, list[Any]]:
    """All there is, by table."""

    def query(connection: apsw.Connection) -> dict[str, list[Any]]:
        connection.execute("BEGIN")  # one instant
        try:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: list(connection.execute(f'SELECT * FROM "{name}"')) for name in names}
        finally:
            connection.execute("COMMIT")

    return repository._readers.read(query)
