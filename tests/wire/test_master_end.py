"""The master's end of a connection (reliability.md 5.2, 5.3): order, versions, limits, and no way to make it spin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.wire import INVENTORY_LIMIT, INVENTORY_PAGE, MESSAGE_LIMIT, PROTOCOLS, Close, frames
from appliance.wire import messages as m
from appliance.wire.master_end import ERRORS_A_MINUTE, MESSAGES_A_SECOND, Greeting, MasterEnd, Merged, Stage
from tests.wire.messages_of import CAP, FROM_WORKER, RUN, one_of_each

CLUSTER, INCARNATION = "c" * 32, "d" * 32
AT = datetime(2026, 1, 1, tzinfo=UTC)


class End(MasterEnd):
    """A master's end whose seconds stand still until told to move."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        super().__init__(CLUSTER, 3, INCARNATION, lambda: self.seconds)

    def hear(self, message: m.Message) -> Any:
        return self.receive(m.encode(message))

    def said(self) -> list[Any]:
        return [m.from_master(text) for text in self.take()]

    def open(self) -> End:
        greeting = self.hear(hello())
        assert isinstance(greeting, Greeting)
        self.welcome(greeting, Merged(), AT)
        self.take()
        return self


def hello(**changes: Any) -> m.Hello:
    fields: dict[str, Any] = {
        "protocols": PROTOCOLS,
        "software": "test",
        "journal": "a" * 32,
        "instance": "b" * 32,
        "boot": "boot",
        "at": 1.0,
    }
    return m.Hello(id=1, **{**fields, **changes})


def held(count: int, start: int = 0) -> list[m.Held]:
    return [m.Held(run=uuid(start + number), cap=CAP, digest=CAP, state="started") for number in range(count)]


def uuid(number: int) -> str:
    return f"{number:08x}-7a29-4a8b-9d7e-3f5a4c1e2d60"


# ---- hello and welcome


def test_a_hello_is_greeted_and_answered_with_a_welcome() -> None:
    end = End()
    greeting = end.hear(hello(runs=held(2)))
    assert greeting == Greeting(hello=hello(runs=held(2)), held=tuple(held(2)), protocol=1)
    assert (end.stage, end.said()) == (Stage.MERGING, [])
    end.welcome(greeting, Merged(resume=(m.Resume(run=RUN, sizes={0: 5}),), forget=(uuid(1),)), AT)
    (welcome,) = end.said()
    assert (welcome.re, welcome.protocol, welcome.cluster, welcome.epoch) == (1, 1, CLUSTER, 3)
    assert (welcome.incarnation, welcome.at) == (INCARNATION, AT.timestamp())
    assert (welcome.resume, welcome.forget, welcome.more) == ([m.Resume(run=RUN, sizes={0: 5})], [uuid(1)], False)
    assert end.stage is Stage.OPEN


def test_what_is_wanted_while_an_inventory_is_merged_is_said_behind_the_welcome() -> None:
    end = End()
    greeting = end.hear(hello())
    end.say(m.Drain, on=True)
    end.say(m.Abort, run=RUN)
    assert end.said() == []
    end.welcome(greeting, Merged(), AT)
    end.say(m.Forget, run=RUN)
    said = end.said()
    assert [type(one) for one in said] == [m.Welcome, m.Drain, m.Abort, m.Forget]
    assert [one.id for one in said] == [1, 2, 3, 4]


def test_an_inventory_over_one_page_is_heard_whole_before_it_is_greeted() -> None:
    end = End()
    assert end.hear(hello(runs=held(INVENTORY_PAGE), more=True)) is None
    assert end.hear(m.InventoryPage(id=2, runs=held(INVENTORY_PAGE, 500), more=True)) is None
    greeting = end.hear(m.InventoryPage(id=3, runs=held(7, 1000)))
    assert isinstance(greeting, Greeting)
    assert [one.run for one in greeting.held] == [uuid(number) for number in range(1007)]


