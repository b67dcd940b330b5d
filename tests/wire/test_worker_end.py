"""The worker's end (reliability.md 5.2 to 5.4): what it holds, what it tells, and in which order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.caps import request_digest
from appliance.wire import CHUNK, MESSAGE_LIMIT, RESULTS_INLINE, RUN_WINDOW, WORKER_WINDOW, Close, ProtocolError, frames
from appliance.wire import messages as m
from appliance.wire.local_runs import (
    Abort,
    Action,
    Commit,
    Delete,
    Draining,
    Identity,
    Keep,
    LocalRun,
    Read,
    Record,
    Refused,
    Secrets,
    Store,
)
from appliance.wire.worker_end import NACKS, WorkerEnd
from tests.wire.messages_of import CAP, FROM_MASTER, RUN, one_of_each

JOURNAL = "a" * 32
OTHER = "1c6f01e2-8b3a-4b9c-8e8f-4a6b5d2f3e71"
REQUEST = '{"format":1}'
DIGEST = request_digest(REQUEST)
DONE = Record(status="succeeded", at=9.0, digests={}, code=0, command="commands[0]")


def local(run: str = RUN, **changes: Any) -> LocalRun:
    return LocalRun(**{"run": run, "cap": CAP, "digest": DIGEST, **changes})


class End(WorkerEnd):
    """A worker's end and what a test does with it."""

    def __init__(self, *runs: LocalRun) -> None:
        super().__init__(Identity(journal=JOURNAL), runs, request_digest)

    def dial(self, **changes: Any) -> None:
        fields: dict[str, Any] = {"instance": "b" * 32, "software": "test", "boot": "b", "at": 1.0, "slots": 2}
        self.connect(**{**fields, "properties": {}, **changes})

    def open(self, *resume: m.Resume, run_window: int = RUN_WINDOW, worker_window: int = WORKER_WINDOW) -> End:
        """Connect and be welcome. The hello is not among what is said later."""
        self.dial()
        self.said()
        self.hear(welcome(resume=list(resume), run_window=run_window, worker_window=worker_window))
        self.resume()
        return self

    def hear(self, message: m.Message) -> list[Action]:
        return self.receive(m.encode(message))

    def said(self) -> list[Any]:
        """Everything it says now: messages, and reads whose bytes are all x."""
        said: list[Any] = []
        while (item := self.next()) is not None:
            if isinstance(item, Read):
                self.chunk(item, b"x" * item.length)
                said.append(item)
            else:
                said.append(m.from_worker(item))
        return said

    def assign(self, request: str = REQUEST, run: str = RUN) -> list[Action]:
        return self.hear(m.Assign(id=5, run=run, cap=CAP, request=request, secrets={"T": "t"}))


def welcome(**changes: Any) -> m.Welcome:
    fields: dict[str, Any] = {
        "protocol": 1,
        "cluster": "c" * 32,
        "epoch": 3,
        "incarnation": "d" * 32,
        "at": 1.0,
        "run_window": RUN_WINDOW,
        "worker_window": WORKER_WINDOW,
    }
    return m.Welcome(id=1, **{**fields, **changes})


# ---- hello


def test_a_hello_says_what_the_journal_holds() -> None:
    runs = [
        local(sizes={0: 5}, needs_secrets=True),
        local(OTHER, sizes={0: 7, 2: 1}, started_at=2.0, record=DONE),
        local("2" * 8 + RUN[8:], started_at=2.0),
        local("3" * 8 + RUN[8:], record=DONE, committed=True),
    ]
    end = End(*runs)
    end.dial(slots=4, properties={"os": "linux"})
    (hello,) = end.said()
    assert (hello.journal, hello.slots, hello.properties, hello.more) == (JOURNAL, 4, {"os": "linux"}, False)
    assert hello.runs == [
        m.Held(run=RUN, cap=CAP, digest=DIGEST, state="accepted", sizes={0: 5}, needs_secrets=True),
        m.Held(run=OTHER, cap=CAP, digest=DIGEST, state="exited", sizes={0: 7, 2: 1}),
        m.Held(run="2" * 8 + RUN[8:], cap=CAP, digest=DIGEST, state="started"),
    ]


def test_nothing_is_told_before_the_identity_is_durable() -> None:
    end = End(local(sizes={0: 5}, started_at=2.0))
    end.dial()
    end.said()
    actions = end.hear(welcome(resume=[m.Resume(run=RUN)]))
    assert actions == [Keep(identity=Identity(JOURNAL, "c" * 32, 3, "d" * 32))]
    end.beat(1.0, 0.0, 0)
    assert end.said() == []
    end.resume()
    assert [type(one) for one in end.said()] == [m.Started, Read]


def test_a_welcome_of_several_pages_is_complete_with_its_last() -> None:
    end = End(local(), local(OTHER))
    end.dial()
    assert end.hear(welcome(resume=[m.Resume(run=RUN, abort=True, grace=5.0)], more=True)) == [
        Abort(run=RUN, grace=5.0)
    ]
    actions = end.hear(m.ResumePage(id=2, forget=[OTHER], unknown=[RUN]))
    assert [type(one) for one in actions] == [Delete, Refused, Keep]


