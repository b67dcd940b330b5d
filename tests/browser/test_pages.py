"""Every page in a real browser: light and dark, wide and narrow, with and without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.db.repository import RunFilter
from appliance.model.run_state import Status
from tests.browser.conftest import Window, serving
from tests.web.pages.coloured import LINES
from tests.web.pages.hostile import TEXTS
from tests.web.pages.site import Site, add_project, make_site

CONTROLS = """
const all = [...document.querySelectorAll("*")];
const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]";
const is_shown = (one) => one.getClientRects().length > 0 && one.checkVisibility({ visibilityProperty: true });
"""
FOCUSED = """
const one = document.activeElement;
if (one === document.body) return null;
const style = getComputedStyle(one);
const box = one.getBoundingClientRect();
const is_inside = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
const has_ring = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
return { at: all.indexOf(one), what: one.outerHTML.slice(0, 120), is_seen: is_inside && has_ring };
"""
FOCUSABLE = """
return [...document.querySelectorAll(controls)].filter((one) => one.tabIndex >= 0 && is_shown(one))
  .map((one) => all.indexOf(one));
"""
ROWS = """
return [...document.querySelectorAll("#log .row")].map((row) => {
  const pieces = [];
  for (const node of row.childNodes) {
    if (node.className === "at") continue;
    const text = node.textContent.replace(/\\n$/, "");
    const style = node.nodeType === 1 ? node.className : "";
    if (text === "") continue;
    const before = pieces.at(-1);
    if (before?.[1] === style) before[0] += text;
    else pieces.push([text, style]);
  }
  return pieces;
});
"""


def test_the_keyboard_reaches_the_content_first_and_the_focus_is_seen(window: Window) -> None:
    window.login()
    window.open("/runs")
    window.driver.switch_to.active_element.send_keys("\ue004")
    focused = window.driver.switch_to.active_element
    assert focused.text == "Skip to the content"
    assert focused.value_of_css_property("outline-style") == "solid"
    focused.send_keys("\ue007")
    assert window.path == "/runs#main"


def test_every_control_of_a_page_is_reached_by_the_keyboard_in_reading_order_and_seen(window: Window) -> None:
    window.look(scripts=True)
    window.login()
    for path in ("/p/website/test", "/runs", "/workers", "/me"):
        window.open(path)
        reached = []
        for _ in range(200):
            window.driver.switch_to.active_element.send_keys("\ue004")
            found = window.driver.execute_script(CONTROLS + FOCUSED)
            if found is not None and reached and found["at"] == reached[-1]["at"]:
                continue  # the next part of a day
            if found is None or found["at"] in [one["at"] for one in reached]:
                break
            reached.append(found)
        assert [one["what"] for one in reached if not one["is_seen"]] == [], path
        assert [one["at"] for one in reached] == sorted(one["at"] for one in reached), path
        expected = window.driver.execute_script(CONTROLS + FOCUSABLE)
        assert sorted(one["at"] for one in reached) == expected, path


def test_req_V7_nothing_moves_for_who_wants_no_motion(window: Window) -> None:
    window.login()
    counts = {}
    for motion in (True, False):
        window.look(motion=motion)
        window.open("/p/website/test/5")
        counts[motion] = window.driver.execute_script("return document.getAnimations().length")
    assert counts[True] > 0 and counts[False] == 0


def test_req_V7_tables_stay_tables_for_who_cannot_see_them_in_a_narrow_window(window: Window) -> None:
    window.look(width=390)
    window.login()
    window.open("/runs")
    nodes = window.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in nodes if "role" in node]
    rows = len(window.all("table.runs tr"))
    assert (roles.count("table"), roles.count("row"), roles.count("columnheader")) == (1, rows, 6)


def test_req_L3_colours_of_a_log_are_the_same_however_it_came(own_window: Window, own_site: Site) -> None:
    window = own_window
    run = own_site.run("nightly", Status.RUNNING, b"\x1b[35mbegun ")
    window.login()
    window.open(f"/p/website/nightly/{run.number}/log")
    window.wait(lambda: window.find("#follow-state").text == "Following.")
    live = "".join(f"{written}\x1b[m\n" for written, _ in LINES) + "\x1b[33mlasts\nand lasts\n\x1b[mend\n"
    for at in range(0, len(live), 97):
        own_site.write(run, live[at : at + 97].encode())
    window.wait(lambda: window.all("#log .row")[-1].text == "end")
    followed = window.driver.execute_script(ROWS)
    own_site.finish(own_site.parts.runs.get(run.id), Status.SUCCEEDED, b"\x1b[35mbegun " + live.encode())
    window.open(f"/p/website/nightly/{run.number}/log")
    assert window.driver.execute_script(ROWS) == followed
    assert followed[0] == [["begun plain", "ink-magenta"]]
    assert followed[-3:] == [[["lasts", "ink-yellow"]], [["and lasts", "ink-yellow"]], [["end", ""]]]
    assert followed[1:-3] == [[list(piece) for piece in shown] for _, shown in LINES[1:]]


def test_req_S_13_hostile_texts_do_nothing_in_a_browser(own_window: Window, own_site: Site) -> None:
    window, log = own_window, "\n".join(TEXTS).encode()
    jobs = [
        {
            "identifier": f"job{n}",
            "display_name": text.replace("\x00", ""),
            "description": text.replace("\x00", ""),
            "definition": {"commands": ["true"]},
            "parameters": [{"key": "p", "description": text.replace("\x00", ""), "default": text.replace("\x00", "")}],
        }
        for n, text in enumerate(TEXTS)
    ]
    add_project(own_site, jobs)
    results = {text: text for text in TEXTS if "\0" not in text}  # no JSON of ours holds NUL (S-63)
    run = own_site.run("job1", Status.RUNNING, log)
    own_site.finish(run, Status.FAILED, log, results=results, sentence=TEXTS[0], notes=TEXTS[:20])
    live = own_site.run("job2", Status.RUNNING, log)
    window.login()
    paths = ["/", "/p/website", *(f"/p/website/job{n}" for n in range(0, len(TEXTS), 6))]
    paths += ["/p/website/job1/1", "/p/website/job1/1/log", f"/p/website/job2/{live.number}/log", "/runs"]
    for path in paths:
        window.open(path)
        if path == f"/p/website/job2/{live.number}/log":
            own_site.write(live, b"\n" + log + b"\nmarker-after-all\n")
            window.wait(lambda: "marker-after-all" in window.find("#log").text)
        assert window.driver.execute_script("return window.pwned === undefined")
        assert not window.all(
            "main script, main iframe, main object, main embed, main [onerror], main [onclick], main img"
        )
        assert window.path == path
    assert window.complaints() == []


def test_req_L1_a_log_is_followed_to_its_end_without_a_reload(own_window: Window, own_site: Site) -> None:
    window = own_window
    run = own_site.run("nightly", Status.RUNNING, b"first\nhalf ")
    window.login()
    window.open(f"/p/website/nightly/{run.number}/log")
    window.driver.execute_script("window.untouched = true")
    window.wait(lambda: window.find("#follow-state").text == "Following.")
    expected = "first\nhalf "
    for piece in (
        "a line\n",
        "é€😀\n",
        "10 %\r",
        "100 %\r",
        "done\n",
        "\x1b[31mred\x1b[0m\n",
        "\nlast, without newline",
    ):
        for part in (piece.encode()[:1], piece.encode()[1:]):
            own_site.write(run, part)
        expected += piece
    shown = "first\nhalf a line\né€😀\ndone\nred\n\nlast, without newline"
    window.wait(lambda: window.driver.execute_script("return document.getElementById('log').textContent") == shown)
    numbers = [element.get_attribute("data-n") for element in window.all("#log .at")]
    assert numbers == ["1", "2", "3", "4", "5", "6", "7"]
    own_site.finish(own_site.parts.runs.get(run.id), Status.FAILED, expected.encode())
    window.wait(lambda: window.find("#follow-state").text == "This is the whole log.")
    window.wait(lambda: window.all("#state .chip.failed"))
    assert window.driver.execute_script("return window.untouched")
    assert window.complaints() == []


@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_of_a_run_shows_the_end_of_its_log(window: Window, scripts: bool) -> None:
    window.look(scripts=scripts)
    window.login()
    for number in (2, 5):
        window.open(f"/p/website/test/{number}")
        box, last = window.find(".tail").rect, window.all("#log .row")[-1].rect
        assert box["y"] <= last["y"] <= box["y"] + box["height"]


def test_req_A2_without_a_socket_pages_still_follow_by_plain_reads(driver: object, tmp_path: Path) -> None:
    site = make_site(tmp_path)
    run = site.run("nightly", Status.RUNNING, b"first\n")
    with serving(site.application) as address:  # this server knows no WebSockets
        window = Window(driver, address)
        window.look()
        window.login()
        window.open(f"/p/website/nightly/{run.number}")
        site.write(run, b"second\n")
        window.wait(lambda: "second" in window.find("#log").text)
        site.finish(site.parts.runs.get(run.id), Status.SUCCEEDED, b"first\nsecond\n")
        window.wait(lambda: window.find("#follow-state").text == "This is the whole log.")
        window.wait(lambda: window.all("#state .chip.succeeded"))
        window.driver.get("about:blank")


def test_req_V2_lists_change_when_runs_do(own_window: Window, own_site: Site) -> None:
    window = own_window
    window.login()
    assert "There are no runs yet." in window.find("main").text
    run = own_site.run("nightly")
    window.wait(lambda: window.all(".chip.pending"))
    own_site.parts.runs.cancel(run.id, "ada")
    window.wait(lambda: window.all(".chip.cancelled"))
    assert len(own_site.parts.runs.find(RunFilter())) == 1
    assert window.complaints() == []


def test_a_join_line_can_be_copied(own_window: Window, own_site: Site) -> None:
    window = own_window
    window.login()
    window.open("/workers")
    window.find(".adding input[name=name]").send_keys("build-2")
    window.find("main button.primary").click()
    button = window.wait(lambda: window.find("[data-copy=join]"))
    permission = {"permission": {"name": "clipboard-write"}, "setting": "granted", "origin": window.address}
    window.driver.execute_cdp_cmd("Browser.setPermission", permission)
    window.wait(button.is_displayed)
    button.click()
    window.wait(lambda: button.text == "Copied")
