"""Keyed proofs (reliability.md 5.1)."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.caps import derive, is_cap, make_cap, request_digest

KEY = b"k" * 32
WORDS = ("run", "worker", "journal", "d" * 64)


def test_a_cap_is_known_again() -> None:
    assert is_cap(KEY, make_cap(KEY, *WORDS), *WORDS)


@pytest.mark.parametrize("place", range(4))
def test_req_S_20_a_cap_is_for_one_run_one_worker_one_journal_and_one_request(place: int) -> None:
    other = [*WORDS]
    other[place] += "x"
    assert not is_cap(KEY, make_cap(KEY, *WORDS), *other)


def test_req_S_20_a_cap_under_another_key_is_none() -> None:
    assert not is_cap(KEY, make_cap(b"K" * 32, *WORDS), *WORDS)


@given(st.text(st.characters(max_codepoint=127), max_size=70))
def test_no_other_text_is_a_cap(text: str) -> None:
    assert not is_cap(KEY, text, *WORDS)


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive(KEY, purpose) for purpose in ("cap", "web", "run", "")} | {derive(b"other", "cap")}
    assert len(keys) == 5 and all(len(key) == 32 for key in keys)


def test_what_is_signed_stays_as_it_is_so_that_old_assignments_are_known_after_an_upgrade() -> None:
    expected = hmac.new(KEY, "\n".join(WORDS).encode(), hashlib.sha256).hexdigest()
    assert make_cap(KEY, *WORDS) == expected
    assert derive(KEY, "cap") == hmac.new(KEY, b"orchestra:cap", hashlib.sha256).digest()


def test_a_digest_is_of_the_exact_text() -> None:
    assert request_digest('{"é":1}') == hashlib.sha256('{"é":1}'.encode()).hexdigest()
    assert request_digest('{"a":1}') != request_digest('{"a": 1}')
