"""Rules that every template, script and style keeps, read from the files themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.model.run_state import Status
from appliance.web.pages.ansi import NAMES
from appliance.web.rendering import PACKAGED as TEMPLATES
from appliance.web.static_files import PACKAGED as STATIC

CSS = (STATIC / "orchestra.css").read_text()
PAIRS = [
    ("text", "ground"), ("text", "surface"), ("text", "sunken"), ("muted", "ground"), ("muted", "surface"),
    ("muted", "sunken"), ("accent", "ground"), ("accent", "surface"), ("on-accent", "accent"),
    *[(ink, f"{ink}-tint") for ink in
      ("good", "bad", "warn", "violet", "grey", "amber", "teal", "blue", "rose")],
    *[(f"ink-{tone}{name}", paper) for tone in ("", "bright-") for name in NAMES
      for paper in ("sunken", "amber-tint", *(f"paper-{one}" for one in NAMES))],
    *[("text", f"paper-{name}") for name in NAMES],
    ("bad", "surface"), ("good", "surface"), ("text", "amber-tint"), ("muted", "amber-tint"),
]  # fmt: skip


def colours(scheme: str) -> dict[str, str]:
    """The named colours of a scheme."""
    block = CSS.split("@media (prefers-color-scheme: dark)")[0 if scheme == "light" else 1].split("\n}")[0]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_text_is_readable_on_what_it_stands_on(scheme: str, ink: str, paper: str) -> None:
    named = colours(scheme)
    assert contrast(named[ink], named[paper]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_of_fields_and_the_focus_ring_can_be_seen(scheme: str) -> None:
    named = colours(scheme)
    for paper in ("ground", "surface"):
        assert contrast(named["edge"], named[paper]) >= 3
        assert contrast(named["focus"], named[paper]) >= 3


def test_every_status_has_a_shape_of_its_own_and_a_colour() -> None:
    parts = (TEMPLATES / "parts.html").read_text()
    shapes = re.search(r"\{% macro shape.*?endmacro", parts, re.DOTALL)
    assert shapes is not None
    drawn = re.findall(r'status == "(\w+)" %\}(.+)', shapes[0])
    assert {name for name, _ in drawn} == set(Status) - {Status.SKIPPED}
    assert len({path for _, path in drawn}) == len(drawn)
    for status in set(Status) - {Status.SKIPPED, Status.CANCELLED}:  # those two are grey
        assert f".{status}" in CSS


@pytest.mark.parametrize("path", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_req_S_13_templates_hold_no_inline_script_style_or_handler(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text, re.IGNORECASE)
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    for value in re.findall(r'(?:href|src|action)="([^"]*)"', text):
        assert value.startswith(("{{", "#")), f"{value} is not built by us"


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_req_S_13_scripts_use_no_sink_that_reads_markup_or_code(path: Path) -> None:
    text = path.read_text()
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
    assert not re.search(sinks + r"|\beval\b|new Function|setTimeout\(['\"]|trustedTypes", text)
    assert not re.search(r"[\"'`](?:https?:)?//[a-z]", text)


def test_nothing_is_fetched_from_outside() -> None:
    for path in [*TEMPLATES.iterdir(), *STATIC.iterdir()]:
        found = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text())
        assert set(found) <= {"http://www.w3.org"}, path  # the name of SVG, which nobody fetches


def test_every_form_that_posts_has_the_token() -> None:
    for path in TEMPLATES.iterdir():
        for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", path.read_text(), re.DOTALL):
            assert 'name="csrf"' in form, path


def test_files_of_the_website_are_small() -> None:
    for path in [*TEMPLATES.iterdir(), *STATIC.iterdir()]:
        assert len(path.read_text().splitlines()) <= 400
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 60_000
