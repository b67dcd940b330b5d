"""What happened, told to whoever asked, after it is durable. In one process; nothing here is stored.

Callbacks run in the thread that publishes, so they only note the event and wake somebody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

from appliance.model.entities import Run
from appliance.model.errors import Unavailable

_log = logging.getLogger(__name__)


class RunChanged(msgspec.Struct, frozen=True):
    """A run was added or changed."""

    run: Run


class LogGrew(msgspec.Struct, frozen=True):
    """The output of a run is now ``size`` bytes long on the master."""

    run_id: str
    size: int


class WorkerChanged(msgspec.Struct, frozen=True):
    """A worker was added, changed, connected or disconnected."""

    worker_id: str


class WorkerRevoked(msgspec.Struct, frozen=True):
    """A worker's token is no longer good: its connection must be closed at once."""

    worker_id: str


class WorkerDisconnected(msgspec.Struct, frozen=True):
    """An operator wants a worker away: its connection must be closed at once."""

    worker_id: str


class ProjectsChanged(msgspec.Struct, frozen=True):
    """The configuration, or a flag of a project or job, changed."""


class RecoveryChanged(msgspec.Struct, frozen=True):
    """A recovery has begun, came further, or keeps nothing waiting any more (F24)."""


class AccountChanged(msgspec.Struct, frozen=True):
    """A user's rights changed, or it was disabled: what is open for it must be checked again at once (S-07)."""

    user: str


class SessionsEnded(msgspec.Struct, frozen=True):
    """These sessions are over."""

    session_ids: frozenset[str]


Event = (
    RunChanged
    | LogGrew
    | WorkerChanged
    | WorkerRevoked
    | WorkerDisconnected
    | ProjectsChanged
    | RecoveryChanged
    | AccountChanged
    | SessionsEnded
)


class Events:
    """The list of those who asked. One that fails is logged, and never stops the others or the publisher."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: tuple[Callable[[Event], None], ...] = ()

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` for each later event; answers the function that ends this."""
        with self._lock:
            self._callbacks += (callback,)

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks = tuple(one for one in self._callbacks if one is not callback)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        for callback in self._callbacks:
            try:
                callback(event)
            except Unavailable as error:
                _log.warning("a subscriber could not do its part on %s: %s", type(event).__name__, error)
            except Exception:
                _log.exception("a subscriber failed on %s", type(event).__name__)
