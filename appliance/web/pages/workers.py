"""``/workers``: who can do work, and the form that adds a machine (W1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from appliance.model.entities import Worker
from appliance.model.errors import Conflict, Invalid
from appliance.model.matching import read_property
from appliance.model.names import check_name
from appliance.model.permissions import Right, may
from appliance.model.sizes import show_bytes
from appliance.model.times import show_time
from appliance.web import forms, sorting
from appliance.web.pages import links, rows, values
from appliance.web.pages.answers import reader, refuse, show
from appliance.web.pages.orders import asked, orders
from appliance.web.pages.runs import Word
from appliance.web.paging import Cursor, read_cursor, write_cursor
from appliance.web.pieces import Field, Form, Paging, Value, WorkerRow
from appliance.web.routes import Parts, Request, Response, Route, redirect
from appliance.web.views import JoinPage, WorkersPage
from appliance.workers import WorkerState, join_line

SHOWN = 50
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
    """Where in the list the reader is, and in which order."""

    sort: Word = ""
    cursor: Cursor | None = None


class AddForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``properties``: lines of ``key=value``."""

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    properties: Annotated[str, msgspec.Meta(max_length=8192)] = ""


def workers(request: Request, parts: Parts) -> Response:
    """The list, by name."""
    return show(_page(request, parts, _EMPTY))


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


def enable(request: Request, parts: Parts) -> Response:
    """Let it take new runs."""
    parts.workers.enable(request.params["worker"], True)
    return redirect(links.WORKERS, f"{request.params['worker']} takes new runs.")


def disable(request: Request, parts: Parts) -> Response:
    """Give it no new runs; what it has goes on."""
    parts.workers.enable(request.params["worker"], False)
    return redirect(links.WORKERS, f"{request.params['worker']} gets no new runs; what it has goes on.")


def remove(request: Request, parts: Parts) -> Response:
    """Delete the worker and its token."""
    parts.workers.remove(request.params["worker"])
    return redirect(links.WORKERS, f"{request.params['worker']} is removed; its token no longer works.")


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


def _page(request: Request, parts: Parts, form: Form) -> WorkersPage:
    query = request.query if isinstance(request.query, WorkersQuery) else WorkersQuery()
    sort, order = asked(query.sort, sorting.NAMES)
    listing = f"pages of workers by {sort}"
    place = read_cursor(parts.key, listing, query.cursor or None, 1)
    found = parts.workers.list(place[0] if place else None, SHOWN + 1, backwards=sorting.is_backwards(sort))
    may_manage = may(request.someone, Right.MANAGE_WORKERS)
    following = None
    if len(found) > SHOWN:
        following = write_cursor(parts.key, listing, [found[SHOWN - 1].worker.name])
    return WorkersPage(
        title="Workers",
        workers=tuple(_row(parts, state, may_manage) for state in found[:SHOWN]),
        form=form if may_manage else None,
        paging=Paging(
            first=links.with_query(links.WORKERS, sort=order) if query.cursor else None,
            next=links.with_query(links.WORKERS, sort=order, cursor=following) if following else None,
        ),
        orders=orders(links.WORKERS, sorting.NAMES, sort) if len(found) > 1 else (),
    )


def _row(parts: Parts, state: WorkerState, may_manage: bool) -> WorkerRow:
    worker = state.worker
    word, sentence = _state(state)
    if state.clock:
        sentence = f"{sentence} {state.clock[:1].upper()}{state.clock[1:]}."
    return WorkerRow(
        name=worker.name,
        owner=worker.owner,
        state=word,
        sentence=sentence,
        slots=worker.slots,
        used=state.used,
        last_contact=rows.when(worker.last_contact_at, parts.clock.now()) if worker.last_contact_at else None,
        properties=tuple(_with_size(one) for one in values.shown(state.properties)),
        version=worker.version_text,
        is_enabled=worker.is_enabled,
        enable_action=links.worker_action(worker.name, "disable" if worker.is_enabled else "enable")
        if may_manage
        else None,
        remove_action=links.worker_action(worker.name, "remove") if may_manage else None,
    )


def _with_size(one: Value) -> Value:
    """The memory of a machine is a number of bytes: readers get it in their own units beside."""
    if one.name != "memory" or one.kind != "number" or not one.text.isdecimal():
        return one
    return replace(one, text=f"{one.text} ({show_bytes(int(one.text))})")


def _state(state: WorkerState) -> tuple[str, str]:
    worker = state.worker
    if state.trouble:
        return "revoked" if worker.revoked_at is not None else "refused", f"Not taken: {state.trouble}."
    if not worker.is_enabled:
        return "disabled", "Gets no new runs until it is enabled."
    if state.is_active:
        if worker.is_draining:
            return "draining", "Finishes what it has and takes nothing new."
        return "connected", "Takes runs." if state.used < worker.slots else "All its slots are in use."
    if worker.last_contact_at is None and worker.journal_id is None:
        return "never seen", "Has not connected yet: type its join line on the new machine."
    since = f" since {show_time(state.silent_since)}" if state.silent_since else ""
    return "silent", f"Is not connected{since}. Its runs go on there; it reports them when it is back."


_PATH = "/workers/<worker>"
ROUTES = (
    Route("GET", "/workers", workers, Right.READ_WORKERS, kind="page", query=WorkersQuery, summary="Workers"),
    Route("POST", "/workers", add, Right.MANAGE_WORKERS, kind="page", body=AddForm, summary="Add a worker"),
    Route("POST", f"{_PATH}/enable", enable, Right.MANAGE_WORKERS, kind="page", summary="Enable a worker"),
    Route("POST", f"{_PATH}/disable", disable, Right.MANAGE_WORKERS, kind="page", summary="Disable a worker"),
    Route("POST", f"{_PATH}/remove", remove, Right.MANAGE_WORKERS, kind="page", summary="Remove a worker"),
)
