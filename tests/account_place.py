"""Accounts over the memory repository, for the tests of accounts and passwords."""

from __future__ import annotations

import random

from appliance.accounts import Accounts
from appliance.clock import FakeClock
from appliance.db.memory import MemoryRepository
from appliance.events import Event, Events
from appliance.passwords import PasswordLimits

PASSWORD = "correct horse battery staple"
HERE = "192.0.2.1"


class Place:
    """Accounts over the memory repository."""

    def __init__(self, limits: PasswordLimits | None = None) -> None:
        self.clock = FakeClock()
        self.seen: list[Event] = []
        events = Events()
        events.subscribe(self.seen.append)
        self.repository = MemoryRepository()
        self.limits = limits or PasswordLimits(iterations=1000, logins_per_minute=60_000, login_burst=10_000)
        self.random = random.Random(1).randbytes
        self.accounts = Accounts(self.repository, self.clock, events, self.random, b"k" * 32, self.limits)
