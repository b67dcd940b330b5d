"""What the use cases ask of a database. Each method is one atomic, durable verb; nobody begins or commits across calls.

A write has returned when it is durable. A condition stands in the name or in an ``if_…`` argument; a condition that
does not hold changes nothing and is answered with ``False`` or ``None``, never with an exception. Lists are ordered,
bounded by ``limit`` and continued by ``after`` (keyset paging). Every method may be called from any thread.
Adapters: ``db.sqlite``, ``db.memory``; all pass ``tests/db/contract``.

Errors: NotFound where said, Unavailable when the database is busy or away, Full when no space is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from appliance.db.lineage import LineageStore
from appliance.model.entities import (
    IdempotencyKey,
    Job,
    Late,
    Lease,
    NewRun,
    Project,
    Run,
    Schedule,
    Session,
    StreamRecord,
    Token,
    User,
    Worker,
)
from appliance.model.run_state import Status

KEY_LIFE = timedelta(days=7)  # of an idempotency key
PURGED_AT_ONCE = 5000


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs a list shows. ``None`` = any; several values of one field are alternatives.

    ``visible`` are the projects the reader may see; ``None`` = all.
    """

    visible: frozenset[str] | None = None
    project: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()
    status: tuple[Status, ...] = ()
    source: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


class RunKey(msgspec.Struct, frozen=True):
    """Where a page of runs ended: the next one starts after this run."""

    created_at: datetime
    id: str


class ProjectSet(msgspec.Struct, frozen=True):
    """A whole configuration, to be put in force at once."""

    projects: tuple[Project, ...]
    jobs: tuple[Job, ...]
    schedules: tuple[Schedule, ...]


class ProjectStore(ABC):
    """Projects, jobs and schedules in force, and every version of a job that ever was."""

    @abstractmethod
    def apply(self, configuration: ProjectSet, at: datetime) -> None:
        """Replace the configuration in one transaction.

        Flags set at run time survive; what is gone is hidden, its runs and numbers stay and go on if it comes back.
        Each job's ``document`` is kept under its ``definition_version`` for ever.
        """

    @abstractmethod
    def projects(self) -> list[Project]:
        """All in force, in the order of the files."""

    @abstractmethod
    def jobs(self, project: str) -> list[Job]:
        """All in force of a project, in the order of the file."""

    @abstractmethod
    def job_counts(self) -> dict[str, int]:
        """How many jobs in force each project has; one without any is left out."""

    @abstractmethod
    def job(self, project: str, job: str) -> Job | None:
        """One that is in force."""

    @abstractmethod
    def schedules(self, project: str) -> list[Schedule]:
        """All in force of a project, in the order of the file."""

    @abstractmethod
    def definition(self, version: str) -> dict[str, Any] | None:
        """The document of a job as it was in this version."""

    @abstractmethod
    def enable_project(self, project: str, is_enabled: bool) -> bool:
        """Set the flag. ``False``: no such project in force."""

    @abstractmethod
    def enable_job(self, project: str, job: str, is_enabled: bool) -> bool:
        """Set the flag. ``False``: no such job in force."""


