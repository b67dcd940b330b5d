"""F37: conversations of every released protocol are understood by both ends as when they were recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from appliance.wire import messages as m
from appliance.wire.local_runs import LocalRun
from appliance.wire.master_end import Merged, Stage
from tests.wire.conversations import AT, GOLDEN, OUTPUT, RECORDED, Conversation, committed

FILES = sorted(GOLDEN.glob("*.json"))


def _steps(file: Path) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads(file.read_text())
    return steps


def _covers(now: Any, then: Any) -> bool:
    """Whether everything that was said then is said now; a later version may say more."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and _covers(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(_covers, now, then))
    return bool(now == then)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_fault_F37_the_masters_end_understands_a_recorded_worker(file: Path) -> None:
    one = Conversation()
    for step in _steps(file):
        if step.get("fact") == "connect":
            one.begin()
        if step.get("frame") == "from worker":
            frame = bytes.fromhex(step["hex"]) if "hex" in step else step["text"]
            assert _covers(one.to_master(frame), step["means"]), step
        elif step.get("frame") == "from master" and one.master.stage is Stage.MERGING:
            assert one.greeting is not None
            reconcile = json.loads(step["text"]).get("reconcile", False)
            one.master.welcome(one.greeting, Merged(reconcile=reconcile), datetime.fromtimestamp(AT, UTC))
    assert one.master.closed is None
    assert not any('"type":"error"' in text for text in one.master.take())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_fault_F37_the_workers_end_understands_a_recorded_master(file: Path) -> None:
    runs = _held(file)
    one = Conversation(*runs, output=OUTPUT if any(run.committed for run in runs) else b"x" if runs else b"")
    for step in _steps(file):
        if "fact" in step:
            given = dict(step)
            one.do(given.pop("fact"), **given)
        elif step["frame"] == "from master":
            assert _covers(one.to_worker(step["text"]), step["means"]), step
        else:  # what it says today may differ; it goes on saying it
            _say_everything(one)
    assert '"type":"error"' not in "".join(_say_everything(one))


def _held(file: Path) -> list[LocalRun]:
    """What the worker had when it connected first."""
    hello = next(step["means"] for step in _steps(file) if step.get("means"))
    last = hello["Greeting"]["hello"].get("last")
    return [
        LocalRun(run=held.run, cap=held.cap, digest=held.digest, sizes=held.sizes)
        for held in msgspec.convert(hello["Greeting"]["held"], list[m.Held], strict=False)
    ] + ([] if last is None else [committed(last["run"])])


def _say_everything(one: Conversation) -> list[str]:
    said = []
    while (frame := one.worker.next()) is not None:
        if isinstance(frame, str):
            said.append(frame)
        else:
            one.worker.chunk(frame, one.log[frame.offset : frame.offset + frame.length])
    return said


def test_every_conversation_is_recorded_and_every_type_is_in_one() -> None:
    assert {f"v1-{name}" for name in RECORDED} <= {file.stem for file in FILES}
    texts = "".join(file.read_text() for file in FILES)
    tags = {msgspec.inspect.type_info(kind).tag for kind in get_args(m.FromWorker) + get_args(m.FromMaster)}  # type: ignore[attr-defined]  # structs
    assert {tag for tag in tags if f'\\"type\\":\\"{tag}\\"' not in texts} == set()


@pytest.mark.parametrize("name", RECORDED)
def test_todays_ends_hold_every_conversation_without_an_error(name: str) -> None:
    one = RECORDED[name]()
    assert one.master.closed is None
    assert all(step["text"].find('"code":"malformed"') < 0 for step in one.steps if "text" in step)
