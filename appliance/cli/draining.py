"""``orchestra worker drain`` and ``disconnect``: take a worker out of service (W6)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from appliance.cli import output
from appliance.cli.base import Command, Globals, pass_globals
from appliance.cli.values import DURATION, WORKER
from appliance.model.errors import Conflict, Unavailable
from appliance.model.sizes import show_count
from appliance.model.times import show_duration

if TYPE_CHECKING:
    from appliance.client import Client, Document

LOOK_EVERY = 1.0  # seconds
WAIT = 3600.0  # seconds, if nobody says how long


@click.command(cls=Command, example="orchestra worker drain build-1 --wait --timeout 2h")
@click.argument("name", type=WORKER)
@click.option("--wait", "is_waiting", is_flag=True, help="Return when its last run is over.")
@click.option("--timeout", type=DURATION, help="Wait so long at most; else 1h.")
@pass_globals
def drain(options: Globals, name: str, is_waiting: bool, timeout: float | None) -> None:
    """Let a worker finish what it has and take nothing new.

    'orchestra worker enable NAME' ends that. With --wait the exit code is 0 when it is drained, and 1 when it is not
    within the time, or somebody has ended it meanwhile; the worker goes on draining after the time.
    """
    if timeout is not None and not is_waiting:
        raise click.UsageError("--timeout is for --wait", click.get_current_context())
    with options.client() as client:
        found = client.drain_worker(name)
        if is_waiting and not found["is_drained"]:
            found = until_drained(client, name, WAIT if timeout is None else timeout)
    output.done(options.as_json, found, _told(found))


@click.command(cls=Command, example="orchestra worker disconnect build-1")
@click.argument("name", type=WORKER)
@pass_globals
def disconnect(options: Globals, name: str) -> None:
    """Close a worker's connection now. It stays away until 'orchestra worker enable NAME'.

    Its runs go on there; what they do is heard of when it is back.
    """
    with options.client() as client:
        changed = client.disconnect_worker(name)
    output.done(options.as_json, changed, f"{name} is disconnected: 'orchestra worker enable {name}' lets it in again")


def until_drained(
    client: Client,
    name: str,
    seconds: float,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Document:
    """The worker, once it has finished all its runs; what it has is told on stderr when that changes.

    A server that restarts meanwhile is waited for. Raises Conflict when the time is up or the drain was ended, NotFound
    when the worker was removed.
    """
    from appliance.client import Unreachable

    until = now() + seconds
    told, left = "", "runs left"
    while True:
        try:
            found = client.worker(name)
        except (Unreachable, Unavailable) as error:
            progress = f"waiting for the server: {error}"
        else:
            if found["is_drained"]:
                return found
            if not found["is_draining"]:
                if found["switched_by"] is None:
                    raise Conflict(f"{name} was removed, and another worker has that name now")
                raise Conflict(f"{name} was {_other(found)} by {found['switched_by']} and drains no more")
            left = f"{show_count(found['left'], 'run')} left"
            away = "" if found["is_active"] else ", and it is not connected: they go on there"
            progress = f"{name} has {left}{away}" if found["left"] else f"{name}: {found['sentence']}"
        if progress != told:
            told = progress
            output.notice(progress)
        if now() >= until:
            raise Conflict(
                f"{name} still has {left} after {show_duration(seconds)}; it goes on draining: wait again, "
                f"abort them, or end it with 'orchestra worker enable {name}'"
            )
        pause(max(0.0, min(LOOK_EVERY, until - now())))


def _told(found: Document) -> str:
    name = found["name"]
    if found["is_drained"]:
        return f"{name} is drained: it has no runs left, and gets none until 'orchestra worker enable {name}'"
    if not found["left"]:
        return f"{name} gets nothing new. {found['sentence']}"
    return f"{name} gets nothing new; it has {show_count(found['left'], 'run')} left"


def _other(found: Document) -> str:
    if found["is_disconnected"]:
        return "disconnected"
    return "enabled" if found["is_enabled"] else "disabled"
