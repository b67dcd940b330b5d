"""What differs between two configurations, and what does not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from appliance.model.changes import Change, KeyChange, changes, key_changes
from appliance.model.documents import canonical


def file(*jobs: dict[str, Any], schedules: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {"projects": [{"identifier": "p", **more, "jobs": list(jobs), "schedules": schedules or []}]}


def job(identifier: str, **more: Any) -> dict[str, Any]:
    return {"identifier": identifier, **more}


def test_projects_jobs_and_schedules_are_new_and_gone() -> None:
    nothing: dict[str, Any] = {"projects": []}
    something = file(job("a"), schedules=[job("s", job="a")])
    told = [(one.kind, one.name) for one in changes(nothing, something)]
    assert told == [("project", "p"), ("job", "p/a"), ("schedule", "p/s")]
    assert {one.what for one in changes(nothing, something)} == {"added"}
    gone = changes(something, nothing)
    assert [(one.kind, one.name) for one in gone] == told
    assert {one.what for one in gone} == {"removed"}


def test_a_changed_job_names_the_innermost_keys_with_both_sides() -> None:
    before = file(job("a", timeout="1h", definition={"commands": [["make"], "x"]}, description="d"))
    after = file(job("a", timeout="2h", definition={"commands": [["make"], "y"]}, grace="5s"))
    assert changes(before, after) == [
        Change(
            "job",
            "p/a",
            "changed",
            (
                KeyChange("timeout", "1h", "2h"),
                KeyChange("definition.commands[1]", "x", "y"),
                KeyChange("grace", UNSET, "5s"),
                KeyChange("description", "d", UNSET),
            ),
        )
    ]


def test_a_list_of_another_length_differs_as_a_whole() -> None:
    assert list(key_changes({"c": [1, 2]}, {"c": [1]})) == [KeyChange("c", [1, 2], [1])]


def test_what_belongs_to_the_project_itself_is_its_own_change() -> None:
    assert changes(file(job("a"), display_name="A"), file(job("a"), display_name="B")) == [
        Change("project", "p", "changed", (KeyChange("display_name", "A", "B"),))
    ]


def test_order_is_no_difference() -> None:
    assert changes(file(job("a", x=1, y=2), job("b")), file(job("b"), job("a", y=2, x=1))) == []


def test_req_D5_values_are_compared_exactly() -> None:
    for one, other in ((1, True), (0, False), (1, "1"), (None, ""), ([], {})):
        assert list(key_changes({"k": one}, {"k": other})) == [KeyChange("k", one, other)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_documents_without_a_difference_are_the_same_document(one: Any, other: Any) -> None:
    found = list(key_changes({"k": one}, {"k": other}))
    assert (found == []) == (canonical(one) == canonical(other))
    back = list(key_changes({"k": other}, {"k": one}))
    assert {change.key for change in back} == {change.key for change in found}
