"""Taking a committed run back into what the master lacks: it was restored from an older backup (F24)."""

from __future__ import annotations

import contextlib
import logging
import os

import msgspec

from appliance.wire.worker_end import WorkerEnd
from appliance.worker import rundir
from appliance.worker.journal import Journal
from appliance.worker.rundir import Damaged, RunDirectory

_log = logging.getLogger(__name__)


class _Asked(msgspec.Struct):
    request: str


def recall(directory: RunDirectory) -> str:
    """Note durably that the master does not have the run; answers the exact request. Idempotent.

    Raises Damaged when there is no run that could be told, OSError.
    """
    try:
        request = msgspec.convert(directory.read_object(rundir.REQUEST), _Asked).request
    except msgspec.ValidationError as error:
        raise Damaged(f"{directory.file(rundir.REQUEST)} is damaged: {error}") from None
    if directory.has(rundir.ACKED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(directory.file(rundir.ACKED))
        directory.disk.sync_directory(directory.path)
    return request


def tell_again(journal: Journal, end: WorkerEnd, run_id: str) -> None:
    """Recall a run and let it be told again; where it cannot be read any more, that is told."""
    try:
        request = recall(journal.run_directory(run_id))
        run = journal.run(run_id)
    except (Damaged, OSError) as error:
        _log.error("run %s cannot be told again: %s", run_id, error)
        request, run = "", None
    if run is None:
        end.not_recalled(run_id)
    else:
        end.recalled(run, request)
