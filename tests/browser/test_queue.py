"""The queue, as it moves: with scripts by itself, without them when the page is loaded again (W2)."""

from __future__ import annotations

from tests.browser.conftest import Window
from tests.web.pages.site import Site


def rows(window: Window) -> list[str]:
    """The runs that the page shows."""
    return [one.text for one in window.all("#queue td.name")]


def test_req_W2_the_queue_moves_while_one_looks(own_window: Window, own_site: Site) -> None:
    own_window.login()
    own_window.open("/queue")
    assert rows(own_window) == []
    first = own_site.run("deploy")
    own_window.wait(lambda: rows(own_window) == ["website/deploy#1"])
    own_site.run("nightly")
    own_window.wait(lambda: len(rows(own_window)) == 2)
    own_site.parts.runs.cancel(first.id, "ada")
    own_window.wait(lambda: rows(own_window) == ["website/nightly#1"])
    assert own_window.complaints() == []


def test_req_V1_the_queue_is_filtered_without_scripts(own_window: Window, own_site: Site) -> None:
    own_site.run("deploy")
    own_site.run("nightly")
    own_window.look(scripts=False)
    own_window.login()
    own_window.open("/queue")
    own_window.find("#q-job").send_keys("nightly")
    own_window.find(".filters button").click()
    own_window.wait(lambda: "job=nightly" in own_window.path)
    assert rows(own_window) == ["website/nightly#1"]
    own_window.find("#queue td.name a").click()
    own_window.wait(lambda: own_window.path == "/p/website/nightly/1")
    assert own_window.find("#why tbody tr .sentence").text == "has all 4 slots in use"
