from __future__ import annotations

import pytest

from appliance.client import Client
from appliance.model.errors import Invalid
from tests.client.conftest import Asked, Reply, Service

RUN = "0b9b6a4e-3f0e-4c6b-9d55-1f6e1b9a7c11"


def test_a_trigger_says_parameters_and_key(service: Service, client: Client) -> None:
    service.replies = [Reply(201, {"id": RUN})]
    client.trigger("website", "test", {"branch": "main", "count": 3}, key="once")
    asked = service.asked[0]
    assert (asked.method, asked.path) == ("POST", "/api/v1/projects/website/jobs/test/runs")
    assert asked.document == {"parameters": {"branch": "main", "count": 3}}
    assert asked.headers["Idempotency-Key"] == "once"


def test_names_cannot_reach_another_path(service: Service, client: Client) -> None:
    client.job("a/b", "..")
    assert service.asked[0].path == "/api/v1/projects/a%2Fb/jobs/%2E%2E"


def test_filters_are_repeated_and_empty_ones_left_out(service: Service, client: Client) -> None:
    service.replies = [Reply(document={"items": [], "next": None})]
    assert list(client.runs(project="p", status=["failed", "errored"], worker=None, job=())) == []
    assert service.asked[0].path == "/api/v1/runs?project=p&status=failed&status=errored&limit=1000"


def test_lists_go_on_by_cursor_until_they_end(service: Service, client: Client) -> None:
    service.replies = [
        Reply(document={"items": [{"name": "a"}, {"name": "b"}], "next": "c&1"}),
        Reply(document={"items": [{"name": "c"}], "next": None}),
    ]
    assert [one["name"] for one in client.workers()] == ["a", "b", "c"]
    assert service.asked[1].path == "/api/v1/workers?limit=1000&cursor=c%261"


def test_a_limited_list_asks_for_no_more_than_that(service: Service, client: Client) -> None:
    def page(asked: Asked) -> Reply:
        size = int(asked.path.partition("limit=")[2].partition("&")[0])
        return Reply(document={"items": [{}] * size, "next": "more"})

    service.replies = [page]
    assert len(list(client.runs(limit=1001))) == 1001
    assert [asked.path.partition("limit=")[2] for asked in service.asked] == ["1000", "1&cursor=more"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (RUN, f"/api/v1/runs/{RUN}"),
        (RUN.upper(), f"/api/v1/runs/{RUN}"),
        ("p/j#7", "/api/v1/projects/p/jobs/j/runs/7"),
        ("p/j#latest", "/api/v1/projects/p/jobs/j/runs/latest"),
        ("p/j#last-success", "/api/v1/projects/p/jobs/j/runs/last-success"),
    ],
)
def test_a_run_is_found_by_what_people_write(service: Service, client: Client, name: str, path: str) -> None:
    client.named_run(name)
    assert service.asked[0].path == path


@pytest.mark.parametrize("name", ["", "p", "p/j", "p/j#", "/j#1", "p/#1", "p/j/k#1", "p#1", "not-an-id"])
def test_what_names_no_run_is_refused_with_what_to_write(service: Service, client: Client, name: str) -> None:
    with pytest.raises(Invalid, match="project/job#7"):
        client.named_run(name)
    assert service.asked == []


def test_a_part_of_a_log_says_its_size_and_whether_it_is_all(service: Service, client: Client) -> None:
    headers = {"Orchestra-Log-Size": "9", "Orchestra-Log-Complete": "true"}
    service.replies = [Reply(body=b"\x00\xff\r\n", headers=headers, content_type="application/octet-stream")]
    part = client.log(RUN, 5, 4)
    assert part == (b"\x00\xff\r\n", 9, True)
    assert service.asked[0].path == f"/api/v1/runs/{RUN}/log?offset=5&limit=4"


def test_after_a_login_the_new_token_is_used(service: Service) -> None:
    service.replies = [Reply(document={"token": "orc_u_2", "expires_at": None})]
    with Client(service.url) as client:
        client.login("ana", "secret words here")
        client.me()
    assert "Authorization" not in service.asked[0].headers
    assert service.asked[1].headers["Authorization"] == "Bearer orc_u_2"


def test_an_empty_answer_is_no_error(service: Service, client: Client) -> None:
    service.replies = [Reply(204, body=b"")]
    client.revoke_token("t")
    client.remove_worker("w")
    assert [asked.method for asked in service.asked] == ["DELETE", "DELETE"]
