"""Whole conversations of the two ends, recorded as they are said today and replayed against every later version.

``python -m tests.wire.conversations`` writes the files of ``golden/`` that are not there yet. One that is there is not
written again: it is what a worker or a master of that version says, and must be understood for ever (reliability 5.8).

A conversation is a list of steps: ``fact`` (something happens on the worker's disk) and ``frame`` (one end said this;
``means`` is what the other made of it).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from appliance.model.caps import request_digest
from appliance.wire import frames, inventory, master_end
from appliance.wire import messages as m
from appliance.wire.local_runs import Identity, LocalRun, Read, Record
from appliance.wire.master_end import Greeting, MasterEnd, Merged
from appliance.wire.worker_end import WorkerEnd

GOLDEN = Path(__file__).with_name("golden")
CLUSTER, INCARNATION, JOURNAL, INSTANCE = "c" * 32, "d" * 32, "a" * 32, "b" * 32
RUN, OTHER = "0b5ef0d1-7a29-4a8b-9d7e-3f5a4c1e2d60", "1c6f01e2-8b3a-4b9c-8e8f-4a6b5d2f3e71"
CAP, REQUEST = "e" * 64, '{"format":1,"run":"…"}'
OUTPUT = b"hello\n\xff\x00 world"
AT = 1_800_000_000.0
DONE = Record(
    status="succeeded",
    at=AT + 2,
    digests={0: sha256(OUTPUT).hexdigest()},
    code=0,
    command="commands[0]",
    started_at=AT + 1,
    seq=1,
    value=b'{"tests":3}',
)
ABORTED = msgspec.structs.replace(
    DONE, status="aborted", reason="requested", sentence="ended by bob", code=None, value=b""
)
PAGE = "INVENTORY_PAGE"
Step = dict[str, Any]


def plain(value: object) -> Any:
    """An event or an action as JSON values, with its type."""
    if isinstance(value, frames.Data):
        return {
            "Data": {
                "run": value.run,
                "stream": value.stream,
                "offset": value.offset,
                "hex": bytes(value.payload).hex(),
            }
        }
    return {type(value).__name__: json.loads(msgspec.json.encode(value))}


def ended(run_id: str) -> LocalRun:
    """A run on the worker's disk that is over."""
    digest = request_digest(REQUEST)
    return LocalRun(run=run_id, cap=CAP, digest=digest, sizes={0: len(OUTPUT)}, started_at=AT + 1, record=DONE)


def committed(run_id: str, at: float = AT) -> LocalRun:
    """The same, and the master has said that it has it."""
    return msgspec.structs.replace(ended(run_id), committed=True, committed_at=at)


class Conversation:
    """Both ends, and a worker's disk that does at once what the end asks for. Frames are carried one by one."""

    def __init__(self, *runs: LocalRun, output: bytes = b"") -> None:
        self.worker = WorkerEnd(Identity(journal=JOURNAL), runs, request_digest)
        self.log = output
        self.steps: list[Step] = []
        self.begin()

    def begin(self) -> None:
        self.master = MasterEnd(CLUSTER, 3, INCARNATION, lambda: 0.0)
        self.greeting: Greeting | None = None
        self.heard: list[Any] = []

    # ---- playing

    def fact(self, name: str, **given: Any) -> None:
        """Something happens on the worker."""
        self.steps.append({"fact": name, **given})
        self.do(name, **given)

    def do(self, name: str, **given: Any) -> None:
        match name:
            case "connect":
                self.begin()
                self.worker.connect(
                    instance=INSTANCE, software="orchestra-appliance 0.1", boot="boot", at=AT, slots=2,
                    properties={"os": "linux"},
                )  # fmt: skip  # one sentence
            case "accepted" | "started" | "drain" | "declined":
                getattr(self.worker, name)(*given.values())
            case "beat":
                self.worker.beat(AT, 0.5, 1 << 30)
            case "printed":
                self.log += bytes.fromhex(given["hex"])
                self.worker.grew(given["run"], {0: len(self.log)})
            case "results":
                self.worker.results(given["run"], 1, b'{"tests":1}')
            case "exited":
                record = ABORTED if given["status"] == "aborted" else DONE
                self.worker.exited(given["run"], {0: len(self.log)}, record)
            case "resume":
                self.worker.resume()
            case "forgotten":
                self.worker.forgotten(given["run"])
            case "recalled":
                self.worker.recalled(ended(given["run"]), REQUEST)
            case "not_recalled":
                self.worker.not_recalled(given["run"])
            case _:
                raise AssertionError(name)

    def say(self, kind: Callable[..., m.Message], **fields: object) -> None:
        """The master says something."""
        self.master.say(kind, **fields)
        self.carry()

    def welcome(self, merged: Merged) -> None:
        assert self.greeting is not None
        self.master.welcome(self.greeting, merged, datetime.fromtimestamp(AT, UTC))
        self.carry()

    def carry(self) -> None:
        """Carry everything that is said now, one frame after the other, both ways."""
        while True:
            for text in self.master.take():
                self.steps.append({"frame": "from master", "text": text, "means": self.to_worker(text)})
            frame = self.worker.next()
            if isinstance(frame, Read):
                chunk = self.worker.chunk(frame, self.log[frame.offset : frame.offset + frame.length])
                assert chunk is not None
                self.steps.append({"frame": "from worker", "hex": chunk.hex(), "means": self.to_master(chunk)})
            elif frame is not None:
                self.steps.append({"frame": "from worker", "text": frame, "means": self.to_master(frame)})
            else:
                return

    def to_master(self, frame: str | bytes) -> Any:
        event = self.master.receive(frame)
        if isinstance(event, Greeting):
            self.greeting = event
        return None if event is None else plain(event)

    def to_worker(self, text: str) -> list[Any]:
        return [plain(action) for action in self.worker.receive(text)]

    def open(self, *resume: m.Resume, **merged: Any) -> None:
        """Connect, as far as the welcome."""
        self.fact("connect")
        self.carry()
        self.welcome(Merged(resume=resume, **merged))
        self.fact("resume")
        self.carry()

    def assign(self) -> None:
        self.say(m.Assign, run=RUN, cap=CAP, request=REQUEST, secrets={"ORCHESTRA_TOKEN": "t"})


