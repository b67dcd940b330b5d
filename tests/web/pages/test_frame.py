"""What surrounds every page stays, also around refusals: who is logged in can go on."""

from __future__ import annotations

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import Status
from tests.web.pages.site import Site
from tests.web.pages.test_pages import Structure


@pytest.mark.parametrize(
    ("user", "path", "status"),
    [
        ("nobody", "/workers", 403),
        ("vera", "/p/website/nothing", 404),
        ("vera", "/p/nothing", 404),
        ("vera", "/p/website/test/99", 404),
        ("vera", "/nothing/at/all", 404),
        ("vera", "/runs?status=broken", 422),
        ("vera", "/runs?cursor=forged", 422),
        ("vera", "/p/website/test/2/log?offset=x", 422),
    ],
)
def test_a_refused_page_keeps_the_navigation_of_who_is_logged_in(
    site: Site, runs: dict[Status, Run], user: str, path: str, status: int
) -> None:
    answer = site.login(user).get(path)
    assert answer.status == status
    links = [one["href"] for one in Structure(answer.text).of("a")]
    assert {"/", "/projects", "/runs", "/me"} <= set(links)
    assert ("/workers" in links) == (user != "nobody")
    assert f">{user}</a>" in answer.text


def test_logout_works_from_a_refused_page(site: Site) -> None:
    browser = site.login()
    assert browser.submit("/logout", {}, page="/nothing").header("Location") == "/login"
    assert browser.get("/").status == 303


def test_a_refused_change_keeps_the_navigation_too(site: Site) -> None:
    answer = site.login("vera").submit("/p/website/test", {"parameters.ticket": "x"}, page="/me")
    assert answer.status == 403 and ">vera</a>" in answer.text


def test_who_is_not_logged_in_sees_no_navigation_on_a_refusal(site: Site) -> None:
    answer = site.browser().get("/nothing/at/all")
    assert answer.status == 404
    assert "Log out" not in answer.text and 'href="/runs"' not in answer.text
    browser = site.login()
    browser.cookies["session"] = "made-up"
    assert "Log out" not in browser.get("/nothing/at/all").text


def test_a_refusal_says_nothing_about_what_one_may_not_see(site: Site, runs: dict[Status, Run]) -> None:
    browser = site.login("nobody")
    hidden, none = browser.get("/p/website"), browser.get("/p/secretive")
    assert hidden.status == none.status == 404
    assert hidden.text.replace("website", "x") == none.text.replace("secretive", "x")