class RunStore(ABC):
    """Runs, their leases, streams and results."""

    @abstractmethod
    def add(self, new: NewRun, key: IdempotencyKey | None = None) -> tuple[Run, bool]:
        """Store a pending run under the next number of its job. Answers the run and whether it is new.

        With a key that is known: the first run, unchanged. Raises Conflict when the key came with another ``digest``.
        A key is known for KEY_LIFE.
        """

    @abstractmethod
    def keyed(self, key: IdempotencyKey) -> Run | None:
        """The run that came with this key. Raises Conflict when the key came with another ``digest``."""

    @abstractmethod
    def get(self, run_id: str) -> Run | None:
        """One run."""

    @abstractmethod
    def numbered(self, project: str, job: str, number: int) -> Run | None:
        """The run with this number."""

    @abstractmethod
    def newest(self, project: str, job: str, status: Status | None = None) -> Run | None:
        """The run with the highest number, of that status if given."""

    @abstractmethod
    def find(self, where: RunFilter, after: RunKey | None, limit: int, *, oldest_first: bool = False) -> list[Run]:
        """Newest first, by (created_at, id), or the other way round; ``after`` is about that order."""

    @abstractmethod
    def pending(self, after: RunKey | None, limit: int) -> list[Run]:
        """All pending runs, oldest first, by (created_at, id)."""

    @abstractmethod
    def expired(self, now: datetime, limit: int) -> list[Run]:
        """Pending runs whose ``expires_at`` has passed."""

    @abstractmethod
    def leased_to(self, worker_id: str) -> list[tuple[Run, Lease]]:
        """The live runs a worker has, or may have."""

    @abstractmethod
    def leased(self) -> list[tuple[Run, Lease]]:
        """All live runs that a worker has, or may have."""

    @abstractmethod
    def leased_counts(self) -> dict[str, int]:
        """How many of those each worker has that has any, by its id."""

    @abstractmethod
    def lease(self, run_id: str) -> Lease | None:
        """The lease of a run. Kept after its end, but then ``request`` is empty: nobody is asked again."""

    @abstractmethod
    def grant(self, run: Run, lease: Lease, if_version: int) -> bool:
        """Store the assigned run with its lease."""

    @abstractmethod
    def recover(self, run: Run, lease: Lease) -> Run | None:
        """Store an assigned run, with its lease, that this database does not know (F24); answers it as stored.

        It keeps its number, and the numbers of its job go on NUMBERS_SKIPPED further; if another run has that number,
        it gets the next one. ``None``: a run with this id is here.
        """

    @abstractmethod
    def take_back(self, run: Run, if_version: int) -> bool:
        """Store the run without its lease: pending again, or cancelled by way of pending, at once (4.2).

        The cap of the lease is remembered: see ``LineageStore.came_back``.
        """

    @abstractmethod
    def replace(self, run: Run, if_version: int) -> bool:
        """Store a changed run. Its lease, streams and results stay."""

    @abstractmethod
    def finish(self, run: Run, streams: Sequence[StreamRecord], results: str | None, if_version: int) -> bool:
        """Store a terminal run with the digests of its streams and its last results (JSON text), all or nothing (I4).

        Its lease stays, but without the text of the request.
        """

    @abstractmethod
    def streams(self, run_id: str) -> list[StreamRecord]:
        """What is durable of each stream, by stream number."""

    @abstractmethod
    def put_streams(self, records: Sequence[StreamRecord]) -> None:
        """Note durable sizes. Never lowers the size of a terminal run's stream."""

    @abstractmethod
    def results(self, run_id: str) -> str:
        """The results as JSON text of an object: the worker's, with the values set through the API over them."""

    @abstractmethod
    def put_results(self, run_id: str, seq: int, text: str) -> bool:
        """Keep the worker's results if ``seq`` is higher than the last and the run is live."""

    @abstractmethod
    def set_results(self, run_id: str, values: Mapping[str, Any]) -> bool:
        """Lay values from the API over the worker's, key by key. ``False``: no such run."""

    @abstractmethod
    def counts(self) -> dict[Status, int]:
        """How many runs are in each live status."""


class LateStore(ABC):
    """What workers reported of runs that had been ended without them (4.4)."""

    @abstractmethod
    def put(self, run_id: str, late: Late) -> bool:
        """Keep a report. ``False``: one is kept already, or there is no such run, or it has not ended."""

    @abstractmethod
    def get(self, run_id: str) -> Late | None:
        """The report about a run."""


class WorkerStore(ABC):
    """Workers and their last words."""

    @abstractmethod
    def add(self, worker: Worker, token: Token) -> bool:
        """Store a new worker with its token. ``False``: the name is taken (case does not tell names apart)."""

    @abstractmethod
    def get(self, worker_id: str) -> Worker | None:
        """One worker."""

    @abstractmethod
    def named(self, name: str) -> Worker | None:
        """One worker by name."""

    @abstractmethod
    def list(self, after: str | None, limit: int, *, backwards: bool = False) -> list[Worker]:
        """By name, from Z to A when ``backwards``; ``after`` is about that order."""

    @abstractmethod
    def replace(self, worker: Worker, if_version: int) -> bool:
        """Store a changed worker. ``last_contact_at`` is left to ``beats``."""

    @abstractmethod
    def revoke(self, worker_id: str, by: str, at: datetime) -> bool:
        """Delete its tokens and note who did it. ``False``: that was done before, or it does not exist."""

    @abstractmethod
    def grant_again(self, worker: Worker, token: Token, if_version: int) -> bool:
        """Give a revoked worker this token, with its owner and properties, and note that it is revoked no more.

        ``False``: it is not revoked, or not in this version.
        """

    @abstractmethod
    def beats(self, heard: Mapping[str, datetime]) -> None:
        """Note when workers were last heard, all in one write."""

    @abstractmethod
    def remove(self, worker_id: str) -> bool:
        """Delete a worker and its tokens. ``False``: it has live runs, or does not exist."""


