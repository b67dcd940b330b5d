"""``…/{number}/log``: the whole log in parts of bounded size, following while the run is live; and its exact bytes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from appliance.model.entities import Run
from appliance.model.permissions import Right
from appliance.model.run_state import LIVE
from appliance.web.pages import links, logview, rows
from appliance.web.pages.answers import show
from appliance.web.pages.run import REFRESH, Flag
from appliance.web.pieces import LogPart
from appliance.web.routes import Parts, Request, Response, Route, content, redirect
from appliance.web.views import LogPage

NUMBERED = 16 << 20  # bytes before which lines are counted, so that they can be numbered
RAW = 1 << 20  # bytes of one answer of the service
Offset = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``offset``: the part that begins there; ``before``: the part that ends there; neither: the start, or the end
    of a log that grows. ``stay``: do not load the page again by itself."""

    offset: Offset | None = None
    before: Offset | None = None
    stay: Flag = ""


def log(request: Request, parts: Parts) -> Response:
    """One part of the log."""
    found = request.the_run
    query: LogQuery = request.query
    if request.params["number"] != str(found.number):
        return redirect(links.log(found.project, found.job, found.number))
    is_live = found.status in LIVE
    size = parts.runs.log_size(found.id)
    if query.offset is not None:
        part = _forward(parts, found.id, min(query.offset, size), size)
    elif query.before is not None or is_live:
        part = _backward(parts, found.id, size if query.before is None else min(query.before, size), size)
    else:
        part = _forward(parts, found.id, 0, size)
    follows = is_live and part.end == size
    return show(
        LogPage(
            title=f"Log of {found.job}#{found.number}",
            run=rows.run_row(found, parts.clock.now()),
            refresh=REFRESH if follows and not query.stay else None,
            stay_href=links.log(found.project, found.job, found.number, before=part.end, stay="yes"),
            follows=follows,
            log=part,
            first_href=_href(found, offset=0) if part.start > 0 else None,
            previous_href=_href(found, before=part.start) if part.start > 0 else None,
            next_href=_href(found, offset=part.end) if part.end < size else None,
            last_href=_href(found, before=size) if part.end < size else None,
            raw_href=links.raw_log(found.project, found.job, found.number),
        )
    )


def raw(request: Request, parts: Parts) -> Response:
    """The bytes as the job wrote them, as a download that no browser interprets (S-15)."""
    found = request.the_run
    name = f"{found.project}-{found.job}-{found.number}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": "sandbox"}
    return content(parts.runs.open_log(found.id), "text/plain; charset=utf-8", headers)


def _forward(parts: Parts, run_id: str, start: int, size: int) -> LogPart:
    before = parts.runs.log(run_id, start - 1, 1) if start else b"\n"
    bytes_ = parts.runs.log(run_id, start, logview.PART)
    return logview.forward(bytes_, start, size, _number_at(parts, run_id, start), before != b"\n")


def _backward(parts: Parts, run_id: str, end: int, size: int) -> LogPart:
    start = max(0, end - logview.PART)
    part = logview.backward(parts.runs.log(run_id, start, end - start), end, size)
    return part if part.start == 0 else logview.numbered(part, _number_at(parts, run_id, part.start))


def _number_at(parts: Parts, run_id: str, offset: int) -> int | None:
    """The number of the line that byte ``offset`` is in; ``None`` where counting would cost too much."""
    if offset > NUMBERED:
        return None
    number = 1
    for at in range(0, offset, RAW):
        number += parts.runs.log(run_id, at, min(RAW, offset - at)).count(b"\n")
    return number


def _href(found: Run, **query: int) -> str:
    return links.log(found.project, found.job, found.number, **query)


_PATH = "/p/<project>/<job>/<number>"
ROUTES = (
    Route("GET", f"{_PATH}/log", log, Right.READ, scope="run", kind="page", query=LogQuery, summary="Log of a run"),
    Route("GET", f"{_PATH}/log.txt", raw, Right.READ, scope="run", kind="page", summary="Exact bytes of a log"),
)
