"""The commands of a run as its page shows them."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from appliance.model.run_state import Status
from appliance.model.steps import Step
from appliance.web.pages import steps
from tests.web.pages.site import LOG, Site
from tests.web.pages.test_rows import NOW, a_run


@pytest.mark.parametrize(
    ("fields", "outcome", "ending"),
    [
        ({"code": 0, "seconds": 1.0}, "succeeded", "exit code 0"),
        ({"code": 3, "seconds": 1.0}, "failed", "exit code 3"),
        ({"signal": "SIGSEGV", "seconds": 1.0}, "failed", "killed by SIGSEGV"),
        ({"signal": "SIGTERM", "seconds": 1.0, "ended_by": "abort"}, "aborted", "ended by abort"),
        ({"signal": "SIGTERM", "seconds": 1.0, "ended_by": "timeout"}, "failed", "ended by timeout"),
        ({"error": "no such file 'foo'"}, "errored", "no such file 'foo'"),
        ({"is_skipped": True}, "skipped", "skipped, because an earlier command failed"),
        ({}, "running", ""),
    ],
)
def test_a_step_says_how_it_ended(fields: dict[str, object], outcome: str, ending: str) -> None:
    step = msgspec.convert({"name": "commands[1]", **fields}, Step)
    shown = steps.step(step, a_run(status=Status.RUNNING))
    assert (shown.name, shown.part, shown.outcome, shown.ending) == ("command 2", "command", outcome, ending)


def test_a_skipped_command_is_shown_with_what_it_would_have_done(site: Site) -> None:
    run = site.run("nightly", Status.FAILED, LOG)
    text = site.login().get(f"/p/website/nightly/{run.number}").text
    assert re.search(r'skipped.*?teardown 1</a> <code class="under">rm -rf src</code>', text, re.DOTALL)


def test_a_step_whose_end_never_came_is_not_shown_as_running_for_ever() -> None:
    shown = steps.step(
        Step("setup_commands[0]", began_at=NOW.timestamp()), a_run(status=Status.ERRORED, finished_at=NOW)
    )
    assert (shown.name, shown.outcome, shown.ending) == ("setup 1", "errored", "its end is not known")


def noted(site: Site, endings: list[dict[str, object]]) -> str:
    """A run whose commands ended so; the address of its page."""
    run = site.run("nightly", Status.RUNNING, LOG)
    lines: list[dict[str, object]] = [{"note": "ended", "phase": "commands", "index": 1, "seconds": 1.0, "code": 0}]
    for index, ending in enumerate(endings):
        here = {"phase": "commands", "index": index + 10, "at": 1.0}
        if ending:
            lines.append({"note": "began", **here, "command": f"echo {index}", "offset": 0})
            lines.append({"note": "ended", **here, "seconds": 0.1, **ending})
        else:
            lines.append({"note": "skipped", **here})
    noted = "".join(json.dumps(line) + "\n" for line in lines).encode()
    site.logs.append(run.id, 2, site.logs.size(run.id, 2), noted)
    run = site.finish(site.parts.runs.get(run.id), Status.FAILED, LOG)
    return f"/p/website/nightly/{run.number}"


def names(page: str) -> list[str]:
    return re.findall(r'<td class="name"><a href="[^"]*">(command \d+)</a>', page)


def test_very_many_commands_are_shown_in_parts_beginning_with_the_one_that_failed(site: Site) -> None:
    endings: list[dict[str, object]] = [{"code": 0}] * 250 + [{"code": 3}] + [{}] * 2000
    here = noted(site, endings)
    browser = site.login()
    page = browser.get(here).text
    assert page.count('<td class="name">') == steps.SHOWN
    assert page.count('<tr id="told">') == 1 and '<a class="end" href="#told">command 261 failed</a>' in page
    assert "exit code 3" in page and re.search(r"201 to 300 of 22\d\d commands", page)
    seen: list[str] = []
    address = f"{here}?steps=1"
    while address:
        page = browser.get(address).text
        seen += names(page)
        later = re.search(r'<a href="([^"#]*)#steps" rel="next">', page)
        address = later[1].replace("&amp;", "&") if later else ""
    assert [f"command {n}" for n in range(11, 11 + len(endings))] == [one for one in seen if int(one[8:]) > 10]
    assert names(browser.get(f"{here}?steps=9999").text) == names(page)  # beyond the last is the last
    assert browser.get(f"{here}?steps=0").status == 422


def test_commands_beyond_what_is_read_are_spoken_of(site: Site) -> None:
    page = site.login().get(noted(site, [{"code": 0, "error": None}] * 7000)).text
    assert "This run noted more commands than are listed here." in page
    assert len(page) < 200_000