def test_a_welcome_over_one_page_is_said_in_pages_that_each_fit() -> None:
    end = End()
    greeting = end.hear(hello())
    resume = tuple(m.Resume(run=uuid(number), sizes={0: 1 << 50, 1: 1 << 50, 2: 1 << 50}) for number in range(1001))
    others = tuple(uuid(number) for number in range(700))
    end.welcome(greeting, Merged(resume=resume, forget=others, unknown=others), AT)
    texts = end.take()
    pages: list[Any] = [m.from_master(text) for text in texts]
    assert [type(page) for page in pages] == [m.Welcome, m.ResumePage, m.ResumePage]
    assert [page.more for page in pages] == [True, True, False]
    assert tuple(one for page in pages for one in page.resume) == resume
    assert tuple(one for page in pages for one in page.forget) == others
    assert tuple(one for page in pages for one in page.unknown) == others
    assert max(map(len, texts)) <= MESSAGE_LIMIT


def test_inv_I7_an_inventory_over_the_limit_closes_the_connection() -> None:
    end = End()
    end.hear(hello(more=True))
    page = m.encode(m.InventoryPage(id=2, runs=held(INVENTORY_PAGE), more=True))
    for _ in range(INVENTORY_LIMIT // INVENTORY_PAGE):
        end.seconds += 1
        end.receive(page)
    assert end.closed is None
    end.receive(page)
    assert end.closed == (Close.PROTOCOL, "inventory over the limit")


@pytest.mark.parametrize(
    ("protocols", "spoken"), [((1, 1), 1), ((1, 2), 1), ((0, 5), 1), ((2, 3), None), ((0, 0), None), ((2, 1), None)]
)
def test_fault_F37_the_highest_common_version_is_spoken_and_none_closes(
    protocols: tuple[int, int], spoken: int | None
) -> None:
    end = End()
    greeting = end.hear(hello(protocols=protocols))
    if spoken is not None:
        assert greeting.protocol == spoken
        return
    assert greeting is None and end.closed is not None
    assert end.closed[0] == Close.VERSION and "upgrade" in end.closed[1]
    (error,) = end.said()
    low, high = protocols
    assert error.code == "version"
    assert f"speaks protocol {low} to {high}, the server 1 to 1" in error.text


def test_a_journal_of_another_cluster_is_sent_away() -> None:
    end = End()
    assert end.hear(hello(cluster="e" * 32)) is None
    assert end.closed is not None and end.closed[0] == Close.OTHER_CLUSTER
    assert End().hear(hello(cluster=CLUSTER)) is not None


# ---- order


@settings(max_examples=60, deadline=None)
@given(one_of_each(tuple(kind for kind in FROM_WORKER if kind not in (m.Hello, m.ErrorReply))))
def test_nothing_is_taken_before_the_hello(message: m.Message) -> None:
    end = End()
    assert end.hear(message) is None
    assert end.closed == (Close.PROTOCOL, "the first message must be hello")
    assert [(one.code, one.re) for one in end.said()] == [("order", message.id)]


@settings(max_examples=60, deadline=None)
@given(one_of_each(tuple(kind for kind in FROM_WORKER if kind not in (m.Beat, m.ErrorReply))))
def test_nothing_but_a_beat_is_taken_before_the_welcome(message: m.Message) -> None:
    end = End()
    end.hear(hello())
    assert end.hear(m.Beat(id=2, at=1.0)) == m.Beat(id=2, at=1.0)
    assert end.hear(message) is None
    assert end.closed is not None and end.closed[0] == Close.PROTOCOL


@settings(max_examples=60, deadline=None)
@given(one_of_each(FROM_WORKER))
def test_everything_but_a_second_hello_is_taken_after_the_welcome(message: m.Message) -> None:
    end = End().open()
    event = end.hear(message)
    if isinstance(message, m.Hello | m.InventoryPage):
        assert event is None and end.closed == (Close.PROTOCOL, "a second hello")
    else:
        assert event == message and end.closed is None


@pytest.mark.parametrize("is_greeted", [False, True])
def test_data_before_the_welcome_closes_the_connection(is_greeted: bool) -> None:
    end = End()
    if is_greeted:
        end.hear(hello())
    assert end.receive(frames.encode(RUN, 0, 0, b"x")) is None
    assert end.closed == (Close.PROTOCOL, "data before welcome")


def test_a_data_frame_is_read_where_it_stands() -> None:
    event = End().open().receive(frames.encode(RUN, 2, 5, b"note"))
    assert isinstance(event, frames.Data)
    assert (event.run, event.stream, event.offset, bytes(event.payload)) == (RUN, 2, 5, b"note")


def test_a_closed_end_hears_and_says_nothing() -> None:
    end = End().open()
    end.close(Close.SUPERSEDED, "a newer one")
    end.close(Close.RESTART, "too late")
    assert end.closed == (Close.SUPERSEDED, "a newer one")
    end.say(m.Committed, run=RUN)
    assert (end.hear(m.Beat(id=2, at=1.0)), end.take()) == (None, [])


def test_a_hello_that_is_closed_while_it_is_merged_gets_no_welcome() -> None:
    end = End()
    greeting = end.hear(hello())
    end.close(Close.DUPLICATE, "two machines")
    end.welcome(greeting, Merged(), AT)
    assert (end.stage, end.take()) == (Stage.CLOSED, [])


def test_messages_are_numbered_in_the_order_in_which_they_are_sent() -> None:
    end = End().open()
    for _ in range(3):
        end.say(m.Committed, run=RUN)
    ids = [one.id for one in end.said()]
    assert ids == list(range(ids[0], ids[0] + 3))


# ---- what is broken


def test_fault_F37_a_type_that_is_not_known_is_answered_unsupported_and_the_rest_goes_on() -> None:
    end = End().open()
    assert end.receive('{"type":"artifact","id":7}') is None
    assert [(one.code, one.re) for one in end.said()] == [("unsupported", 7)]
    assert end.hear(m.Beat(id=8, at=1.0)) is not None


def test_defect_J16_fault_F36_ten_errors_within_a_minute_close_the_connection() -> None:
    end = End().open()
    closes = []
    for _ in range(ERRORS_A_MINUTE):
        end.receive("{")
        closes.append(end.closed)
    assert closes == [None] * (ERRORS_A_MINUTE - 1) + [(Close.PROTOCOL, "10 errors within a minute")]
    assert [one.code for one in end.said()] == ["malformed"] * ERRORS_A_MINUTE


def test_fault_F36_errors_that_come_slowly_close_nothing() -> None:
    end = End().open()
    for _ in range(5 * ERRORS_A_MINUTE):
        end.seconds += 60 / (ERRORS_A_MINUTE - 1)
        end.receive("{")
    assert end.closed is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40) | st.binary(max_size=80), min_size=40, max_size=40))
