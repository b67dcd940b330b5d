"""Control messages (reliability.md 5.3, 5.8): each type there and back, what is new ignored, what is wrong refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.wire import INVENTORY_PAGE, MESSAGE_LIMIT, Close, ProtocolError
from appliance.wire import messages as m
from tests.wire.messages_of import CAP, FROM_MASTER, FROM_WORKER, RUN, messages, one_of_each

few = settings(max_examples=40, deadline=None)  # of many types; slow only where a value is made for the first time
BEAT: dict[str, Any] = {"type": "beat", "id": 7, "at": 1.0}
EXITED: dict[str, Any] = {"type": "exited", "run": RUN, "status": "failed", "at": 1, "sizes": {}, "digests": {}}


def refusal(text: str) -> ProtocolError:
    """What is wrong with a text from a worker."""
    with pytest.raises(ProtocolError) as error:
        m.from_worker(text)
    return error.value


# ---- there and back


@pytest.mark.parametrize("kind", FROM_WORKER)
@few
@given(choice=st.data())
def test_every_message_of_a_worker_is_read_as_it_was_said(kind: type[m.Message], choice: st.DataObject) -> None:
    message = choice.draw(messages(kind))
    assert m.from_worker(m.encode(message)) == message


@pytest.mark.parametrize("kind", FROM_MASTER)
@few
@given(choice=st.data())
def test_every_message_of_the_master_is_read_as_it_was_said(kind: type[m.Message], choice: st.DataObject) -> None:
    message = choice.draw(messages(kind))
    assert m.from_master(m.encode(message)) == message


def test_types_are_told_apart_by_their_names() -> None:
    tags = [msgspec.inspect.type_info(kind).tag for kind in FROM_WORKER + FROM_MASTER]  # type: ignore[attr-defined]  # structs
    assert len(set(tags)) == len(set(FROM_WORKER + FROM_MASTER))


# ---- other versions


@few
@given(one_of_each(FROM_WORKER), st.text(min_size=20, max_size=30), st.sampled_from([None, 1, "x", [1], {"a": 1}]))
def test_fault_F37_fields_that_are_not_known_are_ignored(message: m.Message, name: str, value: object) -> None:
    document = {**json.loads(m.encode(message)), f"future {name}": value}
    assert m.from_worker(msgspec.json.encode(document).decode()) == message


@pytest.mark.parametrize("name", ["config", "artifact", "", "Hello", "assign", "welcome"])
def test_fault_F37_a_type_that_is_not_known_is_unsupported_and_named(name: str) -> None:
    error = refusal(json.dumps({**BEAT, "type": name}))
    assert (error.code, error.re, error.close) == ("unsupported", 7, None)


# ---- what is wrong


@few
@given(st.data())
def test_fault_F36_a_message_without_something_it_needs_is_malformed(choice: st.DataObject) -> None:
    message = choice.draw(one_of_each(FROM_WORKER))
    document = json.loads(m.encode(message))
    needed = [name for name in document if _is_required(type(message), name)]
    name = choice.draw(st.sampled_from([*needed, "id"]))
    del document[name]
    assert refusal(json.dumps(document)).code == "malformed"


def _is_required(kind: type[m.Message], name: str) -> bool:
    return any(field.name == name and field.required for field in msgspec.structs.fields(kind))


WRONG: dict[str, Any] = {
    "run is no UUID": {"type": "accepted", "run": "x"},
    "run with a newline": {"type": "accepted", "run": RUN + "\n"},
    "run in upper case": {"type": "accepted", "run": RUN.upper()},
    "stamp before 1970": {"type": "beat", "at": -1},
    "stamp of another age": {"type": "beat", "at": 1e12},
    "negative size": {**EXITED, "sizes": {"0": -1}},
    "size over 2^50": {**EXITED, "sizes": {"0": 1 << 60}},
    "stream 65536": {**EXITED, "sizes": {"65536": 1}},
    "status of nobody": {**EXITED, "status": "cancelled"},
    "a digest that is short": {**EXITED, "digests": {"0": "a"}},
    "code 256": {**EXITED, "code": 256},
    "no slots": {
        "type": "hello", "protocols": [1, 1], "software": "", "journal": "1" * 32, "instance": "1" * 32, "boot": "",
        "at": 1, "slots": 0,
    },
    "a page over the limit": {
        "type": "inventory",
        "runs": [{"run": RUN, "cap": CAP, "digest": CAP, "state": "started"}] * (INVENTORY_PAGE + 1),
    },
    "id is text": {**BEAT, "id": "1"},
    "id is negative": {**BEAT, "id": -1},
}  # fmt: skip  # a table


@pytest.mark.parametrize("name", WRONG)
def test_fault_F36_a_value_outside_the_schema_is_malformed(name: str) -> None:
    error = refusal(json.dumps({"id": 7, **WRONG[name]}))
    assert (error.code, error.close) == ("malformed", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        '"x"',
        "{",
        '{"type":"beat"',
        "\ud800",
        "{\0}",
        '{"type":"beat","id":1,"at":NaN}',
        "[" * 9999,
    ],
    ids=str.__len__,
)
def test_fault_F36_what_is_no_message_is_malformed(text: str) -> None:
    assert refusal(text).code == "malformed"


@few
@given(st.text(max_size=300))
def test_inv_I7_no_text_does_more_than_be_refused(text: str) -> None:
    assert refusal(text).code in ("malformed", "unsupported")


@few
@given(one_of_each(FROM_WORKER), st.data())
def test_inv_I7_a_message_with_a_changed_character_is_read_or_refused(
    message: m.Message, choice: st.DataObject
) -> None:
    text = m.encode(message)
    place = choice.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + choice.draw(st.characters()) + text[place + 1 :]
    try:
        assert isinstance(m.from_worker(changed), FROM_WORKER)
    except ProtocolError as error:
        assert error.close is None


# ---- depth and size


@pytest.mark.parametrize(("depth", "is_read"), [(m.DEPTH - 2, True), (m.DEPTH - 1, False), (40, False)])
def test_req_S_63_nesting_ends_at_its_limit(depth: int, is_read: bool) -> None:
    value = {"a": json.loads("[" * depth + "]" * depth)}
    text = json.dumps({"type": "results", "id": 1, "run": RUN, "seq": 1, "value": value})
    if is_read:
        assert isinstance(m.from_worker(text), m.Results)
    else:
        assert refusal(text).code == "malformed"


def test_brackets_inside_texts_are_no_nesting() -> None:
    declined = m.Declined(id=1, run=RUN, reason='[{"\\' * 500)
    assert m.from_worker(m.encode(declined)) == declined
    assert m.nesting('["[[[", {"]": "\\"[["}]') == 2


@few
@given(
    st.recursive(
        st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    )
)
def test_nesting_is_counted_as_it_is(value: object) -> None:
    assert m.nesting(json.dumps(value)) == _depth(value)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize("letter", ["x", "é", "𝄞"])
def test_fault_F35_a_message_over_the_limit_closes_the_connection(letter: str) -> None:
    text = '{"type":"beat","id":1,"at":1,"more":"%s"}'
    room = (MESSAGE_LIMIT - len(text) + 2) // len(letter.encode())
    assert isinstance(m.from_worker(text % (letter * room)), m.Beat)
    assert refusal(text % (letter * (room + 1))).close == Close.TOO_BIG


def test_fault_F35_what_is_over_the_limit_is_never_sent() -> None:
    with pytest.raises(ProtocolError) as error:
        m.encode(m.Assign(id=1, run=RUN, cap=CAP, request="\x01" * (MESSAGE_LIMIT // 6)))
    assert (error.value.code, error.value.close) == ("too_big", None)
