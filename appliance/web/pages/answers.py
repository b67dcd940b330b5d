"""What handlers of pages answer with."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from appliance.model.errors import ApplianceError
from appliance.web.errors import problem_of
from appliance.web.routes import Request, Response, page
from appliance.web.views import View


def show(view: View, status: int = HTTPStatus.OK) -> Response:
    """The page of a view."""
    return page(view, status)


def refuse(view: View, error: ApplianceError) -> Response:
    """The page of a form that was refused: nothing was done, and the form says why."""
    problem = problem_of(error)
    answer = show(view, problem.status)
    return replace(answer, headers={"Retry-After": str(problem.retry_after)}) if problem.retry_after else answer


def switched(name: str, is_enabled: bool) -> str:
    """What is told after a project or job was enabled or disabled."""
    told = "is enabled: its runs start again" if is_enabled else "is disabled: its runs wait, and those that run go on"
    return f"{name} {told}."


def reader(request: Request) -> str:
    """The name of who asks."""
    return request.someone.name
