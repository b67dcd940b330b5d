"""The things the appliance keeps. Plain values: no behaviour, no storage.

``*_at`` are aware UTC instants in whole milliseconds, ``*_id`` are keys, ``version`` counts the changes of a row for
compare-and-set.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from appliance.model.run_state import Reason, Status


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who or what triggered a run. Always set by the server (T1)."""

    type: str  # user | schedule | pipeline | controller | webhook | chain
    user: str | None = None
    token_id: str | None = None
    via: str | None = None  # website | service | command line; a hint, never used for a decision


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the deciding command ended: either ``code`` or ``signal``. ``command`` names it, as ``commands[0]``."""

    code: int | None = None
    signal: str | None = None
    command: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What is known of a run's log. ``verified``: size and SHA-256 of the worker and of the master agree."""

    size: int = 0
    sha256: str | None = None
    complete: bool = False
    verified: bool = False


class Run(msgspec.Struct, frozen=True):
    """One execution of a job. Its results are kept apart."""

    id: str
    project: str
    job: str
    number: int
    status: Status
    parameters: dict[str, Any]
    source: Source
    definition_version: str
    created_at: datetime
    reason: Reason | None = None
    sentence: str = ""
    assigned_at: datetime | None = None
    accepted_at: datetime | None = None  # the worker has it on disk: from here on it may have begun
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    worker_id: str | None = None
    worker: str | None = None
    slot: int | None = None
    exit: Exit | None = None
    log: Receipt = Receipt()
    should_abort: bool = False
    should_cancel: bool = False  # a withdraw is under way; the worker's word decides
    requested_by: str | None = None  # who asked for the abort or cancel
    notes: tuple[str, ...] = ()
    retry_of: str | None = None
    parent: str | None = None
    batch: str | None = None
    priority: int = 0
    version: int = 1
    recovered: bool = False  # a restored database did not know it, or its end: its worker did (F24)


class NewRun(msgspec.Struct, frozen=True):
    """What a trigger brings; the repository adds the number."""

    id: str
    project: str
    job: str
    parameters: dict[str, Any]
    source: Source
    definition_version: str
    created_at: datetime
    expires_at: datetime | None = None
    retry_of: str | None = None
    parent: str | None = None
    batch: str | None = None
    priority: int = 0


class IdempotencyKey(msgspec.Struct, frozen=True):
    """Makes a trigger safe to repeat. Keys of different owners never meet; ``digest`` is of the whole request."""

    owner: str
    key: str
    digest: str


class Lease(msgspec.Struct, frozen=True):
    """The row that gives a run to one worker. ``request`` is kept so that a repeated assignment is identical."""

    run_id: str
    worker_id: str
    journal_id: str
    epoch: int
    slot: int
    cap: str
    request: str
    granted_at: datetime


class Late(msgspec.Struct, frozen=True):
    """What a worker reported of a run that had been ended without it; it changes no status (4.4).

    ``ended_at`` is by the worker's clock, set right. Its streams are kept beside the run's own (``exit_records.LATE``).
    """

    status: str
    ended_at: datetime
    reported_at: datetime
    reason: str | None = None
    sentence: str = ""
    exit: Exit | None = None
    log: Receipt = Receipt()
    notes: tuple[str, ...] = ()
    results: str = ""  # JSON text of an object; those over RESULTS_INLINE are a stream


class StreamRecord(msgspec.Struct, frozen=True):
    """What of a stream is durable on the master. ``boot_id`` tells after a crash whether to trust the file's size."""

    run_id: str
    stream: int
    size: int
    crc32: int
    boot_id: str
    sha256: str | None = None


class Project(msgspec.Struct, frozen=True):
    """A project as it is in force. ``document`` is its part of the project file without jobs and schedules."""

    identifier: str
    display_name: str
    document: dict[str, Any]
    is_enabled: bool = True
    position: int = 0


class Job(msgspec.Struct, frozen=True):
    """A job as it is in force. ``document`` is as in the project file.

    ``findings`` say all that is wrong with it, ``blocking`` those of them that keep it from running at all.
    """

    project: str
    identifier: str
    display_name: str
    description: str
    document: dict[str, Any]
    definition_version: str
    is_enabled: bool = True
    findings: tuple[str, ...] = ()
    blocking: tuple[str, ...] = ()
    position: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """A schedule as it is in force."""

    project: str
    identifier: str
    display_name: str
    document: dict[str, Any]
    is_enabled: bool = True
    findings: tuple[str, ...] = ()
    position: int = 0


