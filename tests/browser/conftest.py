"""A real Chromium against a real server. Skipped with the reason where Chromium is missing, unless it is required."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.required import demand
from tests.web.pages.site import PASSWORD, Site, fill, make_site

os.environ.setdefault("SE_OFFLINE", "true")  # selenium looks for nothing on the network

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


_REPLACED = "does not belong to the document"
_kept: set[Path] = set()  # where pictures went


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the pictures are: somebody should look at them."""
    for directory in sorted(_kept):
        terminalreporter.write_line(f"{len(list(directory.glob('*.png')))} pictures of pages: {directory}")


class Window:
    """A browser window on one site. Everything it complains about, CSP reports included, is kept in ``complaints``."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        self.address = address

    def look(self, *, width: int = 1280, scheme: str = "light", scripts: bool = True, motion: bool = True) -> None:
        """Choose the width in pixels, the colour scheme, and whether scripts and motion run, for what comes."""
        phone = width < 600
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone},
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def open(self, path: str) -> None:
        """Load a page of the site."""
        self.driver.get(self.address + path)

    def login(self, user: str = "ada") -> None:
        """By the form, as people do."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.open("/login")
        self.find("input[name=user]").send_keys(user)
        self.find("input[name=password]").send_keys(PASSWORD)
        self.find("main button[type=submit]").click()
        self.wait(lambda: self.path != "/login")

    def submit(self, action: str, fields: Mapping[str, str] | None = None) -> None:
        """Fill in the form with this action as people do, send it, and wait for what comes."""
        form = self.find(f":is(main, header) form[method=post][action='{action}']")
        for name, value in (fields or {}).items():
            one = form.find_element("css selector", f"[name='{name}']")
            if one.tag_name == "select":
                one.find_element("css selector", f"option[value='{value}']").click()
            else:
                one.clear()
                one.send_keys(value)
        form.find_element("css selector", "button[type=submit]").click()
        self.wait(lambda: _is_gone(form))

    def find(self, css: str) -> Any:
        """The first element that fits."""
        return self.driver.find_element("css selector", css)

    def all(self, css: str) -> list[Any]:
        """All elements that fit."""
        found: list[Any] = self.driver.find_elements("css selector", css)
        return found

    @property
    def path(self) -> str:
        """Where the window is."""
        return str(self.driver.current_url).removeprefix(self.address)

    def wait(self, condition: Any, seconds: float = 20) -> Any:
        """Until the condition holds; an element that was replaced meanwhile is looked for again."""
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        def holds(_: Any) -> Any:
            try:
                return condition()
            except WebDriverException as error:
                if _REPLACED in str(error):  # chromedriver says so where it means "stale"
                    return None
                raise

        wait = WebDriverWait(self.driver, seconds, 0.05, [StaleElementReferenceException])
        return wait.until(holds)

    def complaints(self) -> list[str]:
        """What the console and the content policy said since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """The address of everything that pages asked for since the last call, of sockets too."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(f"{message['params']['request']['method']} {message['params']['request']['url']}")
            elif message["method"] == "Network.webSocketCreated":
                asked.append(f"GET {message['params']['url']}")
        return asked

    def picture(self, directory: Path, name: str) -> None:
        """Keep a picture of the whole page."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        directory.mkdir(parents=True, exist_ok=True)
        _kept.add(directory)
        (directory / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def _is_gone(element: Any) -> bool:
    from selenium.common.exceptions import WebDriverException

    try:
        element.is_enabled()
    except WebDriverException:  # stale, or its document is
        return True
    return False


def missing() -> str | None:
    """Why there can be no browser tests here."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "chromium and chromedriver are not installed"
    try:
        import selenium  # noqa: F401  # only asked for
    except ImportError:
        return "selenium is not installed: pip install '.[test]'"
    return None


class _Server(ThreadingMixIn, WSGIServer):
    """Plain HTTP and nothing else: an upgrade to a WebSocket is answered like any other request."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not the test's output."""


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """The application alone on a free port of loopback, without WebSockets; gives its address."""
    server = make_server("127.0.0.1", 0, application, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="website", daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a profile of its own."""
    demand("browser", missing())
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    started = webdriver.Chrome(options=options, service=service)
    started.set_page_load_timeout(30)
    yield started
    started.quit()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site shared by tests that only look; ``address`` fills it with runs of every status."""
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def address(site: Site) -> Iterator[str]:
    """Where the shared site listens, WebSockets included."""
    with site.listening() as address:
        fill(site)  # after the start: what a log held before it is not durable, and is cut
        yield address


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept: ORCHESTRA_PICTURES, else with the files of the tests."""
    named = os.environ.get("ORCHESTRA_PICTURES")
    return Path(named) if named else tmp_path_factory.mktemp("pictures")


@pytest.fixture
def window(driver: Any, address: str) -> Iterator[Window]:
    """The window on the shared site, wide, light and with scripts, not logged in."""
    yield from a_window(driver, address)


@pytest.fixture
def own_site(tmp_path: Path) -> Site:
    """A site without runs that this test may change."""
    return make_site(tmp_path)


@pytest.fixture
def own_window(driver: Any, own_site: Site) -> Iterator[Window]:
    """The window on it."""
    with own_site.listening() as address:
        yield from a_window(driver, address)


def a_window(driver: Any, address: str) -> Iterator[Window]:
    """A window as new; nothing of the test before is left in it. Nothing may be asked of any other host."""
    window = Window(driver, address)
    window.look()
    driver.get("about:blank")
    window.complaints()
    window.requests()
    yield window
    window.look()
    driver.get("about:blank")
    assert elsewhere(window.requests(), address) == []


def elsewhere(requests: list[str], *addresses: str) -> list[str]:
    """Those that went to no address of ours."""
    hosts = {address.removeprefix("http") for address in addresses}
    return [
        asked
        for asked in requests
        if not any(asked.partition(" ")[2].startswith((f"http{host}/", f"ws{host}/")) for host in hosts)
        and not asked.startswith(("GET about:", "GET data:"))
    ]
