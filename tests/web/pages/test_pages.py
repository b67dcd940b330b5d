"""What each page shows, without scripts, over real use cases."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import chain

import pytest

from appliance.model.entities import Run
from appliance.model.run_state import Status
from appliance.web.pages import table
from tests.web.pages.site import LOG, Site, add_project

PAGES = (
    "/",
    "/projects",
    "/p/website",
    "/p/website/test",
    "/p/website/test/2",
    "/p/website/test/2/log",
    "/p/website/test/5",
    "/p/website/test/5/log",
    "/runs",
    "/queue",
    "/workers",
    "/me",
)
VOID = frozenset(["meta", "link", "input", "br", "img", "hr"])


class Structure(HTMLParser):
    """Checks that elements are closed in order, and keeps what tests look at."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> where {self.open} is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_well_formed_and_can_be_used_without_seeing_it(
    site: Site, runs: dict[Status, Run], path: str
) -> None:
    answer = site.login().get(path)
    assert answer.status == 200
    page = Structure(answer.text)
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == len(page.of("main")) == len(page.of("title")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id twice"
    labels = {attributes.get("for") for attributes in page.of("label")}
    for field in (*page.of("input"), *page.of("select"), *page.of("textarea")):
        if field.get("type") not in ("hidden", "checkbox"):
            assert field["id"] in labels, f"a field without a label: {field}"
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)


@pytest.mark.parametrize("path", PAGES)
def test_req_S_14_pages_are_private_and_load_only_our_own_files(site: Site, runs: dict[Status, Run], path: str) -> None:
    answer = site.login().get(path)
    assert answer.header("Cache-Control") == "no-store"
    assert "default-src 'none'" in answer.header("Content-Security-Policy")
    assert "unsafe-" not in answer.header("Content-Security-Policy")
    page = Structure(answer.text)
    loaded = [one.get("src") for one in page.of("script")] + [one.get("href") for one in page.of("link")]
    assert loaded
    for address in loaded:
        assert address is not None and site.browser().get(address).status == 200


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_every_page_leads_somewhere(site: Site, runs: dict[Status, Run], path: str) -> None:
    browser = site.login()
    for link in {one["href"] for one in Structure(browser.get(path).text).of("a")}:
        assert link is not None
        if link.startswith("/"):
            assert browser.get(link).status == 200, link


def test_nobody_is_led_to_the_login_and_back(site: Site) -> None:
    answer = site.browser().get("/runs?status=failed")
    assert (answer.status, answer.header("Location")) == (303, "/login?next=%2Fruns%3Fstatus%3Dfailed")


def test_the_dashboard_says_what_failed_runs_and_waits(site: Site, runs: dict[Status, Run]) -> None:
    page = site.login().get("/").text
    for status in (Status.FAILED, Status.ERRORED, Status.LOST, Status.RUNNING, Status.ASSIGNED, Status.PENDING):
        run = runs[status]
        assert f'href="/p/website/{run.job}/{run.number}"' in page
    assert "command 1: unknown name" in page
    assert re.search(r'fails since <a href="/p/website/test/2">#2</a>, <time[^>]*>\d+ min ago', page)
    assert "Next step" not in page


def test_the_dashboard_tells_a_job_that_fails_from_one_that_went_well_again(site: Site) -> None:
    def words() -> str:
        return " ".join("".join(Structure(site.login().get("/").text).words).split())

    site.run("nightly", Status.SUCCEEDED, LOG)
    assert "Nothing fails." in words()
    site.run("nightly", Status.FAILED, LOG)
    site.clock.advance(7200)
    site.run("nightly", Status.ERRORED, LOG)
    site.run("nightly", Status.ABORTED, LOG)  # says nothing about the job
    assert "website/nightly#3" in words() and "fails since #2, 2 h ago" in words()
    site.run("nightly", Status.SUCCEEDED, LOG)
    assert "went well again with #5" in words() and "fails since" not in words()
    site.run("test", Status.FAILED, LOG)  # its first run: there is no success before it
    assert "fails since just now" in words()
    site.clock.advance(86400)
    assert "went well again" not in words() and "fails since 1 d ago" in words()


