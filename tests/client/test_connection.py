from __future__ import annotations

import socket

import pytest

from appliance.client import Client, Unreachable
from appliance.model import errors
from tests.client.conftest import Reply, Service, problem


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.Malformed),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.Invalid),
        (409, errors.Conflict),
        (413, errors.TooLarge),
        (422, errors.Invalid),
        (429, errors.Throttled),
        (500, errors.ApplianceError),
        (503, errors.Unavailable),
        (507, errors.Full),
    ],
)
def test_each_refusal_is_raised_as_the_error_it_means(
    service: Service, client: Client, status: int, error: type[errors.ApplianceError]
) -> None:
    service.replies = [problem(status, "because")]
    with pytest.raises(errors.ApplianceError, match="because") as caught:
        client.me()
    assert type(caught.value) is error


def test_errors_of_fields_are_kept(service: Service, client: Client) -> None:
    service.replies = [problem(422, "wrong", errors=[{"field": "parameters.branch", "message": "is missing"}, 7])]
    with pytest.raises(errors.Invalid) as caught:
        client.me()
    assert caught.value.errors == {"parameters.branch": "is missing"}


def test_a_refusal_for_now_says_when_to_ask_again(service: Service, client: Client) -> None:
    service.replies = [problem(429, "slowly")._replace(headers={"Retry-After": "17"})]
    with pytest.raises(errors.Throttled) as caught:
        client.me()
    assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, body=b"<h1>nope</h1>", content_type="text/html"),
        Reply(200, body=b"<h1>hello</h1>", content_type="text/html"),
        Reply(200, document=["not", "an", "object"]),
        Reply(200, body=b"[" * 200_000),
        Reply(502, body=b"bad gateway", content_type="text/plain"),
        Reply(404, body=b"{", content_type="application/problem+json"),
    ],
)
def test_what_does_not_answer_like_orchestra_is_unreachable(service: Service, client: Client, reply: Reply) -> None:
    service.replies = [reply]
    with pytest.raises(Unreachable, match="not"):
        client.me()


def test_a_redirect_is_not_followed_but_named(service: Service, client: Client) -> None:
    service.replies = [Reply(301, body=b"", headers={"Location": "https://other.example/"})]
    with pytest.raises(Unreachable, match="points to 'https:"):
        client.me()
    assert len(service.asked) == 1


def test_nobody_at_the_address_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match="is the server running"):
        Client(f"http://127.0.0.1:{port}").me()


def test_one_connection_serves_many_requests(service: Service, client: Client) -> None:
    for _ in range(5):
        client.me()
    assert service.connections == 1
    assert all(asked.headers["Authorization"] == "Bearer orc_u_1" for asked in service.asked)


def test_a_connection_that_the_server_closed_is_replaced(service: Service, client: Client) -> None:
    service.replies = [Reply(document={}, hang_up=True), Reply(document={})]
    client.me()
    assert service.hung_up.wait(10)
    client.set_results("r", {"a": 1})
    assert [asked.method for asked in service.asked] == ["GET", "PATCH"]


def test_a_get_whose_answer_was_lost_is_asked_again(service: Service, client: Client) -> None:
    service.replies = [Reply(drop=True), Reply(document={"name": "ana"})]
    assert client.me() == {"name": "ana"}


def test_a_change_whose_answer_was_lost_is_not_made_twice(service: Service, client: Client) -> None:
    service.replies = [Reply(drop=True), Reply(document={})]
    with pytest.raises(Unreachable):
        client.abort("r")
    assert len(service.asked) == 1


def test_req_T5_a_trigger_whose_answer_was_lost_is_repeated_with_the_same_key(service: Service, client: Client) -> None:
    service.replies = [Reply(drop=True), Reply(201, {"id": "r"})]
    assert client.trigger("p", "j") == {"id": "r"}
    first, second = service.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] != ""


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "http://", "http://x:99999", "http://u:p@x", "http://x?a", "http://x#a", "http://x y", "http://[x"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(errors.Invalid, match="address"):
        Client(url)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Other: 1", "é"])
def test_req_S_17_a_token_cannot_bring_other_headers(token: str) -> None:
    with pytest.raises(errors.Invalid, match="token"):
        Client("http://127.0.0.1", token)


def test_req_S_17_an_idempotency_key_cannot_bring_other_headers(service: Service, client: Client) -> None:
    with pytest.raises(errors.Invalid, match="Idempotency-Key"):
        client.trigger("p", "j", key="a\r\nX-Other: 1")
    assert service.asked == []


def test_an_address_may_have_a_base_path(service: Service) -> None:
    with Client(service.url + "/ci/") as client:
        client.me()
    assert service.asked[0].path == "/ci/api/v1/me"


@pytest.mark.parametrize("cut", [0, 1, 12])
def test_fault_F13_an_answer_that_is_cut_off_is_no_answer(service: Service, client: Client, cut: int) -> None:
    """The server was killed in the middle of it: the same request with the same key brings the same run."""
    service.replies = [Reply(201, {"id": "the run"}, cut=cut), Reply(201, {"id": "the run"})]
    assert client.trigger("p", "j")["id"] == "the run"
    first, second = service.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


@pytest.mark.parametrize("cut", [0, 1])
def test_an_answer_that_is_cut_off_twice_is_told(service: Service, client: Client, cut: int) -> None:
    service.replies = [Reply(200, {"name": "ana"}, cut=cut)]
    with pytest.raises(Unreachable, match="is the server running"):
        client.me()
    with pytest.raises(Unreachable):
        client.cancel("11111111-2222-4333-8444-555555555555")
