"""Every page and every action of the website, with scripts and without them, as a person would: by links and forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.model.run_state import Status
from appliance.web.pages import table
from tests.browser.conftest import Window, a_window
from tests.web.pages.site import LOG, PASSWORD, Site, make_site

WRONG = {"parameters.branch": "main", "parameters.jobs": "many", "parameters.ticket": "ABC-1"}


@pytest.fixture
def fresh(tmp_path: Path) -> Site:
    """A site with a project and a worker, and nobody who may log in."""
    return make_site(tmp_path, users=())


@pytest.fixture
def visitor(driver: Any, fresh: Site) -> Iterator[Window]:
    with fresh.listening() as address:
        yield from a_window(driver, address)


def press(window: Window, css: str, text: str = "") -> None:
    """Click what fits, however often it is renewed meanwhile."""

    def click() -> bool:
        (found, *_) = [one for one in window.all(css) if text in one.text] or [None]
        if found is not None:
            found.click()
        return found is not None

    window.wait(click)


def reads(window: Window, text: str) -> None:
    """Wait until the page says so."""
    window.wait(lambda: text in window.find("main").text)


def asked_for(requests: list[str], address: str) -> set[tuple[str, str]]:
    """The routes of pages that these requests went to."""
    found = set()
    for asked in requests:
        method, _, url = asked.partition(" ")
        path = url.removeprefix(address).partition("?")[0]
        for route in table.ROUTES:
            pattern = re.sub(r"<(\w+)(:path)?>", lambda part: ".+" if part[2] else "[^/]+", route.path)
            if route.method == method and re.fullmatch(pattern, path):
                found.add((method, route.path))
                break
    return found


@pytest.mark.parametrize(
    "scripts", [pytest.param(True, id="scripts", marks=pytest.mark.long), pytest.param(False, id="no-scripts")]
)
def test_req_V1_every_page_and_action_works(visitor: Window, fresh: Site, scripts: bool) -> None:
    window = visitor
    window.look(scripts=scripts)
    come_in(window, fresh)
    trigger_and_stop(window, fresh, scripts)
    give_up_and_release(window, fresh)
    read_logs(window, fresh)
    filter_runs(window)
    look_after_workers(window, fresh, scripts)
    look_after_oneself(window, fresh)
    press(window, "header button")
    window.wait(lambda: window.path == "/login")
    # What a form refuses is an answer with its status, which the console calls an error.
    assert [said for said in window.complaints() if "status of 4" not in said] == []
    everything = {(route.method, route.path) for route in table.ROUTES}
    requests = window.requests()
    assert everything - asked_for(requests, window.address) == set()
    assert any(".js" in asked for asked in requests) == scripts
    assert any(asked.startswith("GET ws:") for asked in requests) == scripts


def come_in(window: Window, site: Site) -> None:
    """By the setup link; out again, and in by name and password."""
    window.open(f"/setup?token={site.parts.accounts.make_setup_token()}")
    window.submit("/setup", {"name": "nina", "password": PASSWORD, "repeat": PASSWORD})
    window.wait(lambda: window.path == "/")
    reads(window, "Trigger a job and look at its first run.")
    press(window, "header button")
    window.wait(lambda: window.path == "/login")
    window.submit("/login", {"user": "nina", "password": "wrong"})
    reads(window, "The user or the password is wrong")
    window.submit("/login", {"user": "nina", "password": PASSWORD})
    window.wait(lambda: window.path == "/")


def trigger_and_stop(window: Window, site: Site, scripts: bool) -> None:
    """From the dashboard's next step to a run; a form with a mistake; cancel and abort."""
    press(window, "#dashboard a.button", "Choose a job")
    press(window, "main a", "Website")
    press(window, "main a", "Deploy")
    for place, action in (("/p/website", "/projects/website"), ("/p/website/deploy", "/p/website/deploy")):
        window.open(place)
        for verb, told in (("disable", "is disabled: its runs wait"), ("enable", "is enabled: its runs start again")):
            window.submit(f"{action}/{verb}")
            window.wait(lambda: window.path == place)  # noqa: B023 -- waited for here
            reads(window, told)
    window.submit("/p/website/deploy")
    window.wait(lambda: window.path == "/p/website/deploy/1")
    press(window, "form[action$='/cancel'] button")
    window.wait(lambda: window.all(".chip.cancelled"))
    window.open("/p/website/test")
    window.submit("/p/website/test", WRONG)
    reads(window, "Must be a whole number such as 42")
    assert window.find("[aria-invalid=true]").get_attribute("name") == "parameters.jobs"
    assert window.find("[name='parameters.ticket']").get_attribute("value") == "ABC-1"
    window.submit("/p/website/test", {"parameters.jobs": "2", "parameters.target": "release"})
    window.wait(lambda: window.path == "/p/website/test/1")
    reads(window, "release")
    run = site.run("nightly", Status.RUNNING, LOG)
    window.open(f"/p/website/nightly/{run.number}")
    assert "compiling module_1.c" in window.find("#log").text
    seen = window.driver.execute_script("return document.querySelector('main').innerText")  # noscript is text elsewhere
    assert ("This page loads again every 5 seconds." in seen) == (not scripts)
    press(window, "details.confirm summary")
    press(window, "details.confirm button")
    reads(window, "asked to abort")
    site.finish(site.parts.runs.get(run.id), Status.ABORTED, LOG)