# ---- what is recorded


def whole_run() -> Conversation:
    """From hello to committed and forgotten."""
    one = Conversation()
    one.open()
    one.assign()
    for name, given in (
        ("accepted", {}), ("started", {"at": AT + 1}), ("printed", {"hex": OUTPUT.hex()}), ("results", {}),
    ):  # fmt: skip  # a table
        one.fact(name, run=RUN, **given)
        one.carry()
    one.say(m.Ack, run=RUN, stream=0, offset=len(OUTPUT))
    one.fact("beat")
    one.fact("exited", run=RUN, status="succeeded")
    one.carry()
    one.say(m.Committed, run=RUN)
    one.say(m.Forget, run=RUN)
    one.fact("forgotten", run=RUN)
    one.carry()
    return one


def cut() -> Conversation:
    """The cable is cut in the middle of the output; the worker goes on at the master's byte."""
    one = Conversation()
    one.open()
    one.assign()
    one.fact("accepted", run=RUN)
    one.fact("started", run=RUN, at=AT + 1)
    one.fact("printed", run=RUN, hex=OUTPUT.hex())
    one.carry()
    one.open(m.Resume(run=RUN, sizes={0: 5}))
    one.fact("exited", run=RUN, status="succeeded")
    one.carry()
    one.say(m.Committed, run=RUN)
    return one


def withdrawn() -> Conversation:
    """A run that the worker does not know is asked back, and one that it has."""
    one = Conversation()
    one.open()
    one.say(m.Withdraw, run=OTHER)
    one.assign()
    one.fact("accepted", run=RUN)
    one.carry()
    one.say(m.Withdraw, run=RUN)
    return one


def aborted() -> Conversation:
    """An abort, said twice and once more in a welcome."""
    one = Conversation()
    one.open()
    one.assign()
    one.fact("accepted", run=RUN)
    one.carry()
    one.say(m.Abort, run=RUN, grace=30.0)
    one.say(m.Abort, run=RUN, grace=30.0)
    one.open(m.Resume(run=RUN, abort=True))
    one.fact("exited", run=RUN, status="aborted")
    one.carry()
    one.say(m.Committed, run=RUN)
    return one


def nacked() -> Conversation:
    """Bytes are missing, then a digest differs, then all is well."""
    one = Conversation()
    one.open()
    one.assign()
    one.fact("accepted", run=RUN)
    one.fact("printed", run=RUN, hex=OUTPUT.hex())
    one.carry()
    one.say(m.Nack, run=RUN, sizes={0: 3})
    one.fact("exited", run=RUN, status="succeeded")
    one.carry()
    one.say(m.Nack, run=RUN, sizes={0: 0}, restart=True)
    one.say(m.Committed, run=RUN)
    return one


def declined() -> Conversation:
    """A run that cannot be stored, and a drain by either side."""
    one = Conversation()
    one.open()
    one.assign()
    one.fact("declined", run=RUN, reason="the worker's disk is nearly full")
    one.carry()
    one.fact("drain", on=True)
    one.carry()
    one.say(m.Drain, on=True)
    one.say(m.ErrorReply, code="not_yours", text="not leased to this worker")
    return one


def large_inventory() -> Conversation:
    """An inventory and a welcome of several pages, which are short here."""
    runs = [f"{number:08x}-7a29-4a8b-9d7e-3f5a4c1e2d60" for number in range(5)]
    pages = contextlib.ExitStack()
    for end in (inventory, master_end):
        pages.callback(setattr, end, PAGE, getattr(end, PAGE))
        setattr(end, PAGE, 2)
    with pages:
        one = Conversation(*(LocalRun(run=run, cap=CAP, digest="f" * 64, sizes={0: 1}) for run in runs), output=b"x")
        one.open(*(m.Resume(run=run, sizes={0: 1}) for run in runs[:3]), forget=(runs[3],), unknown=(runs[4],))
    return one


def recalled() -> Conversation:
    """The master was restored from a backup: a committed run is told again, another one cannot be (F24)."""
    one = Conversation(committed(RUN), output=OUTPUT)
    one.open(reconcile=True)
    one.say(m.Recall, run=OTHER)
    one.say(m.Recall, run=RUN)
    one.fact("recalled", run=RUN)
    one.carry()
    one.say(m.ResumePage, resume=[m.Resume(run=RUN, sizes={0: 3})])
    one.say(m.Committed, run=RUN)
    return one


RECORDED = {
    made.__name__: made for made in (whole_run, cut, withdrawn, aborted, nacked, declined, large_inventory, recalled)
}

if __name__ == "__main__":
    for name, made in RECORDED.items():
        file = GOLDEN / f"v1-{name}.json"
        if not file.exists():
            steps = ",\n".join(json.dumps(step, ensure_ascii=False) for step in made().steps)
            file.write_text(f"[\n{steps}\n]\n")
