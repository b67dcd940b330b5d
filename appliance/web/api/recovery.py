"""What waits after a restore from a backup, and releasing it (F24)."""

from __future__ import annotations

import msgspec

from appliance.model.entities import Recovery
from appliance.model.permissions import Right
from appliance.recoveries import show_recovery
from appliance.web.api.documents import Time, time
from appliance.web.routes import Parts, Request, Response, Route, document


class RecoveryWorkerDocument(msgspec.Struct, frozen=True):
    """A worker of the backup. ``merged_at``: since then the server knows all that it holds; ``note``: what was less."""

    name: str
    is_enabled: bool
    merged_at: Time | None
    note: str


class RecoveryDocument(msgspec.Struct, frozen=True):
    """The newest recovery. ``is_open``: runs of the backup wait for ``workers`` that are not merged.

    ``began_at`` is null where this database was never restored, ``backup_at`` where nobody said how old it is.
    ``recovered`` and ``failed`` count runs; ``sentence`` says all of it.
    """

    is_open: bool
    sentence: str
    began_at: Time | None = None
    backup_at: Time | None = None
    recovered: int = 0
    failed: int = 0
    workers: tuple[RecoveryWorkerDocument, ...] = ()
    released_at: Time | None = None
    released_by: str | None = None
    ended_at: Time | None = None


def show(request: Request, parts: Parts) -> Response:
    """The newest recovery, ended or not."""
    return document(_document(parts.recoveries.newest()))


def release(request: Request, parts: Parts) -> Response:
    """Wait for no worker any more; 409 when nothing waits."""
    return document(_document(parts.recoveries.release(request.someone.name)))


def _document(recovery: Recovery | None) -> RecoveryDocument:
    if recovery is None:
        return RecoveryDocument(is_open=False, sentence="never restored from a backup")
    return RecoveryDocument(
        is_open=recovery.is_open,
        sentence=show_recovery(recovery),
        began_at=time(recovery.began_at),
        backup_at=time(recovery.backup_at),
        recovered=recovery.recovered,
        failed=recovery.failed,
        workers=tuple(
            RecoveryWorkerDocument(one.name, one.is_enabled, time(one.merged_at), one.note) for one in recovery.workers
        ),
        released_at=time(recovery.released_at),
        released_by=recovery.released_by,
        ended_at=time(recovery.ended_at),
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/recovery",
        show,
        Right.MANAGE_USERS,
        answer=RecoveryDocument,
        summary="What waits after a restore from a backup",
    ),
    Route(
        "POST",
        "/api/v1/recovery/release",
        release,
        Right.MANAGE_USERS,
        answer=RecoveryDocument,
        summary="Give out the runs of the backup",
    ),
)
