"""Made-up entities for the tests of storage, each complete and different where it matters."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from appliance.db.repository import ProjectSet, Repository
from appliance.model.entities import Job, Lease, NewRun, Project, Run, Schedule, Session, Source, Token, User, Worker
from appliance.model.run_state import Reason, Status

NOW = datetime(2026, 1, 31, 9, 15, 0, 250_000, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """An instant after NOW."""
    return NOW + timedelta(seconds=seconds)


def new_run(project: str = "website", job: str = "test", **changes: Any) -> NewRun:
    """A run as a trigger brings it."""
    made = NewRun(
        id=str(uuid.uuid4()),
        project=project,
        job=job,
        parameters={"branch": "main"},
        source=Source(type="user", user="alice", via="service"),
        definition_version="v1",
        created_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def lease_of(run: Run, worker_id: str = "worker-1") -> Lease:
    """A lease for a worker."""
    return Lease(
        run_id=run.id,
        worker_id=worker_id,
        journal_id="journal",
        epoch=1,
        slot=2,
        cap="cap",
        request='{"format":1}',
        granted_at=NOW,
    )


def assigned(run: Run, worker_id: str = "worker-1") -> Run:
    """The run, assigned."""
    return msgspec.structs.replace(
        run, status=Status.ASSIGNED, assigned_at=at(1), worker_id=worker_id, worker=f"name of {worker_id}", slot=2
    )


def ended(run: Run, status: Status = Status.SUCCEEDED, reason: Reason | None = None) -> Run:
    """The run at its end."""
    return msgspec.structs.replace(run, status=status, reason=reason, sentence="over", finished_at=at(9))


def add(repository: Repository, project: str = "website", job: str = "test", **changes: Any) -> Run:
    """A pending run, stored."""
    return repository.runs.add(new_run(project, job, **changes))[0]


def granted(repository: Repository, run: Run, worker_id: str = "worker-1") -> Run:
    """The run assigned, stored; answers it as stored."""
    assert repository.runs.grant(assigned(run, worker_id), lease_of(run, worker_id), run.version)
    return stored(repository, run)


def running(repository: Repository, run: Run, worker_id: str = "worker-1") -> Run:
    """The run running, stored."""
    given = granted(repository, run, worker_id)
    assert repository.runs.replace(msgspec.structs.replace(given, status=Status.RUNNING), given.version)
    return stored(repository, run)


def stored(repository: Repository, run: Run) -> Run:
    """The run as the repository has it now."""
    found = repository.runs.get(run.id)
    assert found is not None
    return found


def worker(name: str = "builder", **changes: Any) -> Worker:
    """A worker."""
    made = Worker(id=f"id of {name}", name=name, owner="alice", created_at=NOW, properties={"os": "linux"})
    return msgspec.structs.replace(made, **changes)


def user(name: str = "alice", **changes: Any) -> User:
    """A user."""
    made = User(
        name=name,
        created_at=NOW,
        password_hash="hash",
        site_roles=frozenset({"auditor", "administrator"}),
        project_roles={"website": "operator"},
    )
    return msgspec.structs.replace(made, **changes)


def token(number: int, kind: str = "user", **changes: Any) -> Token:
    """A token; ``number`` makes it its own."""
    made = Token(id=f"token-{number}", kind=kind, hash=f"{number:064x}", created_at=at(number), label="laptop")
    return msgspec.structs.replace(made, **changes)


def session(number: int, name: str = "alice", **changes: Any) -> Session:
    """A session; ``number`` makes it its own."""
    made = Session(
        id=f"{number:064x}",
        user=name,
        created_at=at(number),
        refreshed_at=at(number),
        expires_at=at(number + 1000),
        csrf="csrf",
        address="127.0.0.1",
        agent="test",
    )
    return msgspec.structs.replace(made, **changes)


def job(identifier: str = "test", project: str = "website", version: str = "v1", **changes: Any) -> Job:
    """A job in force."""
    made = Job(
        project=project,
        identifier=identifier,
        display_name=identifier.title(),
        description="",
        document={"identifier": identifier, "definition": {"commands": [["true"]]}, "version": version},
        definition_version=version,
    )
    return msgspec.structs.replace(made, **changes)


def configuration(*jobs: Job, schedules: tuple[Schedule, ...] = ()) -> ProjectSet:
    """A project set with the projects that the jobs and schedules name."""
    names = sorted({"website"} | {one.project for one in jobs} | {one.project for one in schedules})
    projects = tuple(
        Project(name, name.title(), {"identifier": name}, position=place) for place, name in enumerate(names)
    )
    return ProjectSet(projects=projects, jobs=jobs, schedules=schedules)
