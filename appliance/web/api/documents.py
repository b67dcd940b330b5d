"""The documents of the service, exactly as contract.md section 7 names them. A change here changes the contract.

Times are texts, RFC 3339 UTC with milliseconds. What is not listed here never leaves: no hashes, no secrets (S-03).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from appliance.model.changes import KeyChange
from appliance.model.entities import Exit, Job, Late, Project, Receipt, Run, Session, Source, Token, User
from appliance.model.permissions import Principal
from appliance.model.times import rfc3339
from appliance.model.worker_states import WorkerState
from appliance.projects import RanWith

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


def time(at: datetime | None) -> str | None:
    """An instant as text."""
    return None if at is None else rfc3339(at)


class LateDocument(msgspec.Struct, frozen=True):
    """A worker's report about a run that had been ended without it. It changed nothing of the run."""

    status: str
    reason: str | None
    sentence: str
    exit: Exit | None
    ended_at: Time
    reported_at: Time
    log: Receipt
    notes: tuple[str, ...]
    results: dict[str, Any] | None


def late_document(late: Late) -> LateDocument:
    """The document of a late report."""
    return LateDocument(
        status=late.status,
        reason=late.reason,
        sentence=late.sentence,
        exit=late.exit,
        ended_at=rfc3339(late.ended_at),
        reported_at=rfc3339(late.reported_at),
        log=late.log,
        notes=late.notes,
        results=msgspec.json.decode(late.results) if late.results else None,
    )


class RunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A run. Its results have their own route."""

    id: str
    project: str
    job: str
    number: int
    status: str
    reason: str | None
    sentence: str
    parameters: dict[str, Any]
    source: Source
    worker: str | None
    slot: int | None
    retry_of: str | None
    parent: str | None
    batch: str | None
    created_at: Time
    assigned_at: Time | None
    started_at: Time | None
    finished_at: Time | None
    exit: Exit | None
    log: Receipt
    should_abort: bool
    definition_version: str
    notes: tuple[str, ...] = ()
    recovered: bool = False  # brought back by its worker after a restore from a backup
    late: LateDocument | None = None  # only in the document of one run
    waits: str = ""  # why it does not go on: no worker fits, or its worker is silent; only in the document of one run


def run_fields(run: Run, log_size: int | None = None) -> dict[str, Any]:
    """The fields of a run's document. ``log_size``: bytes so far, where they are known better than in the receipt."""
    log = run.log if log_size is None else msgspec.structs.replace(run.log, size=max(log_size, run.log.size))
    return {
        "id": run.id,
        "project": run.project,
        "job": run.job,
        "number": run.number,
        "status": str(run.status),
        "reason": None if run.reason is None else str(run.reason),
        "sentence": run.sentence,
        "parameters": run.parameters,
        "source": run.source,
        "worker": run.worker,
        "slot": run.slot,
        "retry_of": run.retry_of,
        "parent": run.parent,
        "batch": run.batch,
        "created_at": rfc3339(run.created_at),
        "assigned_at": time(run.assigned_at),
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "exit": run.exit,
        "log": log,
        "should_abort": run.should_abort,
        "definition_version": run.definition_version,
        "notes": run.notes,
        "recovered": run.recovered,
    }


def run_document(run: Run, log_size: int | None = None, late: Late | None = None, waits: str = "") -> RunDocument:
    """The document of a run. ``waits``: why it does not go on, "" if it does."""
    return RunDocument(**run_fields(run, log_size), late=None if late is None else late_document(late), waits=waits)


class AskedDocument(RunDocument, frozen=True, kw_only=True):
    """A run that was asked to end. ``outcome``: cancelled, withdrawing or aborting; ``message``: the same in words."""

    outcome: str
    message: str


class DefinitionDocument(msgspec.Struct, frozen=True):
    """The definition that a run was triggered with: ``job`` is as it stood in the project file.

    ``in_force``: the version of the job now; null when it was removed. ``changed``: what differs in that version.
    """

    version: str
    in_force: str | None
    changed: list[KeyChange]
    job: dict[str, Any]


def definition_document(ran: RanWith) -> DefinitionDocument:
    """The document of a definition."""
    return DefinitionDocument(ran.version, ran.in_force, list(ran.changed), ran.document)


class ProjectDocument(msgspec.Struct, frozen=True):
    """A project."""

    identifier: str
    display_name: str
    is_enabled: bool
    services: Any = None


