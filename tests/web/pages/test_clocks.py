"""What pages and service say of clocks: the server's that jumped (F22), a worker's that is wrong (F23)."""

from __future__ import annotations

import re

import pytest

from appliance.workers import Registration
from tests.web.pages.site import Site

HOUR, YEAR = 3600.0, 365 * 86_400.0


@pytest.mark.parametrize(
    ("jump", "said"),
    [
        (-HOUR, "The server&#39;s clock moved back 1 h 00 min: "),
        (HOUR, "The server&#39;s clock jumped ahead 1 h 00 min, or the machine slept: "),
        (-YEAR, "The server&#39;s clock moved back 365 d 0 h: "),
    ],
)
def test_fault_F22_administrators_see_that_the_clock_jumped(site: Site, jump: float, said: str) -> None:
    root, viewer = site.login("ada"), site.login("vera")
    assert "server&#39;s clock" not in root.get("/").text
    site.clock.step(jump)
    assert said in root.get("/").text
    assert "server&#39;s clock" not in viewer.get("/").text
    site.clock.step(-jump)
    assert "server&#39;s clock" not in root.get("/").text


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR])
def test_fault_F22_a_login_and_a_new_token_last_through_a_jump(site: Site, jump: float) -> None:
    browser = site.login("vera")
    site.clock.step(jump)
    answer = browser.submit("/me/tokens", {"label": "laptop", "days": "30"}, page="/me")
    (text,) = re.findall(r"orc_u_\w+", answer.text)
    site.clock.advance(600)
    site.clock.step(-jump)
    site.clock.advance(29 * 86_400)
    assert site.parts.accounts.principal_of_token(text).name == "vera"
    site.clock.advance(2 * 86_400)
    assert site.parts.accounts.tokens("vera") == []


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (420.0, "Its clock was 7 min 00 s ahead of the server&#39;s when it connected last: set it right."),
        (-YEAR, "Its clock was 365 d 0 h behind the server&#39;s when it connected last: set it right."),
    ],
)
def test_fault_F23_the_workers_page_and_the_service_say_that_a_clock_is_wrong(
    site: Site, off: float, said: str
) -> None:
    browser = site.login("ada")
    assert "Its clock" not in browser.get("/workers").text
    worker = site.parts.workers.named("build-1").worker
    site.parts.workers.register(worker.id, Registration("j" * 32, "0.1", 4, {}, off))
    assert said in browser.get("/workers").text
    assert f'"clock_offset":{off}' in browser.get("/api/v1/workers/build-1").text
