from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pytest

from appliance.web import views
from appliance.web.rendering import PACKAGED, Rendering
from appliance.web.static_files import StaticFiles
from appliance.web.views import Chrome, ErrorPage, View
from tests.web.pages.site import make_site

ERROR = ErrorPage("Not Found", 404, "There is no <such> thing.", (), "")


def rendering(*overrides: Path) -> Rendering:
    return Rendering(StaticFiles(), overrides)


def test_every_template_compiles() -> None:
    rendering().check()


def test_every_page_has_its_template_and_every_template_a_use() -> None:
    pages = {view.template for view in View.__subclasses__()}
    assert pages <= set(rendering().names())
    assert {path.name for path in PACKAGED.iterdir()} - pages == {"base.html", "live.html", "parts.html"}


def test_a_view_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ERROR.sentence = "something else"  # type: ignore[misc]  # that this is refused is the point
    for view in View.__subclasses__():
        assert view.__doc__ and view.__module__ == views.__name__


def test_req_S_13_text_is_escaped() -> None:
    assert b"There is no &lt;such&gt; thing." in rendering().render(ERROR, Chrome())


def test_req_S_13_there_is_no_way_to_mark_text_as_safe(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text("{{ page.sentence | safe }}")
    with pytest.raises(jinja2.TemplateError, match="safe"):
        rendering(tmp_path).check()


def test_a_missing_value_is_an_error_and_never_an_empty_place(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text("{{ page.sentense }}")
    with pytest.raises(jinja2.UndefinedError):
        rendering(tmp_path).render(ERROR, Chrome())


def test_an_operators_template_comes_before_the_packages_and_reaches_it(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text(
        '{% extends "default:error.html" %}{% block main %}OURS {{ super() }}{% endblock %}'
    )
    page = rendering(tmp_path).render(ERROR, Chrome()).decode()
    assert "OURS" in page and "There is no &lt;such&gt; thing." in page and "<!doctype html>" in page


def test_the_first_directory_of_templates_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "error.html").write_text(name)
    assert rendering(tmp_path / "one", tmp_path / "two").render(ERROR, Chrome()) == b"one"


def test_a_replaced_base_changes_every_page(tmp_path: Path) -> None:
    directory = tmp_path / "templates"
    directory.mkdir()
    (directory / "base.html").write_text(
        '{% extends "default:base.html" %}{% block scripts %}<!-- our corner -->{% endblock %}'
    )
    made = tmp_path / "site"
    made.mkdir()
    site = make_site(made, templates=(directory,))
    assert "<!-- our corner -->" in site.browser().get("/login").text


def test_an_announcement_stands_on_every_page(tmp_path: Path) -> None:
    site = make_site(tmp_path, announcement="Down on <Friday>")
    for page in (site.browser().get("/login"), site.login().get("/")):
        assert "Down on &lt;Friday&gt;" in page.text


def test_fault_F16_a_full_disk_is_told_on_every_page_to_those_who_are_logged_in() -> None:
    since: list[datetime | None] = [datetime(2026, 1, 31, 9, 15, tzinfo=UTC)]
    made = Rendering(StaticFiles(), full_since=lambda: since[0])
    assert b"disk has been full since 2026-01-31 09:15:00 UTC" in made.render(ERROR, Chrome(user="ada"))
    assert b"disk is full" not in made.render(ERROR, Chrome())
    since[0] = None
    assert b"disk is full" not in made.render(ERROR, Chrome(user="ada"))
