"""What the Nu HTML checker says of every page in every state, and of the style sheet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.web.static_files import PACKAGED as STATIC
from tests.required import checker, demand
from tests.web.pages.gallery import Place, fill_sites, make_sites, places
from tests.web.pages.site import Answer, Site


@pytest.fixture
def sites(tmp_path: Path) -> Mapping[str, Site]:
    made = make_sites(tmp_path)
    fill_sites(made)
    return made


def served(sites: Mapping[str, Site], place: Place) -> Answer:
    """What a browser without scripts gets there."""
    site = sites[place.site]
    browser = site.login(place.user) if place.user else site.browser()
    answer = browser.get(place.path)
    if not place.fields:
        return answer
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
    return browser.submit(place.action, {**hidden, **place.fields}, place.path)


def check(java: str, jar: Path, *arguments: str) -> list[str]:
    """What the checker says, warnings included."""
    command = [java, "-Xmx512m", "-jar", str(jar), "--exit-zero-always", "--format", "json", "--stdout", *arguments]
    ran = subprocess.run(command, capture_output=True, timeout=150, check=True)
    said = json.loads(ran.stdout)["messages"]
    return [
        f"{Path(one.get('url', '')).name}:{one.get('lastLine')}: {one['type']}: {one['message']}"
        f" … {one.get('extract', '').strip()}"
        for one in said
        if "role is unnecessary" not in one["message"]  # not for a table that a narrow window lays out as blocks
    ]


def test_every_page_in_every_state_is_served_with_its_status(sites: Mapping[str, Site]) -> None:
    found = {place.name: (served(sites, place).status, place.status) for place in places(sites)}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
    assert len(found) > 40


def test_req_V7_the_nu_checker_finds_nothing_in_any_page(sites: Mapping[str, Site], tmp_path: Path) -> None:
    jar = checker("nu", "vnu.jar")
    java = shutil.which("java")
    demand("nu", None if java else "java is not installed")
    assert java is not None
    pages = tmp_path / "pages"
    pages.mkdir()
    for place in places(sites):
        (pages / f"{place.name}.html").write_bytes(served(sites, place).body)
    (pages / "wrong.html").write_text("<!doctype html><title>x</title><p><div></p>")  # so that silence means something
    said = check(java, jar, *map(str, sorted(pages.glob("*.html"))))
    assert [one for one in said if one.startswith("wrong.html")]
    assert [one for one in said if not one.startswith("wrong.html")] == [], "\n".join(said)
    assert check(java, jar, "--css", str(STATIC / "orchestra.css")) == []
