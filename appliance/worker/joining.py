"""A first try to connect, for whoever joins this machine: does the server take it, and if not, what is to be done?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from appliance.model.times import CLOCK_MAY_BE_OFF
from appliance.wire import WORKER_NAME_HEADER, WORKER_STATE_HEADER
from appliance.worker.link import dial
from appliance.worker.reasons import SOON, explain


class Tried(NamedTuple):
    """What came of it. ``trouble`` is "" if the server takes this worker, which it calls ``name``; else it says what is
    wrong and what to do. Then ``is_refused``: the server said no to this token; ``is_passing``: it may be another time
    or network that is wrong, so that the same may work later.

    ``clock_offset``: seconds by which the clock here is ahead of the server's, to the second; None if it did not say.
    """

    name: str = ""
    trouble: str = ""
    is_refused: bool = False
    is_passing: bool = False
    is_enabled: bool = True
    clock_offset: float | None = None

    @property
    def is_clock_off(self) -> bool:
        """Whether the two clocks differ by more than a network and rounding explain."""
        return self.clock_offset is not None and abs(self.clock_offset) > CLOCK_MAY_BE_OFF


def try_connection(url: str, token: str, now: Callable[[], float]) -> Tried:
    """Whether the server would take this worker now. ``now`` is this machine's clock: seconds since 1970."""
    return asyncio.run(_try(url, token, now))


async def _try(url: str, token: str, now: Callable[[], float]) -> Tried:
    try:
        connection = await dial(url, token)
    except (OSError, InvalidHandshake, InvalidURI, ssl.SSLError, EOFError) as error:
        trouble = explain(error, url)
        is_refused = isinstance(error, InvalidStatus) and error.response.status_code in (401, 403)
        is_passing = trouble.again == SOON and not trouble.is_elsewhere
        return Tried(trouble=trouble.sentence, is_refused=is_refused, is_passing=is_passing)
    offset = _offset(connection, now())
    await connection.close()
    headers = connection.response.headers if connection.response is not None else {}
    return Tried(
        name=headers.get(WORKER_NAME_HEADER, ""),
        is_enabled=headers.get(WORKER_STATE_HEADER, "") != "disabled",
        clock_offset=offset,
    )


def _offset(connection: ClientConnection, now: float) -> float | None:
    """By the Date of the answer, which HTTP gives in whole seconds."""
    said = connection.response.headers.get("Date", "") if connection.response is not None else ""
    try:
        return round(now - parsedate_to_datetime(said).timestamp())
    except (ValueError, OverflowError):
        return None
