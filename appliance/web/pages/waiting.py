"""The part of a run's page that holds every worker against every condition, while the run waits (W2)."""

from __future__ import annotations

from appliance.model.entities import Run
from appliance.model.permissions import Right, may
from appliance.model.run_state import Status
from appliance.model.waiting import Candidate, Need, Stand
from appliance.web.api.waits import part
from appliance.web.pages import links
from appliance.web.pieces import CandidateRow, Heading, Mark, Paging, WhyPart
from appliance.web.routes import Parts, Request

SHOWN = 20


def workers(request: Request, parts: Parts, run: Run, here: str) -> WhyPart | None:
    """Workers, those that come nearest to having the run first; None when it waits for none of them."""
    if run.status is not Status.PENDING or not may(request.someone, Right.READ_WORKERS):
        return None
    found = parts.waits.explain(run)
    if not found.candidates:
        return None
    cursor = request.query.workers or None
    shown, following = part(parts, run.id, found.candidates, cursor, SHOWN)
    stay = request.query.stay

    def address(place: str | None) -> str:
        return f"{links.with_query(here, stay=stay, workers=place)}#why"

    return WhyPart(
        headings=tuple(Heading(one.words, one.met_by) for one in found.needs),
        rows=tuple(_row(one, found.needs) for one in shown),
        total=len(found.candidates),
        paging=Paging(address(None) if cursor else None, address(following) if following else None),
    )


def _row(one: Candidate, needs: tuple[Need, ...]) -> CandidateRow:
    is_unfit = one.stand is Stand.UNFIT
    # One that never connected has not said all yet: what it lacks so far it may still have.
    of = {each.name: Mark(each.has, True if each.is_met else False if is_unfit else None) for each in one.conditions}
    sentence = "" if is_unfit else one.sentence  # the marks say it
    return CandidateRow(
        one.name, links.worker(one.name), one.stand, sentence, tuple(of.get(need.name) for need in needs)
    )
