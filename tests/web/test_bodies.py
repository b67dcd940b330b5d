from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError, Invalid, Malformed
from appliance.web.bodies import form_body, form_fields, read_query
from appliance.web.head import Head, head_of_environ
from appliance.web.paging import read_cursor, write_cursor

KEY = bytes(32)
FORM = Head("http", "127.0.0.1", {"content-type": "application/x-www-form-urlencoded"})


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=10)] = ""
    count: int = 0
    is_on: bool = False
    tags: tuple[str, ...] = ()
    parameters: dict[str, str] = {}


def read(text: str) -> tuple[Form, str]:
    fields, token = form_fields(FORM, text.encode())
    return form_body(fields, Form), token


def test_a_form_becomes_typed_values_and_its_token_is_taken_out() -> None:
    form, token = read("csrf=abc&name=ada&count=3&is_on=true&tags=x&tags=y&parameters.branch=main&parameters.a.b=+c")
    assert token == "abc"
    assert form == Form("ada", 3, True, ("x", "y"), {"branch": "main", "a.b": " c"})


@pytest.mark.parametrize(
    "text",
    [
        "colour=red",
        "name=a&name=b",
        "count=many",
        "count=1.5",
        "name=12345678901",
        "name.x=1",
        "parameters=1&parameters.x=1",
        "parameters.x=1&parameters=1",
        "tags.x=1",
    ],
)
def test_a_form_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read(text)


@pytest.mark.parametrize("text", ["name=%ff", "name=%00", "&".join(f"a{n}=" for n in range(1001)), "name=\xff"])
def test_a_form_that_cannot_be_read_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        form_fields(FORM, text.encode("latin-1"))


def test_a_page_passes_over_what_its_query_does_not_know_and_the_service_does_not() -> None:
    assert read_query("name=&utm=1&count=2", Form, is_page=True) == Form(count=2)
    with pytest.raises(Invalid):
        read_query("utm=1", Form, is_page=False)


@given(st.binary(max_size=200))
def test_no_bytes_of_a_form_are_worse_than_a_refusal(raw: bytes) -> None:
    try:
        fields, _ = form_fields(FORM, raw)
        form_body(fields, Form)
    except ApplianceError as error:
        assert str(error)


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_a_cursor_is_read_back(place: list[str]) -> None:
    place = [text.encode("utf-8", "replace").decode() for text in place]
    assert read_cursor(KEY, "runs", write_cursor(KEY, "runs", place), 2) == place


@given(st.text(max_size=60))
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_cursor(KEY, "runs", text, 2)


def test_a_cursor_of_another_list_or_key_or_with_one_changed_bit_is_refused() -> None:
    cursor = write_cursor(KEY, "runs", ["1", "2"])
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-3] ^= 1
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    for key, listing, text in ((KEY, "users", cursor), (b"x" * 32, "runs", cursor), (KEY, "runs", changed)):
        with pytest.raises(Invalid):
            read_cursor(key, listing, text, 2)


@pytest.mark.parametrize(
    ("peer", "host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost", True),
        ("::1", "[::1]:8080", True),
        ("127.9.9.9", "ci.localhost:80", True),
        ("127.0.0.1", "ci.example.org", False),
        ("127.0.0.1", "localhost.example.org", False),
        ("192.0.2.1", "localhost", False),
        ("", "localhost", False),
        ("127.0.0.1", "", False),
    ],
)
def test_local_is_a_local_peer_that_asks_a_local_name(peer: str, host: str, expected: bool) -> None:
    assert Head("http", peer, {"host": host}).is_local is expected


def test_a_head_is_read_from_wsgi() -> None:
    environ: dict[str, Any] = {"HTTP_HOST": "Ci.Example:80", "HTTP_COOKIE": "a=1; session=x=y; session=z"}
    head = head_of_environ({**environ, "wsgi.url_scheme": "https", "REMOTE_ADDR": "192.0.2.1", "CONTENT_TYPE": "a/b"})
    assert (head.host, head.cookie("session"), head.cookie("b")) == ("ci.example:80", "x=y", None)
    assert head.is_own_origin("https://ci.example:80", "")
    assert head.is_own_origin("https://other.example", "https://other.example/base")
    assert not head.is_own_origin("http://ci.example:80", "")
