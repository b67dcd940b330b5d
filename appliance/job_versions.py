"""The definitions that jobs have and had, read once each: a version never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from appliance.db.repository import Repository
from appliance.model import definitions

REMEMBERED = 1000


class JobVersions:
    """Versions of jobs by name. Safe to use from any thread."""

    def __init__(self, repository: Repository) -> None:
        self._store = repository.projects
        self._lock = threading.Lock()
        self._read: OrderedDict[str, definitions.JobDocument] = OrderedDict()

    def get(self, version: str, document: dict[str, Any] | None = None) -> definitions.JobDocument:
        """A version; ``document`` is what it says, where the caller has it. Raises LookupError for one that is gone."""
        with self._lock:
            known = self._read.get(version)
        if known is not None:
            return known
        raw = document if document is not None else self._store.definition(version)
        if raw is None:
            raise LookupError(f"version {version} of a job is gone")
        read = definitions.job_of(raw)
        with self._lock:
            self._read[version] = read
            while len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        return read
