"""Storage and use cases, wired: what the server stands on, and all that local commands need of it."""

from __future__ import annotations

import logging
import os
import secrets
from functools import cached_property
from pathlib import Path

from appliance.accounts import Accounts
from appliance.clock import Clock, SteadyClock, SystemClock
from appliance.config import boot_id, read_master_key
from appliance.configuration import Configuration
from appliance.db.logs import LogStore
from appliance.db.repository import Repository
from appliance.db.room import Room
from appliance.db.sqlite import SqliteRepository
from appliance.db.sqlite import dry_run as pending_migrations
from appliance.events import Events
from appliance.inventories import Inventories
from appliance.job_versions import JobVersions
from appliance.leases import Leases
from appliance.lost_runs import LostRuns
from appliance.model import caps
from appliance.model.requests import Limits
from appliance.model.run_state import Status
from appliance.passwords import PasswordLimits
from appliance.projects import Projects
from appliance.recoveries import Recoveries
from appliance.runs import Runs
from appliance.settings import ServerSettings
from appliance.strays import Strays
from appliance.workers import Nobody, Presence, Workers

_log = logging.getLogger(__name__)

DATABASE_FILE = "orchestra.db"
LOGS_DIRECTORY = "logs"


class Foundation:
    """The lower half of the Appliance: nothing here listens, dispatches or loops."""

    def __init__(self, settings: ServerSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()

    # ---- for the upper half to say more

    @property
    def presence(self) -> Presence:
        """Who is connected: nobody, where no master runs."""
        return Nobody()

    def waiting(self) -> int:
        """How many runs are pending."""
        return self.repository.runs.counts().get(Status.PENDING, 0)

    def on_fatal(self, error: Exception) -> None:
        """Storage has failed and writes nothing any more (F18)."""
        _log.critical("storage error: %s", error)

    # ---- time

    @cached_property
    def steady(self) -> SteadyClock:
        """The clock that logins, tokens and runs expire by: it does not follow every jump of the machine's (F22)."""
        return SteadyClock(self.clock)

    # ---- storage

    @cached_property
    def directory(self) -> Path:
        """The data directory."""
        return self.settings.data.directory

    @cached_property
    def master_key(self) -> bytes:
        """Everything that this appliance signs hangs on it."""
        return read_master_key(self.directory)

    @cached_property
    def room(self) -> Room:
        """Whether there is room on the disk of the data directory, and the reserve for when there is none."""
        return Room(self.directory, self.clock)

    @cached_property
    def repository(self) -> Repository:
        """Everything that is stored, except bytes of output. Opened by whoever starts; once."""
        return self.new_repository()

    def open_storage(self) -> None:
        """Open the database, and go on from the time that is in it."""
        self.repository.open()
        self.steady.resume(self.repository.lineage.clock_mark())

    def new_repository(self) -> Repository:
        """A repository over the database that the settings name, not yet open."""
        logs = self.directory / LOGS_DIRECTORY
        may_make = not (logs.is_dir() and any(logs.iterdir()))  # a lost database is not followed by an empty one (F20)
        path = self.directory / DATABASE_FILE
        return SqliteRepository(path, on_fatal=self.on_fatal, room=self.room, may_make=may_make)

    @cached_property
    def logs(self) -> LogStore:
        """The bytes of output, results and notes of runs."""
        return LogStore(self.directory / LOGS_DIRECTORY, boot_id(), on_fatal=self.on_fatal, room=self.room)

    @cached_property
    def events(self) -> Events:
        """Where parts hear of what others did."""
        return Events()

    # ---- use cases

    @cached_property
    def limits(self) -> Limits:
        """What holds for runs whose job says nothing of its own."""
        limits = self.settings.limits
        return Limits(
            grace=limits.abort_grace,
            teardown_timeout=limits.teardown_timeout,
            log_size=limits.log_size,
            expires=limits.pending_expires,
            lost_after=limits.lost_after,
            url=self.settings.server.base_url or "",
        )

    @cached_property
    def runs(self) -> Runs:
        """Runs, for people and programs."""
        return Runs(
            self.repository,
            self.logs,
            self.clock,
            self.events,
            self.job_versions,
            self.limits,
            waiting=self.waiting,
            admit=self.room.admit,
            holds=self.recoveries.holds,
            steady=self.steady,
        )

    @cached_property
    def job_versions(self) -> JobVersions:
        """The definitions that jobs have and had."""
        return JobVersions(self.repository)

    @cached_property
    def strays(self) -> Strays:
        """Words of workers that led nowhere."""
        return Strays()

    @cached_property
    def leases(self) -> Leases:
        """Runs, for workers."""
        return Leases(self.repository, self.runs, self.logs, self.clock, self._cap_key, self.strays)

    @cached_property
    def lost_runs(self) -> LostRuns:
        """Runs that an operator gives up."""
        return LostRuns(self.repository, self.runs, self.leases, self.workers)

    @cached_property
    def inventories(self) -> Inventories:
        """What returning workers hold."""
        return Inventories(
            self.repository, self.runs, self.leases, self.logs, self.clock, self._cap_key, self.recoveries
        )

    @cached_property
    def recoveries(self) -> Recoveries:
        """What waits after a restore from a backup."""
        return Recoveries(self.repository, self.clock, self.events)

    @cached_property
    def _cap_key(self) -> bytes:
        return caps.derive(self.master_key, "cap")

    def new_incarnation(self) -> str:
        """The name of the life of the master that begins."""
        return caps.make_incarnation(self._cap_key, secrets.token_bytes(8))

    @cached_property
    def projects(self) -> Projects:
        """Projects and jobs in force, and their flags."""
        return Projects(self.repository, self.clock, self.events)

    @cached_property
    def configuration(self) -> Configuration:
        """The project files as a whole."""
        return Configuration(self.projects, self.runs, self.settings.projects.paths)

    @cached_property
    def workers(self) -> Workers:
        """Workers, their tokens, and whether they are connected."""
        return Workers(self.repository, self.steady, self.events, self.presence, secrets.token_bytes, self.strays)

    @cached_property
    def accounts(self) -> Accounts:
        """Users, tokens and sessions."""
        limits = self.settings.limits
        return Accounts(
            self.repository,
            self.steady,
            self.events,
            secrets.token_bytes,
            self.master_key,
            PasswordLimits(
                iterations=limits.password_iterations,
                logins_per_minute=limits.logins_per_minute,
                login_burst=limits.login_burst,
                cores=os.cpu_count() or 1,
                http_threads=limits.http_threads,
            ),
        )

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        """Bring the schema up to date, with a backup before, or only say what would be done. Not while it is open."""
        steps = pending_migrations(self.directory / DATABASE_FILE)
        pending = [f"{step.name}: {len(step.statements)} statements" for step in steps]
        if not dry_run and pending:
            once = self.new_repository()  # a repository is opened once in its life
            once.open()
            once.close()
        return pending