class AccountStore(ABC):
    """Users, tokens and sessions."""

    @abstractmethod
    def add_user(self, user: User) -> bool:
        """Store a new user. ``False``: the name is taken (case does not tell names apart)."""

    @abstractmethod
    def add_first_user(self, user: User, setup_hash: str, now: datetime) -> bool:
        """Store the first administrator and use up the setup token, at once.

        ``False``: the token is unknown, used up or expired.
        """

    @abstractmethod
    def user(self, name: str) -> User | None:
        """One user."""

    @abstractmethod
    def users(self, after: str | None, limit: int, *, backwards: bool = False) -> list[User]:
        """By name, from Z to A when ``backwards``; ``after`` is about that order."""

    @abstractmethod
    def replace_user(self, user: User, if_version: int, *, end_sessions: bool) -> bool:
        """Store a changed user and, if asked, end all its sessions, at once (S-07, J42)."""

    @abstractmethod
    def dismiss_administrator(self, user: User, if_version: int) -> bool | None:
        """Like ``replace_user`` with its sessions ended, for one that stops being an enabled administrator.

        ``None``: no other enabled administrator would be left; nothing is changed (S-08).
        """

    @abstractmethod
    def add_token(self, token: Token) -> None:
        """Store a token."""

    @abstractmethod
    def token(self, digest: str) -> Token | None:
        """The token with this SHA-256, expired or not."""

    @abstractmethod
    def tokens(self, user: str) -> list[Token]:
        """A user's tokens, newest first (at most 1,000)."""

    @abstractmethod
    def touch_token(self, token_id: str, at: datetime) -> None:
        """Note a use: ``last_used_at``, and ``first_used_at`` if it is the first."""

    @abstractmethod
    def revoke_token(self, token_id: str) -> bool:
        """Delete a token."""

    @abstractmethod
    def add_session(self, session: Session) -> None:
        """Store a session."""

    @abstractmethod
    def session(self, session_id: str) -> Session | None:
        """One session, expired or not."""

    @abstractmethod
    def sessions(self, user: str) -> list[Session]:
        """A user's sessions, newest first (at most 1,000)."""

    @abstractmethod
    def extend_session(self, session_id: str, refreshed_at: datetime, expires_at: datetime) -> None:
        """Move the end of a session."""

    @abstractmethod
    def end_sessions(self, session_ids: Collection[str]) -> None:
        """Delete sessions."""

    @abstractmethod
    def purge(self, now: datetime) -> int:
        """Delete expired tokens and sessions, and idempotency keys older than KEY_LIFE; answers how many (J25).

        At most PURGED_AT_ONCE of each, so that nobody waits long: what is left goes with the next call.
        """


class Repository(ABC):
    """One database. Built closed; ``open`` before use, ``close`` once."""

    lineage: LineageStore
    projects: ProjectStore
    runs: RunStore
    late: LateStore
    workers: WorkerStore
    accounts: AccountStore

    @abstractmethod
    def open(self) -> None:
        """Connect, check settings and schema. Raises Conflict when another master holds it or the schema is newer."""

    @abstractmethod
    def close(self) -> None:
        """Finish what was accepted, then disconnect. A second call does nothing."""

    @abstractmethod
    def beat(self) -> None:
        """Return once whoever writes has come by: not while it is stuck (F44). Raises Unavailable when not open."""

    @abstractmethod
    def check(self) -> list[str]:
        """Everything that is wrong inside (integrity, foreign keys, settings); empty = well."""