def test_the_dashboard_of_an_empty_appliance_says_the_next_step(site: Site) -> None:
    site.parts.workers.remove("build-1")
    page = site.login().get("/").text
    assert "Next step" in page and 'href="/workers"' in page and "Add a worker" in page
    assert "There are no runs yet." in page


def test_readers_see_only_their_projects(site: Site, runs: dict[Status, Run]) -> None:
    for path in ("/", "/projects", "/runs"):
        assert "website" in site.login("vera").get(path).text
        assert "website" not in site.login("nobody").get(path).text
    for path in (
        "/p/website",
        "/p/website/test",
        "/p/website/test/2",
        "/p/website/test/2/log",
        "/p/website/test/2/log.txt",
    ):
        assert site.login("nobody").get(path).status == 404


def test_viewers_get_no_buttons_that_they_may_not_press(site: Site, runs: dict[Status, Run]) -> None:
    viewer, operator = site.login("vera"), site.login("otto")
    assert ">Trigger</button>" not in viewer.get("/p/website/test").text
    assert ">Trigger</button>" in operator.get("/p/website/test").text
    assert "Abort run" not in viewer.get("/p/website/test/5").text
    assert "Abort run" in operator.get("/p/website/test/5").text
    assert "Add worker" not in operator.get("/workers").text


def test_the_page_of_a_run_tells_everything_about_it(site: Site, runs: dict[Status, Run]) -> None:
    page = site.login().get("/p/website/test/2").text
    words = " ".join(" ".join(Structure(page).words).split())
    for text in (
        "test #2", "failed", "command 2 ended with exit code 2", "exit code 0", "skipped", "tests", "28.2 s",
        "make -C src", "branch main", "ticket ABC-1", "revision 9f2c1ab", "passed 118", "line 120: compiling",
        "Whole: 3661 bytes, and worker and server computed the same SHA-256.", runs[Status.FAILED].id, "build-1",
    ):  # fmt: skip
        assert text in words, text
    assert 'href="https://ci.example.org/report/42"' in page
    assert "Abort" not in page and "Cancel" not in page


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SKIPPED])
def test_a_run_of_every_status_says_it_by_word_and_shape(site: Site, runs: dict[Status, Run], status: Status) -> None:
    run = runs[status]
    page = site.login().get(f"/p/{run.project}/{run.job}/{run.number}").text
    assert re.search(rf'<span class="chip {status}"><svg.*?</svg>\s*<span>{status}</span></span>', page, re.DOTALL)


def test_a_live_run_reloads_without_scripts_until_the_reader_stops_that(site: Site, runs: dict[Status, Run]) -> None:
    browser = site.login()
    for path in ("/p/website/test/5", "/p/website/test/5/log"):
        page = browser.get(path).text
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
        stay = re.search(r'href="([^"]*stay=yes[^"]*)"', page)
        assert stay is not None
        assert "http-equiv" not in browser.get(stay[1].replace("&amp;", "&")).text
    assert "http-equiv" not in browser.get("/p/website/test/2").text


@pytest.mark.parametrize(("name", "number"), [("latest", 5), ("last-success", 1), ("05", 5)])
def test_runs_have_one_address(site: Site, runs: dict[Status, Run], name: str, number: int) -> None:
    for below in ("", "/log"):
        answer = site.login().get(f"/p/website/test/{name}{below}")
        assert (answer.status, answer.header("Location")) == (303, f"/p/website/test/{number}{below}")


def test_unknown_things_are_not_found(site: Site, runs: dict[Status, Run]) -> None:
    browser = site.login()
    for path in (
        "/p/none",
        "/p/website/none",
        "/p/website/test/99",
        "/p/website/test/x",
        "/p/website/none/1/log",
        "/none",
    ):
        answer = browser.get(path)
        assert answer.status == 404, path
        assert "Traceback" not in answer.text and "<h1>" in answer.text


