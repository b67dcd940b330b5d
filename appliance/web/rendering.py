"""Templates become pages: a Jinja2 environment of our own, because bottle's adapter does not escape (S-13).

Names are looked up in the operator's directories first, then in the package; ``{% extends "default:run.html" %}``
reaches the package's own template from one that replaces it. A missing value is an error, never an empty place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jinja2

from appliance.model.addresses import is_loopback
from appliance.model.permissions import Kind, Principal, Right, may
from appliance.model.sizes import show_bytes
from appliance.model.times import rfc3339, show_duration
from appliance.web.pages import links
from appliance.web.pieces import Notice
from appliance.web.static_files import StaticFiles
from appliance.web.views import Chrome, ErrorPage, View

if TYPE_CHECKING:
    from appliance.web.routes import Asker, Problem, Request

PACKAGED = Path(__file__).parent / "templates"


class Rendering:
    """Turns a view and its template into the bytes of a page. Safe to use from any thread."""

    def __init__(
        self,
        static: StaticFiles,
        overrides: Sequence[Path] = (),
        announcement: str = "",
        full_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """``full_since``: since when the server's disk is full, for the banner on every page (F16)."""
        self.static = static
        self.announcement = announcement
        package = jinja2.FileSystemLoader(PACKAGED)
        own = [jinja2.FileSystemLoader(directory) for directory in overrides]
        self._environment = environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([jinja2.PrefixLoader({"default": package}, delimiter=":"), *own, package]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        del environment.filters["safe"]
        environment.filters |= {"instant": instant, "iso": rfc3339, "bytes": show_bytes, "duration": show_duration}
        environment.globals |= {"static": static.address, "link": links, "announcement": announcement}
        environment.globals["disk_full_since"] = full_since

    def names(self) -> list[str]:
        """All templates that can be rendered, those of the operator included."""
        return sorted(name for name in self._environment.list_templates() if name.endswith(".html"))

    def check(self) -> None:
        """Compile every template, so that a mistake stops the start and not a reader. Raises jinja2.TemplateError."""
        for name in self.names():
            self._environment.get_template(name)

    def page(self, view: View, request: Request) -> bytes:
        """The HTML of a page, in UTF-8."""
        return self.render(view, _chrome(request))

    def error(self, problem: Problem, asker: Asker | None) -> bytes:
        """The HTML of an error page: a sentence and an id, and nothing of how it came about (S-54).

        Who is logged in keeps the navigation, and can go on from there.
        """
        sentence = f"{problem.sentence[:1].upper()}{problem.sentence[1:]}."
        details = tuple(f"{name}: {text}" if name else text for name, text in problem.errors.items())
        view = ErrorPage(problem.title, problem.status, sentence, details, problem.error_id or "")
        return self.render(view, Chrome() if asker is None else _frame(asker.principal, asker.csrf, asker.origin))

    def render(self, view: View, chrome: Chrome) -> bytes:
        """The HTML of a view. In its template ``page`` is the view and ``chrome`` what surrounds every page."""
        template = self._environment.get_template(view.template)
        return template.render(page=view, chrome=chrome).encode("utf-8", "replace")


def _chrome(request: Request) -> Chrome:
    reader = request.principal
    if reader is None or reader.kind is not Kind.USER:
        # A page for nobody asks for a token too: the login form needs one.
        return Chrome(csrf=request.csrf, is_insecure=_is_insecure(request.origin))
    frame = _frame(reader, request.csrf, request.origin)
    return replace(frame, notices=(Notice("done", request.flash),) if request.flash else ())


def _frame(reader: Principal, csrf: str, origin: str) -> Chrome:
    return Chrome(
        user=reader.name,
        csrf=csrf,
        may_see_workers=may(reader, Right.READ_WORKERS),
        is_insecure=_is_insecure(origin),
    )


def _is_insecure(origin: str) -> bool:
    """Plain HTTP that leaves this machine."""
    parts = urlsplit(origin)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def instant(at: datetime) -> str:
    """``2026-01-31 09:15:00 UTC``: a time for people."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
