"""F13, F36: an evil master against the worker: every word in every state, again, late, forged, oversized, unknown.

Whatever it says: nothing is begun twice (I2), nothing is deleted but by ``forget`` (I5), and what cannot go on ends the
connection with a code. ``forget`` deletes by the table of 5.3 what the master has deleted, committed or not: the master
owns that wish, and says it only about runs that it signed and no longer has.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from appliance.model.caps import request_digest
from appliance.wire import MESSAGE_LIMIT, Close, ProtocolError
from appliance.wire import messages as m
from appliance.wire.local_runs import (
    Abort,
    Action,
    Commit,
    Delete,
    Draining,
    Keep,
    LocalRun,
    Recall,
    Refused,
    Secrets,
    Store,
)
from appliance.wire.worker_end import UNSAID
from tests.wire.messages_of import CAP, FROM_MASTER, RUN
from tests.wire.test_worker_end import DIGEST, DONE, REQUEST, End, local, welcome

OTHER = "1c6f01e2-8b3a-4b9c-8e8f-4a6b5d2f3e71"


def _open(*runs: LocalRun) -> End:
    return End(*runs).open(*[m.Resume(run=one.run, sizes={}) for one in runs if not one.committed])


def _storing() -> End:
    end = _open()
    end.assign()
    return end


def _told() -> End:
    end = _open(local(record=DONE))
    end.said()
    return end


STATES: dict[str, Callable[[], End]] = {
    "unknown": _open,
    "on its way to the disk": _storing,
    "accepted": lambda: _open(local()),
    "needs its secrets": lambda: _open(local(needs_secrets=True)),
    "started": lambda: _open(local(started_at=1.0, sizes={0: 5})),
    "exited": lambda: _open(local(record=DONE)),
    "exited, and told": _told,
    "committed": lambda: _open(local(record=DONE, committed=True)),
}
WORDS: dict[str, m.Message] = {
    "assign": m.Assign(id=7, run=RUN, cap=CAP, request=REQUEST, secrets={"T": "t"}),
    "assign of something else": m.Assign(id=7, run=RUN, cap=CAP, request='{"format":1,"commands":["rm"]}'),
    "ack": m.Ack(id=7, run=RUN, stream=0, offset=1 << 40),
    "ack of stream 9": m.Ack(id=7, run=RUN, stream=9, offset=1),
    "nack": m.Nack(id=7, run=RUN, sizes={0: 1 << 40, 9: 7}),
    "nack with restart": m.Nack(id=7, run=RUN, sizes={}, restart=True),
    "committed": m.Committed(id=7, run=RUN),
    "forget": m.Forget(id=7, run=RUN),
    "abort": m.Abort(id=7, run=RUN, grace=1e11),
    "withdraw": m.Withdraw(id=7, run=RUN),
    "recall": m.Recall(id=7, run=RUN),
    "drain": m.Drain(id=7, on=True),
    "error": m.ErrorReply(id=7, code="x", text="y"),
    "welcome": welcome(forget=[RUN]),
    "resume": m.ResumePage(id=7, resume=[m.Resume(run=RUN, sizes={0: 1 << 50}, abort=True)], forget=[RUN]),
}
ENDS = {"welcome", "resume"}  # out of order: the connection is closed, and nothing of it is done
RUNS = {"accepted", "needs its secrets", "started"}
HELD = RUNS | {"exited", "exited, and told"}

# (state, word): what the disk side is asked to do. Everything else asks for nothing.
EXPECTED: dict[tuple[str, str], type[Any]] = {
    ("unknown", "assign"): Store,
    ("unknown", "assign of something else"): Store,
    ("needs its secrets", "assign"): Secrets,
    ("exited, and told", "committed"): Commit,
    **{(state, "abort"): Abort for state in RUNS},
    **{(state, "recall"): Recall for state in HELD | {"committed"}},
    **{(state, "forget"): Delete for state in STATES},
    **{(state, "drain"): Draining for state in STATES},
    **{(state, "error"): Refused for state in STATES},
}


def hear(end: End, word: m.Message) -> list[Action] | int:
    """The actions, or the code with which the connection ends."""
    try:
        return end.hear(word)
    except ProtocolError as error:
        assert error.close is not None
        return error.close


def held(end: End) -> Any:
    """All that the end knows of its runs."""
    return msgspec.json.encode([list(end.runs.values()), {key: one.run for key, one in end.kept.items()}])


def test_every_word_of_a_master_is_said() -> None:
    assert {type(word) for word in WORDS.values()} == set(FROM_MASTER)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", STATES)
def test_fault_F13_every_word_in_every_state_asks_the_disk_for_what_the_table_says(state: str, word: str) -> None:
    end = STATES[state]()
    before = held(end)
    actions = hear(end, WORDS[word])
    if word in ENDS:
        assert actions == Close.PROTOCOL and held(end) == before
        return
    expected = EXPECTED.get((state, word))
    assert not isinstance(actions, int)
    assert [type(one) for one in actions] == ([] if expected is None else [expected])
    if word == "assign of something else" and state != "unknown":
        assert "conflict" in [getattr(one, "code", "") for one in end.said()]
        assert held(STATES[state]()) == before
    repeated = hear(end, WORDS[word])  # again, before anything was done about the first
    assert not isinstance(repeated, int)
    once_only = {Store, Secrets, Commit}
    assert [type(one) for one in repeated] == ([] if expected is None or expected in once_only else [expected])


@pytest.mark.parametrize("word", [word for word in WORDS if word not in ("welcome", "error")])
@pytest.mark.parametrize("state", STATES)
def test_fault_F36_nothing_is_obeyed_before_the_welcome(state: str, word: str) -> None:
    end = STATES[state]()
    if state == "on its way to the disk":
        end.accepted(RUN)
    end.dial()
    before = held(end)
    assert hear(end, WORDS[word]) == Close.PROTOCOL
    assert held(end) == before


def test_fault_F37_a_welcome_in_a_version_that_was_not_offered_ends_the_connection() -> None:
    end = End(local())
    end.dial()
    assert hear(end, welcome(protocol=2, forget=[RUN])) == Close.VERSION
    assert RUN in end.runs


def test_a_welcome_of_another_appliance_ends_the_connection_and_the_journal_stays() -> None:
    end = _open(local())
    identity = end.identity
    end.dial()
    assert hear(end, welcome(cluster="9" * 32, forget=[RUN])) == Close.OTHER_CLUSTER
    assert end.identity == identity and RUN in end.runs


@pytest.mark.parametrize(
    ("frame", "close"),
    [
        (b"", Close.PROTOCOL),
        (b"\x01" * 50, Close.PROTOCOL),
        ("x" * (MESSAGE_LIMIT + 1), Close.TOO_BIG),
        ("", None),
        ("null", None),
        ("[" * 1000, None),
        ('{"type":"reboot","id":1}', None),
        ('{"type":"beat","id":1,"at":1}', None),
        ('{"type":"assign","id":1}', None),
        ('{"type":"forget","id":1,"run":"../../etc"}', None),
        (json.dumps({"type": "forget", "id": 1, "run": RUN + "\n"}), None),
        (json.dumps({"type": "ack", "id": 1, "run": RUN, "stream": -1, "offset": 0}), None),
        (json.dumps({"type": "ack", "id": 1, "run": RUN, "stream": 0, "offset": -1}), None),
        (json.dumps({"type": "abort", "id": 1, "run": RUN, "grace": -5}), None),
    ],
)
@pytest.mark.parametrize("state", STATES)
def test_fault_F36_what_cannot_be_read_is_answered_or_ends_the_connection(
    state: str, frame: str | bytes, close: int | None
) -> None:
    end = STATES[state]()
    before = held(end)
    if close is None:
        assert end.receive(frame) == []
        assert next(type(one) for one in end.said()) is m.ErrorReply
    else:
        with pytest.raises(ProtocolError) as refused:
            end.receive(frame)
        assert refused.value.close == close
    if state not in ("exited", "started", "exited, and told"):  # those went on telling
        assert held(end) == before


def test_defect_J19_a_master_that_asks_and_does_not_listen_is_left() -> None:
    end = _open(local())
    for _ in range(UNSAID + 1):
        end.hear(WORDS["withdraw"])
    assert hear(end, WORDS["withdraw"]) == Close.RATE
    assert len(end._out) <= UNSAID + 1


def test_defect_J19_endless_pages_of_a_welcome_take_no_memory() -> None:
    end = End(local())
    end.dial()
    end.hear(welcome(more=True))
    for number in range(100):
        runs = [f"{number:08x}-0000-4000-8000-{one:012x}" for one in range(100)]
        end.hear(m.ResumePage(id=2, resume=[m.Resume(run=run) for run in runs], more=True))
    assert end._resumes == {}


@pytest.mark.parametrize("seed", range(50))
def test_inv_I2_inv_I5_whatever_a_master_says_nothing_begins_twice_and_nothing_is_lost(seed: int) -> None:
    """Random words about two runs, over several connections; the disk does what it is asked."""
    rng = random.Random(seed)
    end = _open(local(), local(OTHER, record=DONE))
    begun: Counter[str] = Counter({RUN: 1, OTHER: 1})
    deleted: Counter[str] = Counter()
    told: set[str] = set()
    words = list(WORDS.values()) + [
        msgspec.structs.replace(one, run=OTHER) for one in WORDS.values() if hasattr(one, "run")
    ]
    for _ in range(400):
        word = rng.choice(words)
        actions = hear(end, word)
        if isinstance(actions, int):
            end.disconnect()
            end.dial()
            actions = end.hear(
                welcome(resume=[m.Resume(run=one) for one in rng.sample([RUN, OTHER], rng.randint(0, 2))])
            )
        for action in actions:
            match action:
                case Store(run=run_id, request=request):
                    begun[run_id] += 1
                    assert begun[run_id] <= 1 + deleted[run_id], "begun twice"
                    assert request_digest(request)
                    end.accepted(run_id)
                case Keep():
                    end.resume()
                case Commit(run=run_id):
                    assert run_id in told, "committed before the master was told"
                    assert run_id in end.kept
                case Delete(run=run_id):
                    assert isinstance(word, m.Forget | m.Welcome), "deleted by another word"
                    deleted[run_id] += 1
                    told.discard(run_id)
                    end.forgotten(run_id)
                case Abort(run=run_id):
                    assert end.runs[run_id].record is None
                case Recall(run=run_id):
                    known = end.runs.get(run_id) or local(run_id, record=DONE)
                    end.recalled(known, REQUEST)
        if rng.random() < 0.3 and (going := [one for one in end.runs.values() if one.record is None]):
            end.exited(rng.choice(going).run, {}, DONE)
        for one in end.said() if rng.random() < 0.7 else ():
            if isinstance(one, m.Exited):
                told.add(one.run)
        assert set(end.runs).isdisjoint(end.kept)
    assert DIGEST
