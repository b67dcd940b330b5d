"""No page asks any other host, and the content policy would stop one that tried (S-13, S-14)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.browser.conftest import Window, elsewhere, serving

# What markup or a script that somebody smuggled in could ask for. The last one is a form that sends itself.
ATTEMPTS = """
const done = arguments[1], other = arguments[0];
const add = (name, fields) => {
  try { document.body.append(Object.assign(document.createElement(name), fields)); } catch { } // by Trusted Types
};
add("img", { src: `${other}/img` });
add("link", { rel: "stylesheet", href: `${other}/css` });
add("iframe", { src: `${other}/frame` });
add("video", { src: `${other}/video` });
add("object", { data: `${other}/object` });
const style = document.createElement("style");
style.textContent = `body { background: url(${other}/background) }`;
document.head.append(style);
add("script", { src: `${other}/script` });
try { navigator.sendBeacon(`${other}/beacon`, "x"); } catch { }
try { new WebSocket(other.replace("http", "ws")); } catch { }
try { new EventSource(`${other}/events`); } catch { }
const form = document.createElement("form");
form.action = `${other}/form`;
document.body.append(form);
form.submit();
fetch(`${other}/fetch`).then(() => done("answered"), () => setTimeout(() => done("refused"), 500));
"""


@contextmanager
def another_host() -> Iterator[tuple[str, list[str]]]:
    """A server that is not ours; gives its address and what it was asked for."""
    asked: list[str] = []

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        start("200 OK", [("Content-Type", "text/plain"), ("Access-Control-Allow-Origin", "*")])
        return [b"hello"]

    with serving(application) as address:
        yield address, asked


def test_req_S_14_the_policy_stops_every_way_to_another_host(window: Window) -> None:
    window.login()
    window.open("/p/website/test/2")
    with another_host() as (other, asked):
        window.driver.set_script_timeout(30)
        assert window.driver.execute_async_script(ATTEMPTS, other) == "refused"
        assert asked == []
    told = window.complaints()
    assert len([one for one in told if "Content Security Policy" in one]) >= 8, told
    assert window.path == "/p/website/test/2"
    window.requests()  # those were stopped, and are not the page's own


def test_a_request_to_another_host_would_be_noticed(window: Window) -> None:
    window.open("/login")
    assert elsewhere(window.requests(), window.address) == []
    with another_host() as (other, asked):
        window.driver.get(f"{other}/page")
        assert asked[0] == "/page"
        found = elsewhere(window.requests(), window.address)
    assert f"GET {other}/page" in found
    window.complaints()
