"""The one tree of errors that use cases raise. Each shell maps it outward in one place.

ApplianceError
├── Invalid            the input is wrong                         HTTP 422, exit 1
│   ├── Malformed      it could not even be read                  HTTP 400
│   └── TooLarge       it is over a stated limit                  HTTP 413
├── Unauthenticated    no login, or a bad one                     HTTP 401, exit 4
├── Forbidden          may be seen but not done                   HTTP 403, exit 4
│   └── Disconnected   a worker that was sent away for a while    HTTP 403
├── NotFound           does not exist, or may not be seen         HTTP 404, exit 3
├── Conflict           the state of the thing forbids it          HTTP 409, exit 1
│   └── Unusable       what is stored is damaged, foreign, newer  exit 78
└── Unavailable        try later; carries ``retry_after``         HTTP 503, exit 1
    ├── Throttled      this caller asked too often                HTTP 429
    └── Full           no space left                              HTTP 507
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Base of all errors with a meaning for the caller. The message is one sentence for a person."""


class Invalid(ApplianceError):
    """The input is wrong. ``errors`` maps a field (dotted path, "" for the whole) to what is wrong with it."""

    def __init__(self, message: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class Malformed(Invalid):
    """The input could not be read at all (bad JSON, bad encoding)."""


class TooLarge(Invalid):
    """The input is over a stated limit."""


class Unauthenticated(ApplianceError):
    """No login was given, or it is not valid."""


class Forbidden(ApplianceError):
    """The principal may see the thing but not do this to it."""


class Disconnected(Forbidden):
    """An operator has sent this worker away: it may come back once somebody enables it (W6)."""


class NotFound(ApplianceError):
    """The thing does not exist, or the principal may not know that it does."""


class Conflict(ApplianceError):
    """The state of the thing does not allow the request; nothing was changed."""


class Unusable(Conflict):
    """What is stored cannot be used as it is and was left untouched: a start is refused until somebody acts (F20)."""


class Unavailable(ApplianceError):
    """Planned refusal; the same request may succeed after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Throttled(Unavailable):
    """This caller has asked too often."""


class Full(Unavailable):
    """No space is left to store what was asked."""
