"""Who the worker is, on disk: ``identity.json`` of its journal, durable at each change (reliability.md 5.4)."""

from __future__ import annotations

import contextlib
import secrets as randomness

import msgspec

from appliance.model.errors import Conflict, Invalid
from appliance.wire.local_runs import Identity
from appliance.worker.rundir import RunDirectory

NAME = "identity.json"


class IdentityFile:
    """The file, and what it said last."""

    def __init__(self, home: RunDirectory) -> None:
        """``home``: the journal's directory, whose files are written as those of a run."""
        self._home = home
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """As it was last read or written."""
        assert self._identity is not None, "the journal is not open"
        return self._identity

    @property
    def exists(self) -> bool:
        """Whether there is one: else ``open`` makes a new journal."""
        return self._home.has(NAME)

    def open(self, *, has_runs: bool) -> None:
        """Read it, or make it with a new journal id. Raises Invalid when it is damaged, or missing beside runs."""
        raw = self._home.read(NAME)
        if raw is None:
            if has_runs:
                raise Invalid(f"{self._home.path} holds runs but no {NAME}: restore it, or empty the directory")
            self._write(Identity(journal=randomness.token_hex(16)))
            return
        try:
            self._identity = msgspec.json.decode(raw, type=Identity)
        except msgspec.DecodeError:
            raise Invalid(f"{self._home.file(NAME)} is damaged: restore it, or empty the directory") from None

    def keep(self, identity: Identity) -> None:
        """Make it durable. Raises Conflict when the cluster or the journal id would change (4005), OSError."""
        known = self.identity
        if identity.journal != known.journal or known.cluster not in (None, identity.cluster):
            raise Conflict("this worker belongs to another appliance: join it anew with an empty directory")
        if identity != known:
            self._write(identity)

    def _write(self, identity: Identity) -> None:
        self._home.replace(NAME, msgspec.json.encode(identity))
        self._identity = identity
        with contextlib.suppress(OSError):
            self._home.reserve(NAME)  # so that a full disk does not keep the worker from a server that has restarted
