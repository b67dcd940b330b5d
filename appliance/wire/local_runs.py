"""What passes between the worker's end of the protocol and the disk side of the worker: values only."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import msgspec

WORD = 128  # characters of a name in a message


class Identity(msgspec.Struct, frozen=True):
    """What the journal remembers of itself and of the master it last synchronised with."""

    journal: str
    cluster: str | None = None
    epoch: int = 0
    incarnation: str | None = None


class Facts(TypedDict):
    """What the worker's process says of itself in ``hello``, in the fields of that name."""

    instance: str
    software: str
    boot: str
    at: float
    slots: int
    properties: dict[str, object]
    complete_since: NotRequired[float]


class Record(msgspec.Struct, frozen=True):
    """A run's exit record, as ``exited`` says it."""

    status: str
    at: float
    digests: dict[int, str]
    reason: str | None = None
    sentence: str = ""
    code: int | None = None
    signal: str | None = None
    command: str | None = None
    started_at: float | None = None
    seq: int = 0
    value: bytes = b""
    notes: tuple[str, ...] = ()

    def told(self, sizes: dict[int, int]) -> dict[str, object]:
        """The fields of ``exited``, each cut to what the protocol carries; ``sizes`` of the streams."""
        results = {"value": msgspec.Raw(self.value)} if self.value else {}
        return {
            "status": self.status,
            "at": self.at,
            "sizes": sizes,
            "digests": self.digests,
            "reason": _cut(self.reason, WORD),
            "sentence": self.sentence[:1000],
            "code": self.code,
            "signal": _cut(self.signal, WORD),
            "command": _cut(self.command, WORD),
            "started_at": self.started_at,
            "seq": self.seq,
            **results,
            "notes": [note[:500] for note in self.notes[:20]],
        }


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


class LocalRun(msgspec.Struct):
    """One run as the journal holds it, and how far it was told on this connection."""

    run: str
    cap: str
    digest: str
    sizes: dict[int, int] = {}
    started_at: float | None = None
    record: Record | None = None
    needs_secrets: bool = False
    committed: bool = False  # the master has its end; it waits here for its retention
    committed_at: float = 0.0  # seconds since 1970
    proof: str | None = None  # that it was committed
    results: tuple[int, bytes] | None = None
    # told on this connection
    resumed: bool = False
    sent: dict[int, int] = {}
    acked: dict[int, int] = {}
    told_started: bool = False
    told_results: int = -1
    told_exit: bool = False
    nacks: int = 0

    @property
    def flying(self) -> int:
        """Bytes that were sent and not yet acknowledged; an exit that was told ends the count."""
        return 0 if self.told_exit else sum(sent - self.acked.get(stream, 0) for stream, sent in self.sent.items())


class Keep(msgspec.Struct, frozen=True):
    """Make this identity durable, then call ``resume``."""

    identity: Identity


class Store(msgspec.Struct, frozen=True):
    """Make the request durable, then call ``accepted`` and launch it; or call ``declined``."""

    run: str
    cap: str
    request: str
    secrets: dict[str, str]


class Secrets(msgspec.Struct, frozen=True):
    """The secrets of a run that is stored already but has lost them."""

    run: str
    secrets: dict[str, str]


class Abort(msgspec.Struct, frozen=True):
    """Make the intent durable, then end the run."""

    run: str
    grace: float


class Commit(msgspec.Struct, frozen=True):
    """The master has the end of the run: note it durably with its proof, keep the run for its retention."""

    run: str
    proof: str | None = None


class Recall(msgspec.Struct, frozen=True):
    """Note durably that the master lacks this run, then call ``recalled``; or call ``not_recalled`` (F24)."""

    run: str


class Delete(msgspec.Struct, frozen=True):
    """Delete the run durably, then call ``forgotten``."""

    run: str


class Draining(msgspec.Struct, frozen=True):
    """The master wants this worker to take nothing new, or work again."""

    on: bool


class Refused(msgspec.Struct, frozen=True):
    """The master answered the message ``re`` with an error."""

    code: str
    text: str
    re: int | None = None


Action = Keep | Store | Secrets | Abort | Commit | Recall | Delete | Draining | Refused


class Read(msgspec.Struct, frozen=True):
    """Read these bytes of a stream and hand them to ``chunk``."""

    run: str
    stream: int
    offset: int
    length: int
