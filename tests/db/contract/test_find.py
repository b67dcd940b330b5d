"""Lists of runs: every filter alone and mixed, paged without gap or repetition."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from appliance.db.repository import Repository, RunFilter, RunKey
from appliance.model.entities import Run, Source
from appliance.model.run_state import Reason, Status
from tests.db.values import add, at, ended, granted, running, stored

FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "project": {"project": ("website",)},
    "projects": {"project": ("website", "shop", "nowhere")},
    "visible": {"visible": frozenset({"shop"})},
    "nothing visible": {"visible": frozenset()},
    "hidden project": {"visible": frozenset({"shop"}), "project": ("website",)},
    "job": {"job": ("test",)},
    "job of a project": {"project": ("shop",), "job": ("test", "deploy")},
    "worker": {"worker": ("name of w1",)},
    "workers of a project": {"worker": ("name of w1", "name of w2"), "project": ("website",)},
    "status": {"status": (Status.FAILED,)},
    "statuses": {"status": (Status.PENDING, Status.FAILED, Status.SUCCEEDED)},
    "live": {"status": (Status.PENDING, Status.RUNNING, Status.ASSIGNED, Status.LOST), "project": ("website",)},
    "status of a project": {"status": (Status.FAILED, Status.ABORTED), "project": ("website", "shop")},
    "status of a job": {"status": (Status.SUCCEEDED,), "job": ("test",)},
    "source": {"source": ("schedule",)},
    "sources and status": {"source": ("schedule", "user"), "status": (Status.SUCCEEDED,)},
    "since": {"since": at(10)},
    "between": {"since": at(5), "until": at(11), "project": ("website",)},
    "all at once": {
        "visible": frozenset({"website", "shop"}),
        "project": ("website",),
        "job": ("test",),
        "worker": ("name of w1",),
        "status": (Status.SUCCEEDED, Status.FAILED),
        "source": ("user",),
        "since": at(0),
        "until": at(40),
    },
}


@pytest.fixture
def runs(repository: Repository) -> list[Run]:
    """48 runs of every kind, several in the same millisecond; newest first."""
    made = []
    kinds = itertools.product(("website", "shop", "cellar"), ("test", "deploy"), ("user", "schedule"), range(4))
    for count, (project, job, source, kind) in enumerate(kinds):
        run = add(repository, project, job, created_at=at(count // 3), source=Source(type=source))
        worker_id = f"w{count % 2 + 1}"
        if kind == 1:
            granted(repository, run, worker_id)
        elif kind > 1:
            live = running(repository, run, worker_id)
            end = ended(live) if kind == 2 else ended(live, Status.FAILED, Reason.EXIT_CODE)
            assert repository.runs.finish(end, [], None, live.version)
        made.append(stored(repository, run))
    return sorted(made, key=lambda run: (run.created_at, run.id), reverse=True)


def expected(runs: list[Run], where: RunFilter) -> list[Run]:
    """What the filter means, said once more and plainly."""
    return [
        run
        for run in runs
        if (where.visible is None or run.project in where.visible)
        and run.project in (where.project or {run.project})
        and run.job in (where.job or {run.job})
        and run.worker in (where.worker or {run.worker})
        and run.status in (where.status or {run.status})
        and run.source.type in (where.source or {run.source.type})
        and (where.since is None or where.since <= run.created_at)
        and (where.until is None or run.created_at < where.until)
    ]


def test_a_filter_finds_exactly_its_runs_newest_first(repository: Repository, runs: list[Run]) -> None:
    for name, fields in FILTERS.items():
        where = RunFilter(**fields)
        meant = expected(runs, where)
        assert bool(meant) == (name not in ("nothing visible", "hidden project")), name
        assert repository.runs.find(where, None, 1000) == meant, name


def test_pages_hold_each_run_once(repository: Repository, runs: list[Run]) -> None:
    for name, fields in FILTERS.items():
        where = RunFilter(**fields)
        seen: list[Run] = []
        after = None
        while page := repository.runs.find(where, after, 5):
            seen += page
            after = RunKey(page[-1].created_at, page[-1].id)
        assert seen == expected(runs, where), name


def test_the_other_way_round_pages_hold_each_run_once_too(repository: Repository, runs: list[Run]) -> None:
    for name, fields in FILTERS.items():
        where = RunFilter(**fields)
        seen: list[Run] = []
        after = None
        while page := repository.runs.find(where, after, 5, oldest_first=True):
            seen += page
            after = RunKey(page[-1].created_at, page[-1].id)
        assert seen == expected(runs, where)[::-1], name


def test_many_visible_projects_are_one_list(repository: Repository, runs: list[Run]) -> None:
    many = frozenset(f"project-{number}" for number in range(600)) | {"shop", "website"}
    where = RunFilter(visible=many)
    assert repository.runs.find(where, None, 1000) == expected(runs, where)
    rare = RunFilter(visible=many, status=(Status.FAILED,))
    assert repository.runs.find(rare, None, 1000) == expected(runs, rare)
