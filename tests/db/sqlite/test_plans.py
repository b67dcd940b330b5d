"""No list ever looks at all runs, whatever is asked (J25, J27, R11)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from appliance.db.repository import RunFilter, RunKey
from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite.connection import connect
from appliance.db.sqlite.find import Meant, choose, statement
from appliance.model.run_state import Status
from tests.db.values import add, at, ended, granted

SMALL = "run_(expires|leased)"  # partial: only live runs are in them

FIELDS = {
    "visible": frozenset({"website", "shop"}),
    "project": ("website",),
    "job": ("test",),
    "worker": ("name of worker-1",),
    "status": (Status.FAILED,),
    "source": ("schedule",),
    "since": at(-60),
}
FILTERS = [
    dict(itertools.chain(some))
    for count in range(len(FIELDS) + 1)
    for some in itertools.combinations(FIELDS.items(), count)
]
QUERIES: dict[str, Callable[[SqliteRepository], object]] = {
    "get": lambda repository: repository.runs.get("x"),
    "numbered": lambda repository: repository.runs.numbered("website", "test", 1),
    "newest": lambda repository: repository.runs.newest("website", "test"),
    "newest success": lambda repository: repository.runs.newest("website", "test", Status.SUCCEEDED),
    "newest failure": lambda repository: repository.runs.newest("website", "test", Status.FAILED),
    "newest live": lambda repository: repository.runs.newest("website", "test", Status.RUNNING),
    "pending": lambda repository: repository.runs.pending(None, 100),
    "pending page": lambda repository: repository.runs.pending(RunKey(at(0), "x"), 100),
    "expired": lambda repository: repository.runs.expired(at(0), 100),
    "leased": lambda repository: repository.runs.leased(),
    "leased_to": lambda repository: repository.runs.leased_to("worker-1"),
    "leased_counts": lambda repository: repository.runs.leased_counts(),
    "lease": lambda repository: repository.runs.lease("x"),
    "streams": lambda repository: repository.runs.streams("x"),
    "results": lambda repository: repository.runs.results("x"),
    "counts": lambda repository: repository.runs.counts(),
}


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The SQL of every connection that is opened from now on."""
    statements: list[str] = []

    def watch(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.append(event["sql"]))

    apsw.connection_hooks.append(watch)
    yield statements
    apsw.connection_hooks.remove(watch)


def places(sql: str) -> int:
    """How many bindings a statement has."""
    numbered = re.findall(r"\?([0-9]+)", sql)
    return max(map(int, numbered)) if numbered else sql.count("?")


def plan_of(path: Path, statements: list[str]) -> list[str]:
    """What SQLite would do for all that was asked of runs."""
    reader = connect(path, is_reader=True)
    steps = [
        row[3]
        for sql in statements
        if " run" in sql and sql.lstrip().startswith("SELECT")
        for row in reader.execute("EXPLAIN QUERY PLAN " + sql, [None] * places(sql))
    ]
    reader.close()
    return steps


@pytest.mark.parametrize("name", QUERIES)
def test_defect_J25_no_query_scans_all_runs(
    asked: list[str], repository: SqliteRepository, path: Path, name: str
) -> None:
    granted(repository, add(repository))  # its names are known from now on
    asked.clear()
    QUERIES[name](repository)
    steps = plan_of(path, list(asked))
    assert any("run" in step for step in steps)
    for step in steps:
        assert not step.startswith("SCAN run") or re.search(SMALL, step), step
        assert "TEMP B-TREE" not in step or "live" in name or "leased" in name, step  # a few rows


def test_defect_J27_every_list_walks_an_index_in_its_order(
    asked: list[str], repository: SqliteRepository, path: Path
) -> None:
    run = granted(repository, add(repository))
    assert repository.runs.finish(ended(run), [], None, run.version)
    for fields, after, oldest in itertools.product(FILTERS, (None, RunKey(at(0), "x")), (False, True)):
        asked.clear()
        repository.runs.find(RunFilter(**fields), after, 50, oldest_first=oldest)  # type: ignore[arg-type]  # FIELDS
        steps = plan_of(path, list(asked))
        assert any(re.search("SCAN run|run_by|INTEGER PRIMARY KEY", step) for step in steps), fields
        for step in steps:
            assert "TEMP B-TREE" not in step, (fields, step)
            if step.startswith("SCAN run"):
                # In the order of time without any condition that an index would serve: ends at the limit.
                assert step == "SCAN run"
                assert not fields.keys() & {"visible", "project", "job", "worker", "status", "source"}


def test_a_rare_status_is_not_searched_among_all_others() -> None:
    one_job = Meant(projects=[1], jobs=[2], pairs=[(1, 2)])
    rare = choose(msgspec.structs.replace(one_job, statuses=[Status.LOST]))
    assert rare.index == "run_by_status"
    failed = choose(msgspec.structs.replace(one_job, statuses=[Status.FAILED]))
    assert failed.index == "run_by_project_status"
    common = choose(msgspec.structs.replace(one_job, statuses=[Status.SUCCEEDED]))
    assert common.index == "run_by_job"


def test_a_mix_of_live_and_ended_is_not_looked_for_where_only_ended_runs_are() -> None:
    mixed = choose(Meant(projects=[1], statuses=[Status.FAILED, Status.PENDING]))
    assert mixed.index == "run_by_status"


def test_a_page_costs_the_same_however_many_runs_there_are(path: Path, repository: SqliteRepository) -> None:
    costs: list[int] = []
    sql = statement("id", choose(Meant(statuses=[Status.PENDING])), [])
    for count in (100, 300):
        while add(repository).number < count:
            pass
        reader = connect(path, is_reader=True)
        instructions = itertools.count()

        def tick(instructions: itertools.count[int] = instructions) -> bool:
            next(instructions)
            return False

        reader.set_progress_handler(tick, 1)
        assert len(list(reader.execute(sql, ("pending", 50)))) == 50
        costs.append(next(instructions))
        reader.close()
    assert costs[0] == costs[1]