@settings(max_examples=60, deadline=None)
@given(one_of_each(tuple(kind for kind in FROM_MASTER if kind not in (m.Welcome, m.ResumePage, m.ErrorReply))))
def test_nothing_is_obeyed_before_the_welcome(message: m.Message) -> None:
    end = End(local())
    end.dial()
    with pytest.raises(ProtocolError) as error:
        end.hear(message)
    assert error.value.close == Close.PROTOCOL


def test_a_second_welcome_and_binary_frames_end_the_connection() -> None:
    end = End().open()
    for frame in (m.encode(welcome()), frames.encode(RUN, 0, 0, b"x")):
        with pytest.raises(ProtocolError) as error:
            end.receive(frame)
        assert error.value.close == Close.PROTOCOL


def test_fault_F37_what_is_not_known_is_answered_unsupported_and_nothing_else_happens() -> None:
    end = End().open()
    assert end.receive('{"type":"config","id":9}') == []
    assert [(one.code, one.re) for one in end.said()] == [("unsupported", 9)]


@settings(max_examples=150, deadline=None)
@given(st.lists(one_of_each(FROM_MASTER), max_size=6))
def test_inv_I7_words_about_runs_that_are_not_here_do_no_harm(messages: list[m.Message]) -> None:
    end = End(local(sizes={0: 5})).open(m.Resume(run=RUN))
    for message in messages:
        if not isinstance(message, m.Welcome | m.ResumePage):
            end.hear(message)
    assert set(end.runs) == {RUN}
    assert all(not isinstance(one, m.Exited) for one in end.said())


# ---- assignments


def test_an_assignment_is_stored_first_and_accepted_then() -> None:
    end = End().open()
    assert end.assign() == [Store(run=RUN, cap=CAP, request=REQUEST, secrets={"T": "t"})]
    assert end.said() == []
    end.accepted(RUN)
    assert end.said() == [m.Accepted(id=2, run=RUN)]


@pytest.mark.parametrize("where", ["stored", "committed"])
def test_inv_I2_a_repeated_assignment_is_accepted_again_and_never_stored_again(where: str) -> None:
    if where == "committed":
        end = End(local(record=DONE, committed=True)).open()
    else:
        end = End(local()).open(m.Resume(run=RUN))
    for _ in range(3):
        assert end.assign() == []
    assert end.said() == [m.Accepted(id=number, run=RUN, re=5) for number in (2, 3, 4)]


def test_an_assignment_that_is_repeated_while_it_is_stored_is_accepted_once() -> None:
    end = End().open()
    end.assign()
    assert end.assign() == []
    end.accepted(RUN)
    assert end.said() == [m.Accepted(id=2, run=RUN)]


@pytest.mark.parametrize("where", ["storing", "stored", "committed"])
def test_another_request_for_the_same_run_is_a_conflict(where: str) -> None:
    end = End(*([] if where == "storing" else [local(record=DONE, committed=where == "committed")])).open()
    if where == "storing":
        end.assign()
    assert end.assign('{"format":2}') == []
    assert [(one.code, one.re) for one in end.said()] == [("conflict", 5)]


def test_a_run_that_lost_its_secrets_gets_them_with_the_repeated_assignment() -> None:
    end = End(local(needs_secrets=True)).open(m.Resume(run=RUN))
    assert end.assign() == [Secrets(run=RUN, secrets={"T": "t"})]
    assert end.assign() == []


def test_a_declined_run_is_told_with_its_reason_and_may_be_assigned_again() -> None:
    end = End().open()
    end.assign()
    end.declined(RUN, "full")
    assert end.said() == [m.Declined(id=2, run=RUN, reason="full")]
    assert [type(one) for one in end.assign()] == [Store]


def test_no_hello_is_said_while_a_request_is_on_its_way_to_the_disk() -> None:
    end = End().open()
    end.assign()
    with pytest.raises(ValueError, match="still being stored"):
        end.dial()
    end.accepted(RUN)
    end.dial()
    (hello,) = end.said()
    assert [one.run for one in hello.runs] == [RUN]


# ---- intents


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        ([], m.Unknown(id=2, run=RUN, re=7)),
        ([local()], m.Accepted(id=2, run=RUN, re=7)),
        ([local(record=DONE)], m.Accepted(id=2, run=RUN, re=7)),
        ([local(record=DONE, committed=True)], m.Accepted(id=2, run=RUN, re=7)),
    ],
    ids=["nothing", "stored", "exited", "committed"],
)
def test_a_withdraw_is_answered_truly_and_ends_nothing(runs: list[LocalRun], answer: m.Message) -> None:
    end = End(*runs).open()
    assert end.hear(m.Withdraw(id=7, run=RUN)) == []
    assert end.said() == [answer]


