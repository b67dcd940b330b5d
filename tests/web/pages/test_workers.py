"""The pages of workers: the list with its filters and orders, and the page of one with its buttons."""

from __future__ import annotations

import re
from html import unescape

import pytest

from appliance.model.run_state import Status
from appliance.model.worker_states import Vitals
from appliance.workers import Registration
from tests.web.pages.site import LOG, Browser, Site

ROW = r'<td class="name"><a href="/workers/([\w-]+)"'


def listed(browser: Browser, query: str) -> list[str]:
    page = browser.get(f"/workers?{query}")
    assert page.status == 200, page.text
    return re.findall(ROW, page.text)


def lead(browser: Browser, name: str = "build-1") -> str:
    found = re.search(r'<p class="lead">(.*?)</p>', browser.get(f"/workers/{name}").text)
    assert found is not None
    return unescape(found[1])


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.login()


def test_req_V3_the_list_shows_state_slots_load_disk_version_and_last_contact(site: Site, browser: Browser) -> None:
    page = browser.get("/workers").text
    for shown in ("connected", "1 of 4", "0.42", "37.0 GiB", "0.1", "just now", "The server is", "differs"):
        assert shown in page
    site.present.connected.clear()
    page = browser.get("/workers").text
    assert "silent" in page and "GiB" not in page


def test_req_V3_the_list_is_filtered_by_state_name_and_property_in_the_address(site: Site, browser: Browser) -> None:
    site.trial.workers.create("mac-1", "ada", {"os": "macos", "gpu": True})
    site.trial.workers.create("mac-2", "ada", {"os": "macos"})
    site.trial.workers.drain("mac-2")
    assert listed(browser, "name=MAC") == ["mac-1", "mac-2"]
    assert listed(browser, "state=drained") == ["mac-2"]
    assert listed(browser, "state=drained&state=connected") == ["build-1", "mac-2"]
    assert listed(browser, "property=os%3Dmacos") == ["mac-1", "mac-2"]
    assert listed(browser, "property=gpu+%3D+true") == ["mac-1"]
    assert "No worker matches this filter" in browser.get("/workers?name=nobody").text
    assert 'value="drained" checked' in browser.get("/workers?state=drained").text


def test_what_is_no_property_is_told_at_its_field_and_what_is_no_state_above(browser: Browser) -> None:
    wrong = browser.get("/workers?property=linux&name=b")
    assert wrong.status == 422
    assert 'id="q-property-error"' in wrong.text and 'value="b"' in wrong.text
    state = browser.get("/workers?state=asleep")
    assert state.status == 422 and "here is no state &#39;asleep&#39;" in state.text


def test_req_V3_workers_are_ordered_by_load_silence_and_room(site: Site, browser: Browser) -> None:
    workers = site.trial.workers
    for number, name in enumerate(("a", "b", "c")):
        one, _ = workers.create(name, "ada")
        workers.register(one.id, Registration("j" * 32, "0.1", 4, {}, 0.0))
        workers.heard({one.id: site.clock.now()})
        site.clock.advance(60)
        assert number < 3
    room = {"build-1": 9 << 30, "c": 1 << 30}
    ids = {name: workers.named(name).worker.id for name in ("build-1", "c")}
    site.present.connected.add(ids["c"])
    site.present.vitals = lambda worker_id: next(  # type: ignore[method-assign]  # as the master would say
        (Vitals(1.0, room[name]) for name, one in ids.items() if one == worker_id), None
    )
    assert listed(browser, "sort=-name") == ["c", "build-1", "b", "a"]
    assert listed(browser, "sort=heard") == ["a", "b", "build-1", "c"]
    assert listed(browser, "sort=disk") == ["c", "build-1", "a", "b"]
    assert listed(browser, "sort=busy") == ["build-1", "c", "a", "b"]


@pytest.mark.parametrize("sort", ["name", "-name", "busy", "heard", "disk"])
def test_every_order_is_read_page_by_page_without_gaps_though_workers_change(
    site: Site, browser: Browser, sort: str
) -> None:
    names = {"build-1", *(f"worker-{number:03}" for number in range(120))}
    for name in sorted(names - {"build-1"}):
        site.trial.workers.create(name, "ada")
    seen: list[str] = []
    address = f"/workers?sort={sort}&state=never+seen&state=connected&state=disabled"
    while address:
        page = browser.get(address).text
        seen += re.findall(ROW, page)
        site.trial.workers.enable(seen[-1], False)  # the place of the cursor changes its state
        following = re.search(r'href="([^"]*)" rel="next"', page)
        address = unescape(following[1]) if following else ""
    assert sorted(seen) == sorted(names)


# ---- one worker


