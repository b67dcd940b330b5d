"""The secrets of runs that wait for their start: outside their directories, best on tmpfs, and never durable (S-51)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


class RunSecrets:
    """A directory with a file (0600) per run; its executor removes it once the first command has begun."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, run_id: str, secrets: Mapping[str, str]) -> None:
        """Write the secrets of a run. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._path(run_id), flags, 0o600), "wb") as file:
            file.write(json.dumps(dict(secrets)).encode())

    def file(self, run_id: str) -> Path | None:
        """The file of a run; None when it has none."""
        path = self._path(run_id)
        return path if path.exists() else None

    def remove(self, run_id: str) -> None:
        """Nothing if there is none. Raises OSError."""
        self._path(run_id).unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self.directory / f"{run_id}.secrets"