def test_the_list_of_runs_can_be_filtered_and_the_address_says_how(site: Site, runs: dict[Status, Run]) -> None:
    browser = site.login()
    page = browser.get("/runs?status=failed&status=errored&job=test").text
    assert "test<b>#2</b>" in page and "test<b>#3</b>" in page and "deploy" not in page and "<b>#4</b>" not in page
    assert page.count(" checked>") == 2 and 'value="test"' in page
    assert "No run matches this filter." in browser.get("/runs?worker=none").text
    assert browser.get("/runs?status=broken").status == 422
    assert browser.get("/runs?cursor=forged").status == 422


def test_lists_of_runs_are_read_page_by_page(site: Site) -> None:
    made = [site.run("nightly").number for _ in range(120)]
    for path in ("/runs?job=nightly", "/p/website/nightly"):
        browser, seen, address = site.login(), list[int](), path
        while address:
            page = browser.get(address).text
            seen += [int(number) for number in re.findall(r'href="/p/website/nightly/(\d+)"', page)]
            older = re.search(r'href="([^"]*)" rel="next"', page)
            address = older[1].replace("&amp;", "&") if older else ""
        assert seen == made[::-1]


def test_a_log_is_read_page_by_page_in_both_directions(site: Site) -> None:
    log = b"".join(b"row %d of the long log\n" % n for n in range(1, 5001))
    run = site.run("nightly", Status.SUCCEEDED, log)
    browser = site.login()

    def walk(address: str, rel: str) -> list[list[int]]:
        parts = []
        while address:
            page = browser.get(address).text
            parts.append([int(n) for n in re.findall(r"row (\d+) of", page)])
            numbers = re.findall(r'data-n="(\d+)"', page)
            assert [int(n) for n in numbers] == parts[-1]
            further = re.search(rf'href="([^"]*)" rel="{rel}"', page)
            address = further[1].replace("&amp;", "&") if further else ""
        return parts

    here = f"/p/website/nightly/{run.number}/log"
    assert list(chain(*walk(here, "next"))) == list(range(1, 5001))
    assert list(chain(*reversed(walk(f"{here}?before={len(log)}", "prev")))) == list(range(1, 5001))


def test_a_log_of_a_live_run_begins_at_its_end(site: Site) -> None:
    log = b"".join(b"row %d\n" % n for n in range(100_000)) + b"half a"
    run = site.run("nightly", Status.RUNNING, log)
    page = site.login().get(f"/p/website/nightly/{run.number}/log").text
    assert "row 99999\n" in page and "half a" in page and "row 5\n" not in page
    assert f'data-follow="{run.id}" data-offset="{len(log) - len("half a")}" data-style=",," data-partial' in page


def test_req_S_15_the_raw_log_is_exact_and_no_browser_interprets_it(site: Site) -> None:
    log = b"<script>alert(1)</script>\r\n\x00\xff\x1b[31m no newline at the end"
    run = site.run("nightly", Status.SUCCEEDED, log)
    answer = site.login().get(f"/p/website/nightly/{run.number}/log.txt")
    assert answer.body == log
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.header("Content-Disposition") == f'attachment; filename="website-nightly-{run.number}.log"'
    assert answer.header("Content-Security-Policy") == "sandbox"


def test_offsets_beyond_the_log_show_its_end(site: Site) -> None:
    run = site.run("nightly", Status.SUCCEEDED, LOG)
    browser = site.login()
    for query in ("offset=999999999", f"offset={1 << 50}", "before=999999999", "before=0"):
        assert browser.get(f"/p/website/nightly/{run.number}/log?{query}").status == 200
    for query in ("offset=-1", "offset=x", f"offset={1 << 70}", "before=1.5"):
        assert browser.get(f"/p/website/nightly/{run.number}/log?{query}").status == 422


def test_a_job_shows_what_is_wrong_with_its_definition(site: Site) -> None:
    job = {"identifier": "odd", "definition": {"commands": [["echo", "{undefined}"]]}}
    add_project(site, [job], findings=("commands[0]: unknown name 'undefined'",))
    page = site.login().get("/p/website/odd").text
    assert "unknown name &#39;undefined&#39;" in page


def test_no_route_of_the_website_is_hidden_by_another(site: Site, runs: dict[Status, Run]) -> None:
    assert len({(route.method, route.path) for route in table.ROUTES}) == len(table.ROUTES)
    assert all(route.kind in ("page", "static") for route in table.ROUTES)