def test_req_V3_the_page_of_a_worker_shows_what_it_is_and_has(site: Site, browser: Browser) -> None:
    ended = site.run("nightly", Status.SUCCEEDED, LOG)
    live = site.run("deploy", Status.RUNNING, LOG)
    page = browser.get("/workers/build-1").text
    assert lead(browser) == "Takes runs."
    for shown in ("1 of 4 in use", "0.42", "37.0 GiB free", "within 1 s of the server", "by ada at", "linux"):
        assert shown in page
    now, _, recent = page.partition("Recent runs")
    assert f"/p/website/deploy/{live.number}" in now and f"/p/website/nightly/{ended.number}" not in now
    assert f"/p/website/nightly/{ended.number}" in recent and f"/p/website/deploy/{live.number}" not in recent
    assert 'href="/runs?worker=build-1"' in page


def test_req_U2_runs_that_the_reader_may_not_see_are_only_counted(site: Site) -> None:
    site.run("deploy", Status.RUNNING, LOG)
    site.run("nightly", Status.SUCCEEDED, LOG)
    site.trial.accounts.add_user("eve", "correct horse battery staple", (), {"other": "viewer"})
    page = site.login("eve").get("/workers/build-1").text
    assert "1 more run is under way that you may not see" in page
    assert "/p/website" not in page


def test_a_worker_that_does_not_exist_has_no_page(browser: Browser) -> None:
    assert browser.get("/workers/nobody").status == 404


def test_req_W6_the_page_says_which_version_came_before(site: Site, browser: Browser) -> None:
    worker = site.trial.workers.named("build-1").worker
    site.clock.advance(3600)
    said = Registration("j" * 32, "orchestra-appliance 9.9", 4, {}, 0.0)
    site.trial.workers.register(worker.id, said)
    site.clock.advance(300)
    page = browser.get("/workers/build-1").text
    assert "9.9; the server is" in page and "before that 0.1" in page and "5 min ago" in page


def test_req_W6_the_buttons_of_a_worker_take_it_out_of_service_and_back(site: Site, browser: Browser) -> None:
    run = site.run("deploy", Status.RUNNING, LOG)
    here = "/workers/build-1"
    steps = {
        "drain": ("draining", "gets nothing new: 1 run left", "1 run left. Drained by ada"),
        "disable": ("disabled", "gets no new runs", "disabled by ada"),
        "disconnect": ("disconnected", "stays away until it is enabled", "disconnected by ada"),
        "enable": ("connected", "takes new runs", "Takes runs."),
    }
    for action, (word, told, sentence) in steps.items():
        answer = browser.submit(f"{here}/{action}", {}, page=here)
        assert (answer.status, answer.header("Location")) == (303, here)
        page = browser.get(here).text
        assert f'class="state {word}"' in page and told in page
        assert sentence in lead(browser)
        assert f'action="{here}/{action}"' not in page  # it has been done
    browser.submit(f"{here}/drain", {}, page=here)
    site.finish(run, Status.SUCCEEDED, LOG)
    site.present.used = lambda _: 0  # type: ignore[method-assign]  # as the master would say
    assert lead(browser).startswith("Has finished all its runs")


def test_req_U2_who_may_not_manage_workers_sees_no_buttons(site: Site) -> None:
    operator = site.login("otto")
    page = operator.get("/workers/build-1").text
    assert "/workers/build-1/" not in page
    for action in ("enable", "disable", "drain", "disconnect", "remove"):
        assert operator.submit(f"/workers/build-1/{action}", {}, page="/me").status == 403
    assert site.trial.workers.named("build-1").worker.takes_work


def test_fault_F25_a_revoked_worker_explains_itself_and_has_only_the_button_that_removes_it(
    site: Site, browser: Browser
) -> None:
    site.trial.lost_runs.revoke("build-1", "ada")
    assert "its token was revoked by ada at" in lead(browser)
    actions = re.findall(r'action="/workers/build-1/(\w+)"', browser.get("/workers/build-1").text)
    assert actions == ["remove"]


def test_fault_F14_req_S_20_an_operator_sees_words_that_were_refused(site: Site, browser: Browser) -> None:
    worker = site.trial.workers.named("build-1").worker
    assert "refused" not in browser.get("/workers/build-1").text
    for _ in range(3):
        site.trial.strays.refuse(worker.id)
    site.trial.strays.pass_over(worker.id)
    said = "3 messages refused: about runs that it does not have; 1 message came after the end of the run"
    for path in ("/workers", "/workers/build-1"):
        assert said in browser.get(path).text
    document = browser.get("/api/v1/workers/build-1").text
    assert '"refused":3' in document and '"late":1' in document
