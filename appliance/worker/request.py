"""What the master asks to be run: the JSON text that its cap signs, checked before it is accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from appliance.model.documents import strict_json
from appliance.model.errors import Invalid
from appliance.wire import REQUEST_LIMIT

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Arguments = Annotated[list[str], msgspec.Meta(min_length=1)]


class Command(msgspec.Struct, frozen=True):
    """A command with more than its text: a string is for the shell, a list is expanded."""

    run: Text | Arguments
    name: str | None = None
    timeout: Seconds | None = None


class Commands(msgspec.Struct, frozen=True):
    """The three phases."""

    setup_commands: list[Text | Arguments | Command]
    commands: list[Text | Arguments | Command]
    teardown_commands: list[Text | Arguments | Command]


class Request(msgspec.Struct, frozen=True):
    """One run, as the executor reads it. Nothing is left to be guessed here: the master decides every value."""

    format: int
    run: str
    project: Name
    job: Name
    number: int
    definition: Commands
    parameters: dict[str, str | int | float | bool | None]
    environment: dict[str, str]
    timeout: Seconds | None
    teardown_timeout: Seconds
    grace: Seconds
    log_limit: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
    url: str
    on_log_full: Literal["truncate", "abort"] = "truncate"  # what a full disk means for a command (F17)


def read_request(text: str, run_id: str) -> Request:
    """The request in ``text``. Raises Malformed, TooLarge or Invalid when it cannot be run by this version."""
    value: Any = strict_json(text, REQUEST_LIMIT)
    try:
        request = msgspec.convert(value, Request)
    except msgspec.ValidationError as error:
        raise Invalid(f"this worker cannot run the request: {error}") from None
    if request.format != 1:
        raise Invalid(f"this worker knows requests of format 1, not {request.format}: upgrade it")
    if request.run != run_id:
        raise Invalid("the request is of another run")
    return request