@pytest.mark.parametrize("is_declined", [False, True])
def test_inv_I2_a_withdraw_of_a_run_that_is_being_stored_waits_for_the_disk(is_declined: bool) -> None:
    """``accepted`` is said when it is durable and not before; a run that was declined was never accepted."""
    end = End().open()
    end.assign()
    end.hear(m.Withdraw(id=7, run=RUN))
    assert end.said() == []
    if is_declined:
        end.declined(RUN, "full")
    else:
        end.accepted(RUN)
    assert [type(one) for one in end.said()] == [m.Declined if is_declined else m.Accepted]


def test_an_abort_is_obeyed_as_long_as_the_run_has_not_ended() -> None:
    end = End(local(), local(OTHER, record=DONE)).open()
    assert end.hear(m.Abort(id=7, run=RUN, grace=3.0)) == [Abort(run=RUN, grace=3.0)]
    assert end.hear(m.Abort(id=8, run=OTHER)) == []


def test_inv_I5_only_a_run_that_has_ended_can_be_committed() -> None:
    end = End(local()).open(m.Resume(run=RUN))
    assert end.hear(m.Committed(id=7, run=RUN)) == []
    end.exited(RUN, {}, DONE)
    assert end.hear(m.Committed(id=8, run=RUN)) == []  # nobody was told of it yet
    end.said()
    assert end.hear(m.Committed(id=9, run=RUN)) == [Commit(run=RUN)]
    assert end.hear(m.Committed(id=9, run=RUN)) == []
    assert (end.runs, list(end.kept)) == ({}, [RUN])


def test_a_forget_is_answered_when_it_is_done_also_for_a_run_that_is_not_there() -> None:
    end = End(local(), local(OTHER, record=DONE, committed=True)).open()
    for run in (RUN, OTHER, RUN):
        assert end.hear(m.Forget(id=7, run=run)) == [Delete(run=run)]
        end.forgotten(run)
    assert [(type(one), one.run) for one in end.said()] == [(m.Forgotten, run) for run in (RUN, OTHER, RUN)]
    assert (end.runs, end.kept) == ({}, {})


def test_a_drain_is_passed_on_both_ways() -> None:
    end = End().open()
    assert end.hear(m.Drain(id=7, on=True)) == [Draining(on=True)]
    end.drain(False)
    assert end.said() == [m.Drain(id=2, on=False)]


# ---- size


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["\x01", "\u2028", "𝄞", '"', "x"]), st.integers(1, 300), st.sampled_from([0, 3, 300, 1000]))
def test_fault_F35_whatever_a_record_says_its_message_is_read_by_the_master(
    letter: str, code: int, streams: int
) -> None:
    word, line = letter * 200, letter * 5000
    value = b'{"a":"' + b"x" * (RESULTS_INLINE - 8) + b'"}'
    record = msgspec.structs.replace(
        DONE, reason=word, sentence=line, code=code % 256, signal=word, command=word, seq=1, value=value,
        notes=(line,) * 50, digests=dict.fromkeys(range(streams), "f" * 64),
    )  # fmt: skip  # one record
    end = End(local()).open(m.Resume(run=RUN, sizes=dict.fromkeys(range(streams), 1 << 50)))
    end.exited(RUN, dict.fromkeys(range(streams), 1 << 50), record)
    text = end.next()
    assert isinstance(text, str) and len(text.encode()) <= MESSAGE_LIMIT
    assert isinstance(m.from_worker(text), m.Exited)


@pytest.mark.parametrize("letter", ["\x01", "𝄞", "x"])
def test_fault_F35_no_hello_or_answer_is_too_big(letter: str) -> None:
    names = [f"{number:08x}{RUN[8:]}" for number in range(1200)]
    end = End(*(local(run, sizes=dict.fromkeys(range(3), 1 << 50), needs_secrets=True) for run in names))
    end.dial(properties={f"{number}" + "k" * 20: letter * 20 for number in range(200)})
    texts = []
    while isinstance(text := end.next(), str):
        texts.append(text)
    assert [len(m.from_worker(text).runs) for text in texts] == [500, 500, 200]  # type: ignore[union-attr]  # pages
    assert max(len(text.encode()) for text in texts) <= MESSAGE_LIMIT
    end.hear(welcome())
    end.resume()
    end.assign(run=OTHER)
    end.declined(OTHER, letter * 100_000)
    assert [type(one) for one in end.said()] == [m.Declined]


def test_bytes_are_read_in_chunks() -> None:
    end = End(local(sizes={0: 2 * CHUNK + 1})).open(m.Resume(run=RUN))
    assert end.said() == [Read(RUN, 0, 0, CHUNK), Read(RUN, 0, CHUNK, CHUNK), Read(RUN, 0, 2 * CHUNK, 1)]


def test_nacks_end_somewhere() -> None:
    end = End(local(sizes={0: 5}, record=DONE)).open(m.Resume(run=RUN))
    for _ in range(NACKS + 3):
        end.said()
        end.hear(m.Nack(id=7, run=RUN, sizes={0: 0}, restart=True))
    assert end.said() == []
    assert [type(one) for one in end.open(m.Resume(run=RUN)).said()] == [Read, m.Exited]
