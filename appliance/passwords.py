"""The cost of passwords, kept in bounds: limits on trying, and hashing that cannot take the machine (security.md 4).

The order is cheap gates first: sizes, tries per address, delay per account; then a place among the few that hash. The
hashing is done in the caller's thread, which PBKDF2 leaves without the interpreter lock; what is bounded is how many
threads do it and how many wait.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from importlib import resources

import msgspec

from appliance.clock import Clock
from appliance.model.errors import Throttled, Unavailable
from appliance.model.limits import Buckets, Delays, network
from appliance.model.passwords import check_new_password, fits, hash_password, nobodys_hash, verify_password

SEEN_LIFE = timedelta(days=180)

_WAITING_PER_THREAD = 2
_MOST = 64  # hashing and waiting together
_CONTEXT = ("orchestra", "appliance", "administrator")  # words that are no secret here


@cache
def common_passwords() -> frozenset[str]:
    """The 3,000 common passwords and words of S-08."""
    text = (resources.files("appliance") / "common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


class PasswordLimits(msgspec.Struct, frozen=True):
    """Settings of the cost of login."""

    iterations: int = 1_000_000
    logins_per_minute: int = 10
    login_burst: int = 5
    cores: int = 2
    http_threads: int = 8


class HashingPool:
    """Bounds how many threads hash and wait to hash.

    Half of the cores hash, two wait for each, and never more than half of the HTTP threads are held. One more slot is
    kept for people who have logged in from the same browser before, so that a flood cannot keep them out.
    """

    def __init__(self, cores: int, http_threads: int) -> None:
        threads = max(1, cores // 2)
        room = max(1, min(threads * (1 + _WAITING_PER_THREAD), http_threads // 2 - 1, _MOST - 1))
        self._room = threading.Semaphore(room)
        self._working = threading.Semaphore(threads)
        self._lane = threading.Semaphore(1)

    @contextmanager
    def slot(self, known: bool) -> Iterator[None]:
        """A place to hash in; waits for its turn. Raises Unavailable at once when too many wait."""
        if self._room.acquire(blocking=False):
            try:
                with self._working:
                    yield
            finally:
                self._room.release()
        elif known and self._lane.acquire(blocking=False):
            try:
                yield
            finally:
                self._lane.release()
        else:
            raise Unavailable("too many logins at this moment: try again in 2 seconds", retry_after=2)


class Passwords:
    """Checks and makes password hashes within the limits. ``random(n)`` gives n bytes that nobody can guess.

    ``seen_key`` signs the "seen before" cookie, which opens the kept slot and spares the delay. It proves nothing else.
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes], seen_key: bytes, limits: PasswordLimits) -> None:
        self._clock = clock
        self._random = random
        self._seen_key = seen_key
        self._iterations = limits.iterations
        self._nobody = nobodys_hash(limits.iterations)
        self._pool = HashingPool(limits.cores, limits.http_threads)
        self._lock = threading.Lock()  # of the two below
        self._addresses = Buckets(limits.logins_per_minute, limits.login_burst)
        self._delays = Delays()

    def spend_try(self, address: str) -> None:
        """Take one of the tries of this client address. Raises Throttled."""
        with self._lock:
            wait = self._addresses.take(network(address), self._clock.monotonic())
        if wait:
            raise Throttled("too many logins from this address: try again a little later", retry_after=wait)

    def check(self, user: str, password: str, stored: str | None, seen_before: str | None) -> bool:
        """Whether this is the user's password.

        Without a ``stored`` hash (unknown, disabled) the answer is no, for the same work (J28). Raises Throttled during
        the delay after wrong ones, at once and without locking the account; Unavailable when too many hash.
        """
        if not fits(password) or len(user) > 64:
            return False
        known = seen_before is not None and self._has_seen(user, seen_before)
        key = user.casefold()
        with self._lock:
            wait = 0.0 if known else self._delays.left(key, self._clock.monotonic())
        if wait:
            raise Throttled("too many wrong passwords for this user: try again a little later", retry_after=wait)
        with self._pool.slot(known):
            is_right = verify_password(password, stored or self._nobody) and stored is not None
        with self._lock:
            if is_right:
                self._delays.succeeded(key)
            else:
                self._delays.failed(key, self._clock.monotonic())
        return is_right

    def new_hash(self, user: str, password: str) -> str:
        """The stored form of a new password. Raises Invalid (``password``) when it is too weak, Unavailable."""
        check_new_password(password, common_passwords(), (user, *_CONTEXT), field="password")
        with self._pool.slot(known=True):
            return hash_password(password, self._random(16), self._iterations)

    def seen(self, user: str) -> str:
        """The value of the "seen before" cookie for a user who has just logged in."""
        return self._signed(user, int(self._clock.now().timestamp()))

    def _has_seen(self, user: str, value: str) -> bool:
        issued = value.partition(".")[0]
        if not (issued.isascii() and issued.isdigit() and len(issued) <= 12 and value.isascii()):
            return False
        is_ours = hmac.compare_digest(value, self._signed(user, int(issued)))
        return is_ours and self._clock.now().timestamp() - int(issued) < SEEN_LIFE.total_seconds()

    def _signed(self, user: str, issued: int) -> str:
        return f"{issued}.{hmac.new(self._seen_key, f'{issued}.{user}'.encode(), 'sha256').hexdigest()}"