def project_document(project: Project) -> ProjectDocument:
    """The document of a project."""
    return ProjectDocument(
        project.identifier, project.display_name, project.is_enabled, project.document.get("services")
    )


def job_document(job: Job, last_run: Run | None) -> dict[str, Any]:
    """A job as in the project file, plus its state. Keys of the file are kept as they are."""
    return {
        **job.document,
        "identifier": job.identifier,
        "project": job.project,
        "display_name": job.display_name,
        "description": job.description,
        "is_enabled": job.is_enabled,
        "definition_version": job.definition_version,
        "findings": list(job.findings),
        "last_run": None if last_run is None else run_document(last_run),
    }


class WorkerDocument(msgspec.Struct, frozen=True):
    """A worker. ``state`` is what it is doing, in a word, ``sentence`` what that means. ``left``: live runs that it has
    or may have; ``is_drained`` when a draining one has none. ``switched_*``: who enabled, disabled, drained or
    disconnected it last. ``load`` and ``disk_free`` (bytes) are of its last beat. ``refused`` and ``late`` count its
    messages about runs that it does not have, or that had ended, since the server started."""

    name: str
    owner: str
    version: str
    properties: dict[str, Any]
    slots: int
    used: int
    is_enabled: bool
    is_active: bool
    is_draining: bool
    last_contact_at: Time | None
    state: str = ""
    sentence: str = ""
    left: int = 0
    is_drained: bool = False
    is_disconnected: bool = False
    switched_at: Time | None = None
    switched_by: str | None = None
    revoked_at: Time | None = None
    revoked_by: str | None = None
    trouble: str = ""
    load: float | None = None
    disk_free: int | None = None
    version_before: str = ""
    version_since: Time | None = None
    refused: int = 0
    late: int = 0
    clock_offset: float = 0.0
    pools: tuple[str, ...] = ()


def worker_document(state: WorkerState) -> WorkerDocument:
    """The document of a worker."""
    worker = state.worker
    return WorkerDocument(
        name=worker.name,
        owner=worker.owner,
        version=worker.version_text,
        properties=state.properties,
        slots=worker.slots,
        used=state.used,
        is_enabled=worker.is_enabled,
        is_active=state.is_active,
        is_draining=worker.is_draining,
        last_contact_at=time(worker.last_contact_at),
        state=state.duty.value,
        sentence=state.sentence,
        left=state.left,
        is_drained=state.is_drained,
        is_disconnected=worker.is_disconnected,
        switched_at=time(worker.switched_at),
        switched_by=worker.switched_by,
        load=state.vitals.load if state.vitals else None,
        disk_free=state.vitals.disk_free if state.vitals else None,
        version_before=worker.version_before,
        version_since=time(worker.version_since),
        refused=state.refused,
        late=state.late,
        revoked_at=time(worker.revoked_at),
        revoked_by=worker.revoked_by,
        trouble=state.trouble,
        clock_offset=round(worker.clock_offset, 1),
    )


class UserDocument(msgspec.Struct, frozen=True):
    """A user."""

    name: str
    is_enabled: bool
    site_roles: list[str]
    project_roles: dict[str, str]
    has_password: bool
    created_at: Time


def user_document(user: User) -> UserDocument:
    """The document of a user."""
    return UserDocument(
        name=user.name,
        is_enabled=user.is_enabled,
        site_roles=sorted(user.site_roles),
        project_roles=dict(user.project_roles),
        has_password=user.password_hash is not None,
        created_at=rfc3339(user.created_at),
    )


class TokenDocument(msgspec.Struct, frozen=True):
    """A token, never its text."""

    id: str
    label: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


def token_document(token: Token) -> TokenDocument:
    """The document of a token."""
    return TokenDocument(
        token.id, token.label, rfc3339(token.created_at), time(token.expires_at), time(token.last_used_at)
    )


class MeDocument(msgspec.Struct, frozen=True):
    """Who asks, with its roles."""

    kind: str
    name: str
    site_roles: list[str]
    project_roles: dict[str, str]
    session_expires_at: Time | None = None


def me_document(principal: Principal, session: Session | None) -> MeDocument:
    """The document of a principal."""
    return MeDocument(
        kind=str(principal.kind),
        name=principal.name,
        site_roles=sorted(principal.site_roles),
        project_roles=dict(principal.project_roles),
        session_expires_at=None if session is None else rfc3339(session.expires_at),
    )