class Worker(msgspec.Struct, frozen=True):
    """A remote machine's account and what it last said of itself.

    ``properties`` come from its token and win over ``reported``. One that ``is_disconnected`` is not enabled, and may
    not come in; ``switched_at``: when somebody enabled, disabled, drained or disconnected it last. ``version_before``
    is what it came as until ``version_since``.
    """

    id: str
    name: str
    owner: str
    created_at: datetime
    properties: dict[str, Any] = {}
    reported: dict[str, Any] = {}
    version_text: str = ""
    version_before: str = ""
    version_since: datetime | None = None
    slots: int = 1
    is_enabled: bool = True
    is_draining: bool = False
    is_disconnected: bool = False
    switched_at: datetime | None = None
    switched_by: str | None = None
    journal_id: str | None = None
    retired_journals: tuple[str, ...] = ()  # that it had before; their like is never welcome again (F26)
    last_contact_at: datetime | None = None
    clock_offset: float = 0.0  # seconds its clock is ahead of ours, measured at hello
    revoked_at: datetime | None = None  # when its token was taken away; a new token ends this (F25)
    revoked_by: str | None = None
    version: int = 1

    @property
    def known(self) -> dict[str, Any]:
        """What jobs are matched on: what it reported, with the properties of its token over that (W4)."""
        return {**self.reported, **self.properties}

    @property
    def takes_work(self) -> bool:
        """Whether it may be given new runs (F43, W6)."""
        return self.is_enabled and not self.is_draining


class User(msgspec.Struct, frozen=True):
    """A person or a program with rights. ``site_roles``: administrator, auditor. ``project_roles``: project to role."""

    name: str
    created_at: datetime
    password_hash: str | None = None
    is_enabled: bool = True
    site_roles: frozenset[str] = frozenset()
    project_roles: dict[str, str] = {}
    version: int = 1


class Token(msgspec.Struct, frozen=True):
    """A stored token: only the SHA-256 (hex) of its 32 bytes is kept.

    ``kind``: ``user`` (``user`` set), ``worker`` (``worker_id`` set), or ``setup`` (makes the first administrator).
    """

    id: str
    kind: str
    hash: str
    created_at: datetime
    user: str | None = None
    worker_id: str | None = None
    label: str = ""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    first_used_at: datetime | None = None


class Session(msgspec.Struct, frozen=True):
    """A login on the website. ``id`` is the SHA-256 (hex) of what the cookie holds; ``csrf`` is bound to it."""

    id: str
    user: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    csrf: str
    address: str = ""
    agent: str = ""


class Lineage(msgspec.Struct, frozen=True):
    """Which life of which appliance this is (reliability.md 5.1)."""

    cluster: str
    epoch: int
    incarnation: str


class RecoveryWorker(msgspec.Struct, frozen=True):
    """A worker that the restored backup knows. ``merged_at``: since then the master knows all that the worker holds.

    ``journal_id``: the one that the backup knows of it; None: it had not connected yet.
    ``note`` says what was less than that, if anything: runs of the backup then wait for an operator.
    """

    id: str
    name: str
    is_enabled: bool = True
    journal_id: str | None = None
    merged_at: datetime | None = None
    note: str = ""


class Recovery(msgspec.Struct, frozen=True):
    """The time after a database was restored from a backup, until its workers have told what happened since (F24).

    ``backup_at`` is None where nobody said how old the backup is. ``workers`` are those of the backup that still exist,
    by name; ``recovered`` and ``failed`` count runs. ``ended_at``: nobody was waited for any more, or released.
    """

    number: int
    began_at: datetime
    backup_at: datetime | None = None
    workers: tuple[RecoveryWorker, ...] = ()
    recovered: int = 0
    failed: int = 0
    released_at: datetime | None = None
    released_by: str | None = None
    ended_at: datetime | None = None

    @property
    def waiting(self) -> tuple[RecoveryWorker, ...]:
        """Workers that have not told yet what they hold."""
        return tuple(worker for worker in self.workers if worker.merged_at is None)

    @property
    def less(self) -> tuple[RecoveryWorker, ...]:
        """Workers that have told what they hold, but not all that they have executed."""
        return tuple(worker for worker in self.workers if worker.merged_at is not None and worker.note)

    @property
    def is_open(self) -> bool:
        """Whether runs of the backup still wait."""
        return self.released_at is None and any(one.merged_at is None or one.note for one in self.workers)