def test_inv_I7_noise_is_answered_at_most_ten_times(noise: list[str | bytes]) -> None:
    end = End().open()
    for frame in noise:
        assert end.receive(frame) is None
    assert end.closed is not None
    assert len(end.take()) <= ERRORS_A_MINUTE


def test_defect_J19_too_many_messages_a_second_close_the_connection() -> None:
    end = End().open()
    beat = m.encode(m.Beat(id=1, at=1.0))
    for second in range(3):
        end.seconds = 2000.0 + second
        for _ in range(MESSAGES_A_SECOND):
            assert end.receive(beat) is not None
    assert end.receive(beat) is None
    assert end.closed is not None and end.closed[0] == Close.RATE


def test_fault_F35_a_message_that_is_too_big_closes_with_1009() -> None:
    end = End().open()
    end.receive(json.dumps({"type": "beat", "id": 1, "at": 1, "more": "x" * MESSAGE_LIMIT}))
    assert end.closed is not None and end.closed[0] == Close.TOO_BIG


def test_inv_I7_the_answer_to_a_hostile_message_fits_a_message_and_a_close() -> None:
    end = End().open()
    end.receive('{"type":"' + "\\u0001" * 30_000 + '","id":1}')
    end.receive(frames.encode(RUN, 0, 0, b"x" * 70_000))
    assert all(len(text) <= MESSAGE_LIMIT for text in end.take())
    assert end.closed is not None and len(end.closed[1].encode()) <= 123
