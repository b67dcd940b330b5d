"""Filters, order and place of every list stand in the address (issue: pages), without scripts."""

from __future__ import annotations

import re

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import Status
from tests.web.pages.site import Browser, Site, add_project


def hrefs(page: str, pattern: str) -> list[str]:
    return re.findall(rf'href="({pattern})"', page)


def walk(browser: Browser, address: str, pattern: str) -> list[str]:
    """What fits the pattern on all pages of a list, following "next"."""
    seen: list[str] = []
    while address:
        page = browser.get(address)
        assert page.status == 200, address
        seen += re.findall(pattern, page.text)
        older = re.search(r'href="([^"]*)" rel="next"', page.text)
        address = older[1].replace("&amp;", "&") if older else ""
    return seen


@pytest.mark.parametrize("path", ["/runs?job=nightly", "/p/website/nightly"])
def test_runs_are_read_page_by_page_from_either_end(site: Site, path: str) -> None:
    made = [str(site.run("nightly").number) for _ in range(120)]
    mark = "&" if "?" in path else "?"
    numbers = r'<td class="name"><a href="/p/website/nightly/(\d+)"'
    assert walk(site.login(), path, numbers) == made[::-1]
    assert walk(site.login(), f"{path}{mark}sort=created", numbers) == made
    assert walk(site.login(), f"{path}{mark}sort=-created", numbers) == made[::-1]


def test_the_order_is_a_link_that_keeps_the_filter_and_the_filter_keeps_the_order(
    site: Site, runs: dict[Status, Run]
) -> None:
    browser = site.login()
    page = browser.get("/runs?job=test&status=failed&status=errored").text
    (turn,) = hrefs(page, r"/runs\?[^\"]*sort=[^\"]*")
    assert turn.replace("&amp;", "&") == "/runs?job=test&status=failed&status=errored&sort=created"
    turned = browser.get(turn.replace("&amp;", "&")).text
    assert turned.index("test<b>#2</b>") < turned.index("test<b>#3</b>")
    assert page.index("test<b>#3</b>") < page.index("test<b>#2</b>")
    assert '<input type="hidden" name="sort" value="created">' in turned
    assert '<span aria-current="true">oldest first</span>' in turned


@pytest.mark.parametrize("path", ["/runs", "/p/website/nightly", "/projects", "/p/website", "/workers", "/me"])
def test_an_order_that_a_list_has_not_is_told_with_those_that_it_has(site: Site, path: str) -> None:
    answer = site.login().get(f"{path}?sort=colour")
    assert answer.status == 422
    assert "cannot be sorted by" in answer.text and ("created" in answer.text or "name" in answer.text)


def test_days_choose_runs(site: Site) -> None:
    first = site.run("nightly")
    site.clock.advance(2 * 86400)
    site.run("nightly")
    day = first.created_at.date().isoformat()
    browser = site.login()

    def shown(query: str) -> list[str]:
        return re.findall(r"nightly<b>#(\d)</b>", browser.get(f"/runs?{query}").text)

    assert shown(f"since={day}") == ["2", "1"]
    assert shown(f"until={day}") == shown(f"since={day}&until={day}") == ["1"]
    assert shown("since=2500-01-01") == []
    assert shown("since=") == ["2", "1"]


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "0001-01-01", "9999-12-31", "2026-01-01T00:00", "1" * 60])
def test_a_day_that_is_none_is_told_at_its_field(site: Site, day: str) -> None:
    answer = site.login().get(f"/runs?until={day}&job=nightly")
    assert answer.status == 422
    assert 'id="q-until-error"' in answer.text and 'id="q-since-error"' not in answer.text
    assert f'value="{day}"' in answer.text and 'value="nightly"' in answer.text


def test_projects_and_jobs_are_listed_by_name_or_as_in_the_files(site: Site) -> None:
    jobs = [{"identifier": name, "definition": {"commands": ["true"]}} for name in ("zebra", "Ant", "mole")]
    add_project(site, jobs)
    browser = site.login()

    def shown(sort: str) -> list[str]:
        page = browser.get(f"/p/website?sort={sort}").text
        return re.findall(r'<td class="name"><a href="/p/website/(\w+)"', page)

    assert shown("position") == ["zebra", "Ant", "mole"]
    assert shown("name") == ["Ant", "mole", "zebra"]
    assert shown("-name") == ["zebra", "mole", "Ant"]
    assert browser.get("/projects?sort=-name").status == 200


def test_very_many_jobs_are_read_page_by_page(site: Site) -> None:
    names = [f"job{number}" for number in range(230)]
    add_project(site, [{"identifier": name, "definition": {"commands": ["true"]}} for name in names])
    assert walk(site.login(), "/p/website", r'<td class="name"><a href="/p/website/(\w+)"') == names
    assert walk(site.login(), "/p/website?sort=-name", r'<td class="name"><a href="/p/website/(\w+)"') == sorted(
        names, reverse=True
    )


def test_workers_are_read_page_by_page_from_either_end(site: Site) -> None:
    names = sorted(["build-1", *(f"worker-{number:03}" for number in range(120))])
    for name in names[1:]:
        site.trial.workers.create(name, "ada")
    pattern = r'<td class="name"><a href="/workers/([\w-]+)"'
    assert walk(site.login(), "/workers", pattern) == names
    assert walk(site.login(), "/workers?sort=-name", pattern) == names[::-1]


def test_tokens_and_sessions_are_read_page_by_page(site: Site) -> None:
    labels = [f"token {number:03}" for number in range(70)]
    for label in labels:
        site.parts.accounts.create_token("vera", label)
        site.clock.advance(1)
    browser = site.login("vera")
    pattern = r'<td class="name">(token \d+)</td>'
    assert walk(browser, "/me", pattern) == labels[::-1]
    assert walk(browser, "/me?sort=created", pattern) == labels
    assert walk(browser, "/me?sort=label", pattern) == labels
    assert walk(browser, "/me?sort=-label", pattern) == labels[::-1]
    assert len(walk(browser, "/me?sort=-used", pattern)) == 70


@pytest.mark.parametrize("path", ["/runs", "/p/website/nightly", "/projects", "/p/website", "/workers", "/me"])
def test_a_cursor_that_is_not_of_this_list_is_refused(site: Site, path: str) -> None:
    assert site.login().get(f"{path}?cursor=forged").status == 422
