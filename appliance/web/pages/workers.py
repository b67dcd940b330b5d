"""``/workers``: who can do work, and the form that adds a machine (W1, V3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from appliance import __version__
from appliance.model.entities import Worker
from appliance.model.errors import Conflict, Invalid
from appliance.model.matching import read_property
from appliance.model.names import check_name
from appliance.model.permissions import Right, may
from appliance.model.worker_states import Duty, WorkerState
from appliance.web import forms, sorting, worker_lists
from appliance.web.pages import links, rows
from appliance.web.pages.answers import reader, refuse, show
from appliance.web.pages.orders import asked, orders
from appliance.web.pages.runs import Word
from appliance.web.paging import Cursor
from appliance.web.pieces import Field, Form, Option, Paging, WorkerRow
from appliance.web.routes import Parts, Request, Response, Route
from appliance.web.views import JoinPage, WorkersPage
from appliance.workers import join_line

_SOFTWARE = "orchestra-appliance "  # what a worker says it is, before its version
SHOWN = 50
_STATES = tuple(reversed(Duty))  # what is common comes first
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}(?!\n)$")
_EMPTY = Form(
    action=links.WORKERS,
    submit="Add worker",
    fields=(
        Field("name", "Name", hint="Letters, digits and . _ - such as build-1", is_required=True, limit=64),
        Field(
            "properties",
            "Properties",
            kind="area",
            hint="Optional. One a line, as pool=linux. Jobs ask for them; they win over what the machine says.",
        ),
    ),
)


class WorkersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The filters; an empty text is no filter. Several states are alternatives. ``property``: ``key=value``."""

    state: tuple[Word, ...] = ()
    name: worker_lists.Text = ""
    property: worker_lists.Text = ""
    sort: Word = ""
    cursor: Cursor | None = None


class AddForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``properties``: lines of ``key=value``."""

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    properties: Annotated[str, msgspec.Meta(max_length=8192)] = ""


def workers(request: Request, parts: Parts) -> Response:
    """One part of the list, by name if not asked otherwise."""
    try:
        return show(_page(request, parts, _EMPTY))
    except Invalid as error:
        if "property" not in error.errors:
            raise
        return show(_page(request, parts, _EMPTY, error), HTTPStatus.UNPROCESSABLE_ENTITY)


def add(request: Request, parts: Parts) -> Response:
    """Make the worker's account. The answer shows its token, this once (S-85), so it is no redirect."""
    body: AddForm = request.body
    try:
        worker, token = _create(parts, body, reader(request))
    except (Invalid, Conflict) as error:
        given = {"name": body.name, "properties": body.properties}
        form = replace(_EMPTY, fields=tuple(replace(field, value=given[field.name]) for field in _EMPTY.fields))
        form = forms.refused(form, error)
        return refuse(_page(request, parts, form), error)
    return show(
        JoinPage(
            title=f"Add {worker.name}",
            worker=worker.name,
            join=join_line(request.origin, token),
            run="orchestra worker run",
        )
    )


def _create(parts: Parts, body: AddForm, owner: str) -> tuple[Worker, str]:
    """Raises Invalid with all that is wrong, or Conflict."""
    name, errors = body.name.strip(), dict[str, str]()
    found: Mapping[str, Any] = {}
    try:
        found = _properties(body.properties)
    except Invalid as error:
        errors |= error.errors
    try:
        check_name("worker", name)
    except Invalid as error:
        errors |= error.errors
    if errors:
        raise Invalid("the worker cannot be added so", errors)
    return parts.workers.create(name, owner, found)


def _properties(text: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, mark, value = (part.strip() for part in line.partition("="))
        if not mark or not _PROPERTY.match(key):
            raise Invalid("a property is wrong", {"properties": f"write each as key=value, not {line[:60]!r}"})
        found[key] = read_property(value)
    return found


def _page(request: Request, parts: Parts, form: Form, wrong: Invalid | None = None) -> WorkersPage:
    query = request.query if isinstance(request.query, WorkersQuery) else WorkersQuery()
    sort, order = asked(query.sort, sorting.WORKERS)
    states = tuple(state for state in query.state if state)
    filters: dict[str, Any] = {"name": query.name, "property": query.property, "state": states}
    wanted = worker_lists.Wanted(states, query.name.strip(), query.property.strip())
    found, following = (
        worker_lists.part(parts.workers, parts.key, "pages of workers", wanted, sort, query.cursor, SHOWN)
        if wrong is None
        else ((), None)
    )
    return WorkersPage(
        title="Workers",
        filters=(
            Field("name", "Name", value=query.name, limit=64),
            Field(
                "property",
                "Property",
                value=query.property,
                error=wrong.errors["property"] if wrong else "",
                limit=200,
            ),
            Field("state", "State", kind="set", options=tuple(Option(one, one, one in states) for one in _STATES)),
        ),
        is_filtered=any(filters.values()),
        sort=order,
        server_version=__version__,
        workers=tuple(row(parts, state) for state in found),
        form=form if may(request.someone, Right.MANAGE_WORKERS) else None,
        paging=Paging(
            first=links.with_query(links.WORKERS, **filters, sort=order) if query.cursor else None,
            next=links.with_query(links.WORKERS, **filters, sort=order, cursor=following) if following else None,
        ),
        orders=orders(links.WORKERS, sorting.WORKERS, sort, **filters) if len(found) > 1 or query.cursor else (),
    )


def version_of(software: str) -> str:
    """The version in what a worker says it is; all of that, if it is not one of ours."""
    return software.removeprefix(_SOFTWARE)


def row(parts: Parts, state: WorkerState) -> WorkerRow:
    """A worker for a list or a heading."""
    worker, vitals = state.worker, state.vitals
    heard = parts.workers.presence.last_heard(worker.id) or worker.last_contact_at
    said = filter(None, (state.clock, state.strays))
    return WorkerRow(
        name=worker.name,
        href=links.worker(worker.name),
        state=state.duty.value,
        sentence=state.sentence,
        warnings=tuple(f"{one[:1].upper()}{one[1:]}." for one in said),
        slots=worker.slots,
        used=state.used,
        load=vitals.load if vitals else None,
        disk_free=vitals.disk_free if vitals else None,
        version=version_of(worker.version_text),
        is_other_version=version_of(worker.version_text) not in ("", __version__),
        last_contact=rows.when(heard, parts.clock.now()) if heard else None,
    )


ROUTES = (
    Route("GET", "/workers", workers, Right.READ_WORKERS, kind="page", query=WorkersQuery, summary="Workers"),
    Route("POST", "/workers", add, Right.MANAGE_WORKERS, kind="page", body=AddForm, summary="Add a worker"),
)
