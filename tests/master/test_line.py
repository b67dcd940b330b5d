"""The lines in which runs wait: their order, places, and what is held back."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.master.line import Line, Lines
from appliance.model.entities import Run
from appliance.model.errors import Unavailable
from appliance.model.groups import Group, Key, group_of
from appliance.model.run_state import Status
from tests.db.values import at, new_run

GROUPS: list[Group] = [("p", "a", "v1"), ("p", "b", "v1"), ("q", "a", "v1")]


def key(number: int) -> Key:
    """Of the run that was triggered then; some come in the same instant."""
    return (at(number // 3), f"run {number:03}")


def a_run(number: int, group: Group = GROUPS[0], **changes: Any) -> Run:
    made = new_run(group[0], group[1], id=key(number)[1], created_at=key(number)[0], definition_version=group[2])
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return Run(number=number + 1, status=Status.PENDING, **{**fields, **changes})


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "pop", "remove"]), st.integers(0, 200), st.integers(0, 2)), max_size=300)
)
def test_a_line_is_what_a_sorted_list_of_each_group_is(moves: list[tuple[str, int, int]]) -> None:
    line, model = Line(), dict[Group, list[Key]]()
    for move, number, which in moves:
        group = GROUPS[which]
        row = model.setdefault(group, [])
        match move:
            case "put" if all(key(number) not in one for one in model.values()):
                line.put(group, key(number))
                row.append(key(number))
                row.sort()
            case "pop":
                assert line.pop(group) == (row.pop(0) if row else None)
            case "remove":
                line.remove(key(number)[1])
                for one in model.values():
                    if key(number) in one:
                        one.remove(key(number))
        assert len(line) == sum(map(len, model.values()))
    assert sorted(line.heads()) == sorted((row[0], group) for group, row in model.items() if row)
    assert line.sizes() == {group: len(row) for group, row in model.items() if row}
    whole = sorted((one, group) for group, row in model.items() for one in row)
    assert list(line.after(None)) == whole
    for number in range(0, 200, 40):
        some = set(GROUPS[:2])
        assert list(line.after(key(number), some)) == [
            (one, group) for one, group in whole if one > key(number) and group in some
        ]
        assert line.before(key(number), some) == sum(one < key(number) for one, group in whole if group in some)


def test_a_run_that_comes_back_stands_where_it_stood() -> None:
    line = Line()
    for number in range(5):
        line.put(GROUPS[0], key(number))
    first = line.pop(GROUPS[0])
    assert first == key(0)
    line.put(GROUPS[0], first)
    line.put(GROUPS[0], first)  # said twice
    assert [one for one, _ in line.after(None)] == [key(number) for number in range(5)]
    assert len(line) == 5


def test_fault_F24_what_is_held_is_in_no_ones_way_until_it_is_let_go() -> None:
    held = {key(0)[1]}
    lines = Lines(held.__contains__)
    for number in range(3):
        lines.add(a_run(number))
    assert lines.before([key(number)[1] for number in range(3)], GROUPS) == {key(1)[1]: 0, key(2)[1]: 1}
    assert (lines.sizes(held=True), lines.sizes(held=False)) == ({GROUPS[0]: 1}, {GROUPS[0]: 2})
    assert lines.after(None, 9, GROUPS, ()) == [key(1), key(2)]
    assert lines.after(None, 9, GROUPS, GROUPS) == [key(0), key(1), key(2)]
    assert lines.after(None, 2, GROUPS, GROUPS) == [key(0), key(1)]
    held.clear()
    assert lines.sort_anew() == [key(0)[1]]
    assert lines.pop(GROUPS[0]) == key(0)


def test_defect_J02_a_run_is_in_line_also_when_nobody_can_say_whether_it_is_held() -> None:
    def unknown(_: str) -> bool:
        raise Unavailable("the database is away")

    lines = Lines(unknown)
    lines.add(a_run(0))
    assert lines.pop(GROUPS[0]) == key(0)


def test_word_of_an_assignment_that_comes_late_takes_no_run_out_that_has_come_back_since() -> None:
    lines = Lines(lambda _: False)
    run = a_run(0)
    lines.add(run)
    assigned = msgspec.structs.replace(run, status=Status.ASSIGNED, version=2)
    lines.add(msgspec.structs.replace(run, version=3))  # given back
    lines.remove(assigned)
    assert len(lines) == 1
    lines.remove(msgspec.structs.replace(run, status=Status.CANCELLED, version=4))
    assert len(lines) == 0


def test_the_group_of_a_run_is_its_job_as_it_was_when_it_was_triggered() -> None:
    assert group_of(a_run(1, GROUPS[2])) == GROUPS[2]
