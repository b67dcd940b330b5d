"""Somebody who never stops asking: what every request was answered with, and how long the slowest answer took."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.journeys.site import PASSWORD, Site
from tests.journeys.visitor import Visitor

PAUSE = 0.02  # seconds between two requests


class Prober:
    """Two threads: one asks ``/health``, one reads the dashboard with a login."""

    def __init__(self, site: Site) -> None:
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.slowest = 0.0  # of /health, in seconds
        self.failures: list[str] = []
        self._site = site
        self._visitor = Visitor()
        self._visitor.open(f"{site.url}/login", {"user": "root", "password": PASSWORD}, "/login")
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in (self._health, self._page)]

    def _ask(self, question: Callable[[], tuple[str, int]]) -> None:
        while not self._is_over.wait(PAUSE):
            try:
                self.statuses[question()] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{question.__name__}: {error!r}")

    def _health(self) -> tuple[str, int]:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=60)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        self.slowest = max(self.slowest, time.monotonic() - began)
        return "/health", answer.status

    def _page(self) -> tuple[str, int]:
        try:
            self._visitor.open(self._site.url + "/")
        except urllib.error.HTTPError as error:
            return "/", error.code
        return "/", 200

    @contextmanager
    def asking(self) -> Iterator[Prober]:
        """Ask as long as the block lasts, then print the figures."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()
        told = ", ".join(f"{path} {status}: {count}" for (path, status), count in sorted(self.statuses.items()))
        print(f"asked {told}; slowest /health {self.slowest * 1000:.0f} ms")

    def assert_always_answered(self) -> None:
        """Both were answered with 200 all the time."""
        assert self.failures == []
        assert set(self.statuses) == {("/health", 200), ("/", 200)}
