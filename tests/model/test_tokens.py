from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import tokens
from appliance.model.errors import Unauthenticated

SECRETS = st.binary(min_size=32, max_size=32)
KINDS: list[tokens.Kind] = ["user", "worker", "run", "setup"]


@given(SECRETS, st.sampled_from(KINDS))
def test_a_token_is_read_back(secret: bytes, kind: tokens.Kind) -> None:
    text = tokens.render(kind, secret)
    assert re.fullmatch(r"orc_[uwrs]_[0-9a-f]{70}", text)
    assert tokens.parse(text) == tokens.Parsed(kind, secret)


@given(SECRETS)
def test_a_bare_token_is_read_in_either_case(secret: bytes) -> None:
    assert tokens.parse(secret.hex()) == tokens.parse(secret.hex().upper()) == tokens.Parsed(None, secret)


@given(SECRETS, st.integers(0, 75), st.sampled_from("0123456789abcdef_x\u0661 \n"))
def test_one_wrong_letter_is_noticed(secret: bytes, place: int, letter: str) -> None:
    text = tokens.render("user", secret)
    broken = text[:place] + letter + text[place + 1 :]
    if broken != text:
        with pytest.raises(Unauthenticated):
            tokens.parse(broken)


@pytest.mark.parametrize(
    "text",
    ["", "orc_u_", "a" * 63, "a" * 65, "a" * 64 + "\n", "g" * 64, "orc_x_" + "a" * 70, "a" * 1_000_000, "\u0661" * 64],
)
def test_defect_J39_what_is_no_token_is_no_login(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.parse(text)


@given(st.uuids(version=4), st.binary(min_size=32, max_size=32))
def test_req_S_84_a_run_token_tells_its_run_to_the_holder_of_the_key(name: uuid.UUID, key: bytes) -> None:
    secret = tokens.run_secret(str(name), key)
    assert tokens.run_of(secret, key) == str(name)
    assert tokens.run_of(secret, key + b"x") is None
    assert tokens.run_of(secret[:-1] + bytes([secret[-1] ^ 1]), key) is None
    assert tokens.run_of(bytes([secret[0] ^ 1]) + secret[1:], key) is None
