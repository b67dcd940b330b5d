"""A master that lives through jumps of the wall clock, with accounts; its sweeper has its turn by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.accounts import Accounts
from appliance.model.errors import Unauthenticated
from appliance.model.permissions import Kind
from appliance.passwords import PasswordLimits
from tests.lease_place import Place

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
LIMITS = PasswordLimits(iterations=1000, logins_per_minute=60_000, login_burst=10_000)

jumps = pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR])


class Site(Place):
    """A master whose sweeper has its turn by hand, and accounts."""

    def restart(self) -> None:
        """See ``Place``."""
        super().restart()
        self.accounts = Accounts(self.repository, self.steady, self.events, self.random.randbytes, b"k" * 32, LIMITS)
        self.sweeper._since = self.clock.monotonic()  # what ``start`` does before it starts threads

    def pass_time(self, seconds: float, step: float = 60.0) -> None:
        """Time goes by, with sweeps all along."""
        for _ in range(int(seconds // step)):
            self.clock.advance(step)
            self.sweeper.sweep()
        self.clock.advance(seconds % step)
        self.sweeper.sweep()

    def is_logged_in(self, cookie: str) -> bool:
        return allowed(lambda: self.accounts.principal_of_session(cookie))

    def opens(self, token: str) -> bool:
        return allowed(lambda: self.accounts.principal_of_token(token, (Kind.USER, Kind.WORKER)))


def allowed(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Unauthenticated:
        return False
    return True
