"""Every page in every state in a real browser: light and dark, wide and narrow; and what axe-core says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Window, elsewhere
from tests.required import checker
from tests.web.pages.gallery import Place, fill_sites, make_sites, places
from tests.web.pages.site import Site

GROUNDS = {"light": "rgb(245, 246, 248)", "dark": "rgb(16, 20, 27)"}
TOO_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "return getComputedStyle(document.documentElement).backgroundColor"
AXE = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations.map((one) =>
  [one.id, one.help, ...one.nodes.map((node) => node.html.slice(0, 200) + " " + node.failureSummary)].join(" | ")
)), (error) => done([String(error)]));
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Site]:
    return make_sites(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def addresses(sites: Mapping[str, Site]) -> Iterator[Mapping[str, str]]:
    """Where each of them listens."""
    with ExitStack() as stack:
        found = {name: stack.enter_context(site.listening()) for name, site in sites.items()}
        fill_sites(sites)
        yield found


def visits(
    driver: Any, addresses: Mapping[str, str], sites: Mapping[str, Site], **look: Any
) -> Iterator[tuple[Place, Window]]:
    """A window at each place in turn. It has asked no host but ours, and has nothing to complain of."""
    driver.get("about:blank")
    windows = {name: Window(driver, address) for name, address in addresses.items()}
    windows["full"].complaints()
    windows["full"].requests()
    before: tuple[str, str | None] | None = None
    for place in places(sites):
        window = windows[place.site]
        window.look(**look)
        if before != (place.site, place.user):
            before = place.site, place.user
            if place.user:
                window.login(place.user)
            else:
                driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        window.open(place.path)
        if place.fields:
            window.submit(place.action, place.fields)
        yield place, window
        assert elsewhere(window.requests(), *addresses.values()) == [], place.name
        # The status of an answer is a complaint of the console too; that one is asked for.
        told = [one for one in window.complaints() if f"status of {place.status} " not in one]
        assert told == [], place.name
    driver.get("about:blank")


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        pytest.param("dark", 390, marks=pytest.mark.long),
        pytest.param("light", 390, marks=pytest.mark.long),
        pytest.param("dark", 1280, marks=pytest.mark.long),
    ],
)
def test_req_V7_every_page_fits_the_window_and_the_policy(
    driver: Any, addresses: Mapping[str, str], sites: Mapping[str, Site], pictures: Path, scheme: str, width: int
) -> None:
    wide = {}
    for place, window in visits(driver, addresses, sites, width=width, scheme=scheme):
        window.picture(pictures, f"{place.name}-{scheme}-{width}")
        overflow = driver.execute_script(TOO_WIDE)
        if overflow > 0:
            wide[place.name] = overflow
        assert driver.execute_script(GROUND) == GROUNDS[scheme]
    assert wide == {}, "pixels too wide"


@pytest.mark.parametrize(("scheme", "width"), [pytest.param("light", 1280, marks=pytest.mark.long), ("dark", 390)])
def test_req_V7_axe_finds_nothing_on_any_page(
    driver: Any, addresses: Mapping[str, str], sites: Mapping[str, Site], scheme: str, width: int
) -> None:
    axe = checker("axe", "axe.min.js").read_text()
    driver.set_script_timeout(60)
    found = {}
    for place, window in visits(driver, addresses, sites, width=width, scheme=scheme):
        # The policy of the page holds for its own scripts; this one comes from outside of it.
        driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe, "silent": True})
        if said := driver.execute_async_script(AXE):
            found[place.name] = said
        window.complaints()
    assert found == {}, json.dumps(found, indent=2)


def test_axe_would_say_so(driver: Any, addresses: Mapping[str, str]) -> None:
    axe = checker("axe", "axe.min.js").read_text()
    window = Window(driver, addresses["empty"])
    window.look()
    window.open("/login")
    driver.execute_script("document.querySelector('label').remove()")
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe, "silent": True})
    assert any(said.startswith("label ") for said in driver.execute_async_script(AXE))
