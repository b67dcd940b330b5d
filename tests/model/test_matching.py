"""Which worker may get a run, and the sentence why not (W2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.matching import check_requirement, conditions, read_property

LINUX: dict[str, Any] = {
    "os": "linux",
    "python": "3.11.4",
    "kernel": "6.1.0-rc1",
    "cores": 8,
    "memory": 15.5,
    "gpu": True,
    "labels": ["fast", "ssd"],
    "pythons": ["3.9", "3.12"],
    "odd": "unknown",
    "ram": 25_333_333_333,
    "disk": "500GB",
    "nothing": None,
}

MET: list[dict[str, Any]] = [
    {},
    {"os": "linux"},
    {"os": ["windows", "linux"]},
    {"python": ">=3.11"},
    {"python": ">= 3.11.4"},
    {"python": ">3.9"},  # numbers, not texts
    {"python": "<4"},
    {"python": ">=3.11,<4"},
    {"python": " >=3.11 , <3.12 "},
    {"python": "==3.11.4.0"},
    {"python": "!=3.11"},
    {"python": "3.11.4"},
    {"kernel": ">=6.1"},
    {"cores": 8},
    {"cores": "8"},
    {"cores": 8.0},
    {"cores": ">=4"},
    {"memory": "<16"},
    {"gpu": True},
    {"gpu": "true"},
    {"labels": "ssd"},
    {"labels": ["gpu", "ssd"]},
    {"pythons": ">=3.10"},
    {"pythons": ["<3", ">=3.12"]},
    {"odd": "!=3.11"},
    {"ram": ">=8GiB"},
    {"ram": ">=25GB,<26GB"},
    {"ram": ">=8589934592"},
    {"ram": ">999999999"},
    {"ram": ["==1GiB", "!=1GiB"]},
    {"ram": ">0MB"},
    {"disk": ">=400GB"},
    {"disk": "500GB"},
]
UNMET: list[tuple[dict[str, Any], str]] = [
    ({"os": "windows"}, "needs os = windows, the worker has linux"),
    ({"os": "Linux"}, "needs os = Linux, the worker has linux"),
    ({"os": ["windows", "mac"]}, "needs os = windows or mac, the worker has linux"),
    ({"os": "lin"}, "needs os = lin, the worker has linux"),
    ({"python": ">=3.12"}, "needs python at least 3.12, the worker has 3.11.4"),
    ({"python": ">=3.9,<3.11"}, "needs python at least 3.9 and less than 3.11, the worker has 3.11.4"),
    ({"python": "<=3.11"}, "needs python at most 3.11, the worker has 3.11.4"),
    ({"python": "==3.11"}, "needs python equal to 3.11, the worker has 3.11.4"),
    ({"python": "!=3.11.4"}, "needs python other than 3.11.4, the worker has 3.11.4"),
    ({"python": ">3.11.4"}, "needs python more than 3.11.4, the worker has 3.11.4"),
    ({"cores": ">=16"}, "needs cores at least 16, the worker has 8"),
    ({"cores": "08"}, "needs cores = 08, the worker has 8"),
    ({"memory": 15}, "needs memory = 15, the worker has 15.5"),
    ({"gpu": False}, "needs gpu = false, the worker has true"),
    ({"gpu": 1}, "needs gpu = 1, the worker has true"),
    ({"labels": "gpu"}, "needs labels = gpu, the worker has fast, ssd"),
    ({"pythons": ">=4"}, "needs pythons at least 4, the worker has 3.9, 3.12"),
    ({"odd": ">=3"}, "needs odd at least 3, the worker has unknown"),
    ({"swap": "<9"}, "needs swap less than 9, the worker does not say its swap"),
    ({"ram": ">=64GiB"}, "needs ram at least 64GiB, the worker has 23.6 GiB"),
    ({"ram": ["<1MB", ">=64GiB"]}, "needs ram = <1MB or >=64GiB, the worker has 23.6 GiB"),
    ({"ram": ">=99999999999"}, "needs ram at least 99999999999, the worker has 25333333333"),
    ({"disk": ">=1000GB"}, "needs disk at least 1000GB, the worker has 500GB"),
    ({"nothing": "x"}, "needs nothing = x, the worker does not say its nothing"),
]


def unmet(requires: dict[str, Any], job: dict[str, Any], worker: dict[str, Any]) -> list[str]:
    """What is wrong with the worker, a sentence for each condition that it does not meet."""
    return [one.sentence for one in conditions(requires, job, worker) if not one.is_met]


@pytest.mark.parametrize("requires", MET, ids=str)
def test_req_W2_a_worker_that_has_what_the_job_requires_matches(requires: dict[str, Any]) -> None:
    assert unmet(requires, {}, LINUX) == []


@pytest.mark.parametrize(("requires", "sentence"), UNMET, ids=str)
def test_req_W2_a_worker_that_does_not_match_says_why(requires: dict[str, Any], sentence: str) -> None:
    assert unmet(requires, {}, LINUX) == [sentence]


def test_req_W2_every_reason_is_told() -> None:
    reasons = unmet({"os": "windows", "cores": ">=4", "gpu": False}, {"is_controller": True}, LINUX)
    assert reasons == [
        "needs a controller worker, and this worker is not one",
        "needs os = windows, the worker has linux",
        "needs gpu = false, the worker has true",
    ]


@pytest.mark.parametrize("worker", [{}, {"is_controller": False}, {"is_controller": True}, {"is_controller": "true"}])
@pytest.mark.parametrize("job", [{}, {"is_controller": False}, {"is_controller": True}])
def test_req_W2_controller_jobs_and_controller_workers_belong_together(job: Any, worker: Any) -> None:
    expected = (job.get("is_controller") is True) == (worker.get("is_controller") in (True, "true"))
    reasons = unmet({}, job, worker)
    assert (reasons == []) is expected
    assert all("controller" in reason for reason in reasons)


versions = st.lists(st.integers(0, 30), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(versions, versions)
def test_req_W2_dotted_numbers_compare_as_lists_of_numbers(wanted: list[int], has: list[int]) -> None:
    longest = max(len(wanted), len(has))
    left = has + [0] * (longest - len(has))
    right = wanted + [0] * (longest - len(wanted))
    text = ".".join(map(str, wanted))
    worker = {"python": ".".join(map(str, has))}
    answers = {sign: unmet({"python": sign + text}, {}, worker) == [] for sign in (">=", "<=", ">", "<", "==", "!=")}
    assert answers == {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "==": left == right,
        "!=": left != right,
    }


@pytest.mark.parametrize("wanted", ["linux", 3, 1.5, True, [">=3", "x"], ">=3.11,<4", "!=windows", "a,b", "", ">=8GiB"])
def test_requirements_that_can_be_compared_are_accepted(wanted: Any) -> None:
    check_requirement("os", wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        *(">=", ">=abc", ">= 3.x", "=3", ">3,", ">3 <4", "<3;", None, {}, {"a": 1}, [], [[1]], [None], "!3"),
        *(">=8 GiB", ">=8gb", ">=8G", ">=GiB", ">=" + "9" * 19),
    ],
)
def test_requirements_that_could_never_be_met_are_refused(wanted: Any) -> None:
    with pytest.raises(Invalid, match="requires os: ") as refused:
        check_requirement("os", wanted)
    assert not isinstance(wanted, str) or "'>=3.11,<4' or '>=8GiB'" in str(refused.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def test_a_number_that_is_too_long_to_be_compared_is_not_cut_to_one_that_is_not() -> None:
    assert unmet({"serial": "<1000000000000000000"}, {}, {"serial": "9" * 19}) != []


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("ab"), anything), st.dictionaries(st.sampled_from("ab"), anything))
def test_req_W2_no_property_of_a_worker_can_break_the_dispatcher(requires: Any, has: Any) -> None:
    for reason in unmet(requires, has, has):
        assert len(reason) < 5000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("8", 8),
        ("-1", -1),
        ("0", 0),
        ("007", "007"),
        ("3.10", "3.10"),
        ("1e3", "1e3"),
        ("１", "１"),
        ("9" * 16, "9" * 16),
        ("8\n", "8\n"),
        ("", ""),
        ("@file", "@file"),
    ],
)
def test_req_S_35_a_property_is_a_truth_value_a_whole_number_or_its_text(text: str, value: object) -> None:
    assert read_property(text) == value
    assert type(read_property(text)) is type(value)


SCALARS = st.one_of(
    st.sampled_from(["linux", "3.11", "8GiB", "true", ""]), st.integers(0, 99), st.booleans(), st.floats(0, 9)
)
WANTED = st.one_of(SCALARS, st.sampled_from([">=3.11", ">=3,<4", ">=8GiB", "!=linux"]), st.lists(SCALARS, min_size=1))
NAMES = st.sampled_from(["os", "python", "memory", "is_controller"])


@given(
    st.dictionaries(NAMES, WANTED),
    st.dictionaries(NAMES, SCALARS),
    st.dictionaries(NAMES, st.one_of(st.none(), SCALARS, st.lists(SCALARS))),
)
def test_req_W2_a_worker_fits_exactly_when_no_condition_fails_and_each_that_fails_says_why(
    requires: dict[str, Any], job: dict[str, Any], worker: dict[str, Any]
) -> None:
    found = list(conditions(requires, job, worker))
    assert unmet(requires, job, worker) == [one.sentence for one in found if not one.is_met]
    assert set(requires) <= {one.name for one in found}
    for one in found:
        assert bool(one.sentence) == (not one.is_met)
        assert one.needs and one.needs.startswith(one.name)
    # One condition alone says of itself what it says among others.
    for name, wanted in requires.items():
        (alone,) = [one for one in conditions({name: wanted}, {}, {name: worker.get(name)}) if one.name == name][-1:]
        assert alone in found
