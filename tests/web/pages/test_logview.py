from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.web.pages import logview
from appliance.web.pieces import LogPart


def lines(part: LogPart) -> list[str]:
    return [line.text for line in part.lines]


def forward(log: bytes, start: int = 0) -> LogPart:
    return logview.forward(log[start : start + logview.PART], start, len(log), 1 if start == 0 else None)


def backward(log: bytes, end: int) -> LogPart:
    return logview.backward(log[max(0, end - logview.PART) : end], end, len(log))


LOGS = st.lists(
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")) | st.just(b"x" * 40), max_size=40
).flatmap(lambda found: st.sampled_from([b"\n".join(found), b"\n".join(found) + b"\n"]))


@settings(max_examples=200)
@given(LOGS)
def test_parts_read_forward_are_the_whole_log_without_gap_or_overlap(log: bytes) -> None:
    saved = logview.PART, logview.LINES
    logview.PART, logview.LINES = 64, 5
    try:
        at, rounds = 0, 0
        while at < len(log):
            part = forward(log, at)
            assert part.start == at and part.end > at, part
            at, rounds = part.end, rounds + 1
            assert rounds <= len(log)
        assert at == len(log)
    finally:
        logview.PART, logview.LINES = saved


@settings(max_examples=200)
@given(LOGS)
def test_parts_read_backward_are_the_whole_log_without_gap_or_overlap(log: bytes) -> None:
    saved = logview.PART, logview.LINES
    logview.PART, logview.LINES = 64, 5
    try:
        at = len(log)
        while at > 0:
            part = logview.backward(log[max(0, at - 64) : at], at, len(log), 5)
            assert part.end == at and part.start < at, part
            at = part.start
    finally:
        logview.PART, logview.LINES = saved


def test_lines_of_a_first_part_are_numbered_from_one() -> None:
    part = forward(b"a\nb\nc\n")
    assert [(line.number, line.text) for line in part.lines] == [(1, "a"), (2, "b"), (3, "c")]
    assert (part.start, part.end, part.follow_from, part.ends_inside) == (0, 6, 6, False)


def test_a_line_without_its_newline_is_shown_and_followed_from_its_beginning() -> None:
    for part in (forward(b"a\nhalf"), backward(b"a\nhalf", 6)):
        assert lines(part) == ["a", "half"]
        assert (part.end, part.follow_from, part.ends_inside) == (6, 2, True)


def test_req_L3_a_colour_lasts_until_it_is_changed_and_a_follower_goes_on_in_it() -> None:
    part = forward(b"\x1b[31mone\ntwo\x1b[1m\nthree")
    assert [[(span.text, span.style) for span in line.spans] for line in part.lines] == [
        [("one", "ink-red")],
        [("two", "ink-red")],
        [("three", "ink-red bold")],
    ]
    assert (lines(part), part.style) == (["one", "two", "three"], "1,,b")
    assert forward(b"\x1b[31mone\n").style == backward(b"\x1b[31mone\n", 9).style == "1,,"
    assert forward(b"\x1b[31mone").style == ",,"  # its line is read again, from its beginning


def test_an_empty_log_has_no_lines() -> None:
    assert forward(b"").lines == backward(b"", 0).lines == ()


def test_empty_lines_stay() -> None:
    assert lines(forward(b"\n\na\n\n")) == lines(backward(b"\n\na\n\n", 5)) == ["", "", "a", ""]


def test_a_part_has_a_bounded_number_of_lines() -> None:
    log = b"x\n" * (logview.LINES + 10)
    assert len(forward(log).lines) == len(backward(log, len(log)).lines) == logview.LINES
    assert forward(log).end == logview.LINES * 2


def test_a_long_line_is_cut_and_says_how_much_is_left_out() -> None:
    (line,) = forward(b"y" * 100_000).lines
    assert (len(line.text), line.cut) == (logview.LINE_LIMIT, 100_000 - logview.LINE_LIMIT)


def test_a_line_of_a_hundred_megabytes_is_shown_in_parts() -> None:
    head = b"z" * logview.PART
    part = logview.forward(head, 0, 100_000_000, 1)
    assert (part.end, part.ends_inside) == (logview.PART, True)
    assert logview.forward(head, part.end, 100_000_000, None, True).begins_inside


def test_a_cut_never_divides_a_character() -> None:
    log = "é€😀".encode() * 60_000
    first = forward(log)
    assert "\ufffd" not in first.lines[0].text
    log[first.end :].decode()  # the next part begins with a whole character


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert lines(forward(b"\xff\xfe ok\n")) == ["\ufffd\ufffd ok"]


@given(st.text(max_size=30), st.integers(0, 60))
def test_whole_characters_cuts_at_most_three_bytes_and_leaves_valid_text(text: str, at: int) -> None:
    raw = text.encode()[:at]
    kept = logview.whole_characters(raw)
    assert len(raw) - 3 <= kept <= len(raw)
    raw[:kept].decode()