def give_up_and_release(window: Window, site: Site) -> None:
    """A run whose worker is away is declared lost; what a restore keeps waiting is given out."""
    run = site.run("deploy", Status.RUNNING, LOG)
    there = set(site.present.connected)
    site.present.connected.clear()
    window.open(f"/p/website/deploy/{run.number}")
    form = "form[action$='/declare-lost']"
    press(window, f".confirm:has({form}) summary")
    press(window, f"{form} button")
    reads(window, "declared lost by nina")
    site.present.connected |= there
    site.parts.recoveries.begin("a test says so")
    window.open("/")
    press(window, ".confirm:has(form[action='/recovery/release']) summary")
    press(window, "form[action='/recovery/release'] button")
    reads(window, "The runs of the backup are given out now.")


def read_logs(window: Window, site: Site) -> None:
    """Part by part, to a line, and as a file."""
    run = site.run("nightly", Status.SUCCEEDED, b"".join(b"row %d\n" % number for number in range(5000)))
    window.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
    window.open(f"/p/website/nightly/{run.number}/log")
    reads(window, "row 1999")
    press(window, "nav.paging a[rel=next]")
    reads(window, "row 3999")
    press(window, "nav.paging a", "End")
    reads(window, "row 4999")
    press(window, "#L4990 .at")
    window.wait(lambda: window.path.endswith("#L4990"))
    press(window, "nav.paging a", "Download")


def filter_runs(window: Window) -> None:
    """The address holds the filter."""
    window.open("/runs")
    press(window, "input[name=status][value=cancelled]")
    press(window, "form.filters button")
    window.wait(lambda: "status=cancelled" in window.path)
    window.wait(lambda: [one.text for one in window.all("#runs .name")] == ["website/deploy#1"])
    press(window, "form.filters a", "Clear")
    window.wait(lambda: window.path == "/runs" and len(window.all("#runs .name")) == 5)
    press(window, "nav a", "Queue")
    window.wait(lambda: window.path == "/queue")


def look_after_workers(window: Window, site: Site, scripts: bool) -> None:
    """Add one; switch one off, on, and remove it."""
    window.open("/workers")
    window.submit("/workers", {"name": "no name", "properties": ""})
    assert window.find("[aria-invalid=true]").get_attribute("name") == "name"
    window.submit("/workers", {"name": "build-2"})
    reads(window, "orchestra worker join")
    window.wait(lambda: window.find("[data-copy=join]").is_displayed() == scripts)
    press(window, "nav.trail a")
    press(window, "#workers .name a", "build-1")
    for action, told in (
        ("drain", "gets nothing new"),
        ("disable", "gets no new runs"),
        ("enable", "takes new runs"),
    ):
        press(window, f"form[action='/workers/build-1/{action}'] button")
        reads(window, f"build-1 {told}")
    disconnect = "form[action='/workers/build-1/disconnect']"
    press(window, f".confirm:has({disconnect}) summary")
    press(window, f"{disconnect} button")
    reads(window, "build-1 is disconnected")
    remove = "form[action='/workers/build-1/remove']"
    press(window, f".confirm:has({remove}) summary")
    press(window, f"{remove} button")
    reads(window, "build-1 is removed")
    assert [state.worker.name for state in site.parts.workers.list()] == ["build-2"]


def look_after_oneself(window: Window, site: Site) -> None:
    """A token, another login, the password."""
    site.login("nina")
    window.open("/me")
    window.submit("/me/tokens", {"label": "laptop", "days": "30"})
    assert window.find("#token").text.startswith("orc_u_")
    press(window, "form[action*='/tokens/'] button")
    reads(window, "The token is revoked.")
    press(window, "form[action*='/sessions/'] button")
    reads(window, "The session is over.")
    window.submit("/me/password", {"current": "wrong", "password": "another fine long pass phrase"})
    reads(window, "This is not your current password")
    window.submit("/me/password", {"current": PASSWORD, "password": "another fine long pass phrase"})
    reads(window, "Your password is changed.")
