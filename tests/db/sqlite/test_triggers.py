"""The database repeats the state machine; both are kept equal here (4.2, I10)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import apsw
import pytest

from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.connection import connect
from appliance.model.run_state import LEGAL, LIVE, REASONS, Status
from tests.db.values import NOW, add

STORED = [status for status in Status if status is not Status.SKIPPED]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A database with one pending run and one life of the master."""
    path = tmp_path_factory.mktemp("triggers") / "orchestra.db"
    repository = SqliteRepository(path)
    repository.open()
    repository.lineage.open_epoch("a" * 32, "boot", NOW)
    add(repository)
    repository.close()
    made = connect(path)
    yield made
    made.close()


@pytest.fixture
def connection(whole: apsw.Connection) -> Iterator[apsw.Connection]:
    """A copy of it in memory, behind the repository's back."""
    copy = apsw.Connection(":memory:")
    with copy.backup("main", whole, "main") as backup:
        backup.step()
    copy.pragma("foreign_keys", 1)
    yield copy
    copy.close()


def move(connection: apsw.Connection, status: Status) -> None:
    """Set the status, and the columns that go with it."""
    was_never_started = status in (Status.PENDING, Status.CANCELLED)
    connection.execute(
        "UPDATE run SET status = ?, reason = ?, assigned_after = ?, finished_after = ?",
        (
            str(status),
            next(iter(sorted(REASONS.get(status, ()))), None),
            None if was_never_started else 1,
            None if status in LIVE else 2,
        ),
    )


def route(to: Status) -> list[Status]:
    """Legal steps from pending to a status."""
    if to is Status.PENDING:
        return []
    if (Status.PENDING, to) in LEGAL:
        return [to]
    return [Status.ASSIGNED, to]


@pytest.mark.parametrize(
    ("before", "after"), [pair for pair in itertools.product(STORED, STORED) if len(set(pair)) == 2]
)
def test_the_trigger_takes_exactly_the_legal_changes(
    connection: apsw.Connection, before: Status, after: Status
) -> None:
    for step in route(before):
        move(connection, step)
    if (before, after) in LEGAL:
        move(connection, after)
        assert connection.execute("SELECT status FROM run").get == after
    else:
        with pytest.raises(apsw.ConstraintError, match="run:"):
            move(connection, after)
        assert connection.execute("SELECT status FROM run").get == before


@pytest.mark.parametrize("status", STORED)
def test_a_run_begins_only_as_the_state_machine_says(connection: apsw.Connection, status: Status) -> None:
    columns = "project, job, parameters, source, source_type, definition_version, priority, version"
    is_early = status in (Status.PENDING, Status.CANCELLED)
    sql = (
        f"INSERT INTO run (place, id, number, status, reason, assigned_after, finished_after, {columns}) "
        f"SELECT place + 1, 'new', 2, ?, ?, ?, ?, {columns} FROM run"
    )
    reason = next(iter(sorted(REASONS.get(status, ()))), None)
    bindings = (str(status), reason, None if is_early else 1, None if status in LIVE else 2)
    if (None, status) in LEGAL:
        connection.execute(sql, bindings)
    else:
        with pytest.raises(apsw.ConstraintError, match="run:"):
            connection.execute(sql, bindings)


@pytest.mark.parametrize("status", sorted(set(STORED) - LIVE))
@pytest.mark.parametrize(
    "change",
    [
        *("sentence = 'x'", "exit = 1", "finished_after = 3", "started_after = 3", "worker = 1"),
        "reason = 'internal_error'",
    ],
)
def test_the_facts_of_an_end_are_kept_by_the_database(connection: apsw.Connection, status: Status, change: str) -> None:
    for step in route(status):
        move(connection, step)
    with pytest.raises(apsw.ConstraintError, match="run:"):
        connection.execute(f"UPDATE run SET {change}")
    connection.execute("UPDATE run SET notes = '[\"late\"]', version = version + 1")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM run",
        "UPDATE run SET number = 9",
        "UPDATE run SET parameters = '{}'",
        "UPDATE run SET id = 'x'",
        "UPDATE run SET place = 1",
        "UPDATE run SET status = 'skipped'",
        "UPDATE run SET status = 'assigned'",  # without a time
        "UPDATE run SET started_after = 1",
        "UPDATE run SET finished_after = 1",
        "UPDATE run SET reason = 'requested'",
        "UPDATE run SET notes = 'no json'",
        "UPDATE run SET priority = 'high'",
        "UPDATE run SET should_abort = 2",
        "UPDATE run SET worker = 999",  # no such word
        "INSERT INTO stream VALUES (1, 0, 1, 1, 1, NULL)",  # no such run
        "INSERT INTO stream SELECT place, 0, -1, 1, 1, NULL FROM run",
        "INSERT INTO request VALUES (1, 'of no run')",
        "UPDATE word SET text = 'x'",
        "DELETE FROM word",
    ],
)
def test_what_cannot_be_true_is_refused(connection: apsw.Connection, sql: str) -> None:
    with pytest.raises(apsw.ConstraintError):
        connection.execute(sql)


@pytest.mark.parametrize("sql", ["UPDATE lineage SET boot_id = 'x'", "DELETE FROM lineage"])
def test_lineage_only_grows(connection: apsw.Connection, sql: str) -> None:
    with pytest.raises(apsw.ConstraintError, match="lineage:"):
        connection.execute(sql)
