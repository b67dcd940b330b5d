"""What handlers of pages answer with."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from appliance.model.errors import ApplianceError, Conflict, Throttled, Unauthenticated, Unavailable
from appliance.web.routes import Request, Response, page
from appliance.web.views import View


def show(view: View, status: int = HTTPStatus.OK) -> Response:
    """The page of a view."""
    return page(view, status)


def refuse(view: View, error: ApplianceError) -> Response:
    """The page of a form that was refused: nothing was done, and the form says why."""
    match error:
        case Unauthenticated():
            status = HTTPStatus.UNAUTHORIZED
        case Conflict():
            status = HTTPStatus.CONFLICT
        case Throttled():
            status = HTTPStatus.TOO_MANY_REQUESTS
        case Unavailable():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    answer = show(view, status)
    if isinstance(error, Unavailable):
        answer = replace(answer, headers={"Retry-After": str(max(1, round(error.retry_after)))})
    return answer


def reader(request: Request) -> str:
    """The name of who asks."""
    return request.someone.name
