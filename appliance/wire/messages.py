"""Every control message, as JSON text of at most MESSAGE_LIMIT bytes. ``id`` counts per connection, ``re`` answers one.

Unknown fields are ignored and unknown types answered with ``error unsupported``, so that N and N-1 understand each
other; everything else is strict.
"""

from __future__ import annotations

import re as regex
from typing import Annotated, Any

import msgspec

from appliance.wire import INVENTORY_PAGE, MESSAGE_LIMIT, Close, ProtocolError

UUID = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\n)$")]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
Hex64 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
Word = Annotated[str, msgspec.Meta(max_length=128)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
StreamNumber = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Stamp = Annotated[float, msgspec.Meta(ge=0, le=1e11)]  # seconds since 1970 by the worker's own clock
Sizes = Annotated[dict[StreamNumber, Size], msgspec.Meta(max_length=1024)]
Digests = Annotated[dict[StreamNumber, Hex64], msgspec.Meta(max_length=1024)]


class Message(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, omit_defaults=True):
    """What all messages carry."""

    id: Count
    re: Count | None = None


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run in an inventory: what the worker's journal holds of it. ``state``: accepted, started or exited."""

    run: UUID
    cap: Hex64
    digest: Hex64  # SHA-256 of the request
    state: Annotated[str, msgspec.Meta(pattern=r"^(accepted|started|exited)(?!\n)$")]
    sizes: Sizes = {}
    needs_secrets: bool = False
    proof: Hex64 | None = None  # of a committed run: what ``committed`` said


class Resume(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run in a welcome: the bytes the master has of each stream, and what it wants done."""

    run: UUID
    sizes: Sizes = {}
    abort: bool = False
    grace: Stamp = 30.0


Inventory = Annotated[list[Held], msgspec.Meta(max_length=INVENTORY_PAGE)]
Resumes = Annotated[list[Resume], msgspec.Meta(max_length=INVENTORY_PAGE)]
Runs = Annotated[list[UUID], msgspec.Meta(max_length=INVENTORY_PAGE)]


class Hello(Message, frozen=True, tag="hello"):
    """The worker's first message. ``more``: further ``inventory`` messages belong to it."""

    protocols: tuple[Count, Count]
    software: Word
    journal: Hex32
    instance: Hex32
    boot: Word
    at: Stamp
    cluster: Hex32 | None = None
    epoch: Count = 0
    incarnation: Hex32 | None = None
    slots: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    properties: Annotated[dict[Word, Any], msgspec.Meta(max_length=200)] = {}
    runs: Inventory = []
    more: bool = False
    recalls: bool = False  # it understands ``reconcile`` and ``recall``
    last: Held | None = None  # of the committed runs it still keeps, the newest
    complete_since: Stamp = 0.0  # of the runs committed later, every one is still kept; on the worker's clock


class InventoryPage(Message, frozen=True, tag="inventory"):
    """More of the inventory; after a welcome with ``reconcile``: the committed runs that the worker still keeps."""

    runs: Inventory
    more: bool = False


class Welcome(Message, frozen=True, tag="welcome"):
    """The master's answer to a whole hello. ``more``: further ``resume`` messages belong to it.

    ``forget``: the worker may delete these. ``unknown``: no valid cap; the worker keeps them for the operator.
    ``reconcile``: the master was restored from an older backup (F24); it wants to hear in ``inventory`` messages which
    committed runs the worker still keeps.
    """

    protocol: Count
    cluster: Hex32
    epoch: Count
    incarnation: Hex32
    at: Stamp
    run_window: Size
    worker_window: Size
    resume: Resumes = []
    forget: Runs = []
    unknown: Runs = []
    more: bool = False
    reconcile: bool = False


class ResumePage(Message, frozen=True, tag="resume"):
    """More of the welcome; later, the answer to ``recalled``."""

    resume: Resumes = []
    forget: Runs = []
    unknown: Runs = []
    more: bool = False


class Assign(Message, frozen=True, tag="assign"):
    """Run this. ``request`` is exact text: its digest is what ``cap`` signs. Secrets are no part of it."""

    run: UUID
    cap: Hex64
    request: Annotated[str, msgspec.Meta(max_length=MESSAGE_LIMIT)]
    attempt: Count = 1
    secrets: dict[str, str] = {}


class Accepted(Message, frozen=True, tag="accepted"):
    """The request is durable on the worker."""

    run: UUID


class Declined(Message, frozen=True, tag="declined"):
    """The worker does not take the run, and never began it."""

    run: UUID
    reason: Text


class Started(Message, frozen=True, tag="started"):
    """The first command began."""

    run: UUID
    at: Stamp


class Ack(Message, frozen=True, tag="ack"):
    """The master has this many bytes of the stream; cumulative."""

    run: UUID
    stream: StreamNumber
    offset: Size


class Nack(Message, frozen=True, tag="nack"):
    """The master has only these sizes: send again from there. ``restart``: a digest differed, send all from 0."""

    run: UUID
    sizes: Sizes
    restart: bool = False


class Results(Message, frozen=True, tag="results"):
    """Results while the run goes on: an object of at most RESULTS_INLINE bytes; the highest ``seq`` wins."""

    run: UUID
    seq: Count
    value: msgspec.Raw


class Exited(Message, frozen=True, tag="exited"):
    """The run's exit record. ``value``: the last results, if they fit RESULTS_INLINE; else stream 1 holds them."""

    run: UUID
    status: Annotated[str, msgspec.Meta(pattern=r"^(succeeded|failed|errored|aborted)(?!\n)$")]
    at: Stamp
    sizes: Sizes
    digests: Digests
    reason: Word | None = None
    sentence: Text = ""
    code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    signal: Word | None = None
    command: Word | None = None
    started_at: Stamp | None = None
    seq: Count = 0
    value: msgspec.Raw = msgspec.Raw(b"")
    notes: Annotated[list[Text], msgspec.Meta(max_length=20)] = []


class Committed(Message, frozen=True, tag="committed"):
    """The end of the run is durable on the master. ``proof``: that it said so, for one that does not know (F24)."""

    run: UUID
    proof: Hex64 | None = None


class Forget(Message, frozen=True, tag="forget"):
    """Delete the run now."""

    run: UUID


class Forgotten(Message, frozen=True, tag="forgotten"):
    """The run is deleted on the worker, or was never there."""

    run: UUID


class Recall(Message, frozen=True, tag="recall"):
    """Say again what was asked of you for this run, and treat it as not committed (F24)."""

    run: UUID


class Recalled(Message, frozen=True, tag="recalled"):
    """The exact request of a run that was recalled; durably not committed. ``unknown`` says that it is not here."""

    run: UUID
    request: Annotated[str, msgspec.Meta(max_length=MESSAGE_LIMIT)]


class Abort(Message, frozen=True, tag="abort"):
    """End the run: SIGTERM, ``grace`` seconds, SIGKILL. Repeated: no effect."""

    run: UUID
    grace: Stamp = 30.0


class Withdraw(Message, frozen=True, tag="withdraw"):
    """Did you accept this run? Answered by ``accepted`` or ``unknown``; never ends it."""

    run: UUID


class Unknown(Message, frozen=True, tag="unknown"):
    """The run is not in this journal."""

    run: UUID


class Beat(Message, frozen=True, tag="beat"):
    """A sign of life."""

    at: Stamp
    load: Stamp = 0.0
    disk_free: Size = 0


class Drain(Message, frozen=True, tag="drain"):
    """Take nothing new (``on``), or take work again. By either side."""

    on: bool = True


class ErrorReply(Message, frozen=True, tag="error"):
    """What was wrong with the message ``re``, for the log of the other side."""

    code: Word
    text: Text = ""


FromWorker = (
    Hello
    | InventoryPage
    | Accepted
    | Declined
    | Started
    | Results
    | Exited
    | Forgotten
    | Unknown
    | Recalled
    | Beat
    | Drain
    | ErrorReply
)
FromMaster = (
    Welcome | ResumePage | Assign | Ack | Nack | Committed | Forget | Recall | Abort | Withdraw | Drain | ErrorReply
)

DEPTH = 16
_NESTING = regex.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', regex.DOTALL)  # possessive: one pass over any text
_decode_from_worker = msgspec.json.Decoder(FromWorker).decode
_decode_from_master = msgspec.json.Decoder(FromMaster).decode
_encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct):
    type: str
    id: Count | None = None


def encode(message: Message) -> str:
    """The text to send. Raises ProtocolError when it would be over MESSAGE_LIMIT bytes; we never send more."""
    data = _encode(message)
    if len(data) > MESSAGE_LIMIT:
        raise ProtocolError(f"a {type(message).__name__} of {len(data)} bytes is over {MESSAGE_LIMIT}", "too_big")
    return data.decode()


def from_worker(text: str) -> FromWorker:
    """Read what a worker said. Raises ProtocolError."""
    message: FromWorker = _read(text, _decode_from_worker)
    return message


def from_master(text: str) -> FromMaster:
    """Read what the master said. Raises ProtocolError."""
    message: FromMaster = _read(text, _decode_from_master)
    return message


def _read(text: str, decode: Any) -> Any:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MESSAGE_LIMIT:
        raise ProtocolError("message over the limit", "too_big", close=Close.TOO_BIG)
    if text.count("[") + text.count("{") > DEPTH and nesting(text) > DEPTH:
        raise ProtocolError(f"nested deeper than {DEPTH}", "malformed")
    try:
        return decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _explain(text, error) from None


def _explain(text: str, error: Exception) -> ProtocolError:
    """Tell a message of an unknown type from one that is broken, and which message it was."""
    try:
        envelope = msgspec.json.decode(text, type=_Envelope)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ProtocolError(str(error)[:500])
    unknown = str(error).startswith("Invalid value") and str(error).endswith("`$.type`")
    return ProtocolError(str(error)[:500], "unsupported" if unknown else "malformed", re=envelope.id)


def nesting(text: str) -> int:
    """How deep arrays and objects are nested in JSON text; linear in its length."""
    depth = deepest = 0
    for token in _NESTING.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest
