from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import Invalid
from appliance.model.passwords import check_new_password, fits, hash_password, nobodys_hash, verify_password

WORDS = frozenset({"dragon", "iloveyou", "1q2w3e4r5t6y"})
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(TEXTS, TEXTS, st.binary(min_size=1, max_size=32), st.integers(1, 5))
def test_a_hash_verifies_its_own_password_only(password: str, other: str, salt: bytes, iterations: int) -> None:
    stored = hash_password(password, salt, iterations)
    assert verify_password(password, stored)
    assert verify_password(other, stored) == (other == password)


def test_the_known_answer_of_pbkdf2_is_met() -> None:
    """RFC 7914 section 11: P "passwd", S "salt", c 1 (its first 32 bytes)."""
    digest = bytes.fromhex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")
    import base64

    expected = f"$pbkdf2-sha256$i=1$c2FsdA==${base64.b64encode(digest).decode()}"
    assert hash_password("passwd", b"salt", 1) == expected


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "plain",
        "$pbkdf2-sha256$i=0$c2FsdA==$AAAA",
        "$pbkdf2-sha256$i=-1$c2FsdA==$AAAA",
        "$pbkdf2-sha256$i=1$$",
        "$pbkdf2-sha256$i=1$c2F$AAAA",
        "$pbkdf2-sha256$i=999999999$c2FsdA==$AAAA",
        "$pbkdf2-sha1$i=1$c2FsdA==$AAAA",
        "$pbkdf2-sha256$i=1$c2FsdA==$AAAA\n",
        "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$AAAA",
    ],
)
def test_a_form_that_cannot_be_read_matches_nothing(stored: str) -> None:
    assert not verify_password("password", stored)


def test_nobody_knows_the_password_of_nobody() -> None:
    assert not any(verify_password(guess, nobodys_hash(1)) for guess in ("", "nobody", "\0" * 32))


def test_a_password_has_1_to_1024_bytes_of_text() -> None:
    assert fits("a" * 1024)
    assert fits("ü" * 512)
    assert not fits("ü" * 513)
    assert not fits("")
    assert not fits("\ud800")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("dragon", "at least 12"),
        ("elevenchars", "at least 12"),
        ("x" * 1025, "at most 1024"),
        ("abababababab", "few characters"),
        ("dragon123456", "common"),
        ("DragonDragon", "common"),
        ("2024-iloveyou-2024", "common"),
        ("1q2w3e4r5t6y", "common"),
        ("ada.lovelace", "ada.lovelace"),
        ("Ada.Lovelace99", "ada.lovelace"),
    ],
)
def test_req_S_08_weak_passwords_are_named_for_their_weakness(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check_new_password(password, WORDS, ["ada.lovelace"])


@pytest.mark.parametrize(
    "password", ["dragons and knights", "iloveyoudragon", "ada.lovelace wrote the first one", "7dq!m2Kz9#pw"]
)
def test_req_S_08_good_passwords_pass(password: str) -> None:
    check_new_password(password, WORDS, ["ada.lovelace"])
