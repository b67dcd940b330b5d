"""The request of an assignment: its exact text, which a digest is made of."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from appliance.model import definitions
from appliance.model.entities import Run, Source
from appliance.model.errors import Invalid
from appliance.model.requests import SMALLEST_LOG, Limits, build_request, origin_of, read_back, request_of
from appliance.model.run_state import Status
from tests.db.values import NOW, at

LIMITS = Limits(grace=7.0, teardown_timeout=8.0, log_size=1 << 20, url="https://here")
DOCUMENT = {
    "identifier": "work",
    "definition": {"setup_commands": [["s"]], "commands": [["c", "{parameters.branch}"]], "teardown_commands": ["t"]},
    "environment": {"LANG": "C"},
}


def request(**changes: Any) -> dict[str, Any]:
    document = definitions.job_of({**DOCUMENT, **changes})
    made: dict[str, Any] = json.loads(build_request("id", "p", "work", 7, {"branch": "é"}, document, LIMITS))
    return made


def test_a_request_says_all_that_an_executor_needs() -> None:
    made = request()
    assert (made["format"], made["run"], made["attempt"], made["number"]) == (1, "id", 1, 7)
    assert (made["project"], made["job"], made["url"]) == ("p", "work", "https://here")
    assert (made["parameters"], made["environment"]) == ({"branch": "é"}, {"LANG": "C"})
    assert json.dumps(made["definition"]).count("{parameters.branch}") == 1  # filled in by the executor


@pytest.mark.parametrize(
    ("said", "key", "value"),
    [
        ({}, "timeout", None),
        ({"timeout": "2h"}, "timeout", 7200.0),
        ({}, "grace", 7.0),
        ({"grace": "0s"}, "grace", 0.0),
        ({}, "log_limit", 1 << 20),
        ({"log_limit": "64MiB"}, "log_limit", 64 << 20),
        ({"log_limit": "1KiB"}, "log_limit", SMALLEST_LOG),
        ({}, "on_log_full", "truncate"),
        ({"on_log_full": "abort"}, "on_log_full", "abort"),
        ({}, "teardown_timeout", 8.0),
    ],
)
def test_limits_of_the_job_win_over_those_of_the_appliance(
    said: dict[str, Any], key: str, value: float | str | None
) -> None:
    assert request(**said)[key] == value


def test_the_same_run_has_the_same_text_whatever_the_order_of_its_values() -> None:
    document = definitions.job_of(DOCUMENT)
    texts = {
        build_request("id", "p", "work", 7, given, document, LIMITS)
        for given in ({"a": 1, "b": "x"}, {"b": "x", "a": 1})
    }
    assert len(texts) == 1 and " " not in texts.pop().replace("{parameters.branch}", "")


def test_the_request_of_a_run_is_made_of_the_run() -> None:
    run = Run(
        id="id", project="p", job="work", number=7, status=Status.PENDING, parameters={"branch": "é"},
        source=Source(type="user"), definition_version="v1", created_at=NOW,
    )  # fmt: skip  # one run
    document = definitions.job_of(DOCUMENT)
    text = request_of(run, document, LIMITS)
    assert text == build_request("id", "p", "work", 7, {"branch": "é"}, document, LIMITS, origin=origin_of(run))
    assert request_of(msgspec.structs.replace(run, number=8), document, LIMITS) != text


def test_fault_F24_a_run_can_be_made_again_from_its_request() -> None:
    run = Run(
        id="id", project="p", job="work", number=7, status=Status.RUNNING, parameters={"branch": "é", "n": 1.5},
        source=Source(type="user", user="bob", via="website"), definition_version="v1", created_at=NOW,
        expires_at=at(60), retry_of="another", parent="above", batch="many", priority=3,
    )  # fmt: skip  # one run
    new, number = read_back(request_of(run, definitions.job_of(DOCUMENT), LIMITS))
    assert number == 7
    assert all(getattr(new, name) == getattr(run, name) for name in new.__struct_fields__)


def said(number: int, created_at: str) -> str:
    """A request that says no more than what a run is made of."""
    origin = f'{{"created_at":{created_at},"definition_version":"v1","source":{{"type":"user"}}}}'
    return f'{{"run":"id","project":"p","job":"work","number":{number},"parameters":{{}},"origin":{origin}}}'


def test_no_more_of_a_request_is_needed_than_it_takes_to_make_the_run() -> None:
    assert read_back(said(7, "1"))[1] == 7


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        '{"run":"id","project":"p","job":"work","number":7,"parameters":{}}',
        said(0, "1"),
        said(1, "1e300"),
        said(1, "9007199254740991"),
        said(1, '"yesterday"'),
    ],
)
def test_a_request_that_does_not_say_which_run_it_was_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_back(text)
