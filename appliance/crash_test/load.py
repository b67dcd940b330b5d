"""The load: triggers runs, asks for some to be aborted or cancelled, and looks at what the service says meanwhile."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from appliance.client import TERMINAL, Client
from appliance.crash_test.ledger import Ledger
from appliance.crash_test.plan import Order
from appliance.crash_test.stage import JOB, PROJECT, Stage
from appliance.model.errors import ApplianceError, Conflict, Unavailable

LIVE = ("pending", "assigned", "running", "lost")
_AT_ONCE = 6  # live runs beyond the slots of all workers, so that some wait
_PAUSE = 0.1  # seconds between two rounds
_SHOWN = 50  # of the newest runs, looked at in each round


class Load:
    """One thread that is a busy user. ``stop`` ends the triggers; wishes that are due are still asked."""

    def __init__(self, stage: Stage, orders: Iterator[Order], ledger: Ledger, over: threading.Event) -> None:
        self._stage, self._orders, self._ledger, self._over = stage, orders, ledger, over
        self._depth = len(stage.workers) * 4 + _AT_ONCE
        self._unsure: list[Order] = []  # triggered, and no answer came
        self._wishes: list[tuple[float, str, str]] = []  # when, run, verb
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._thread: Future[None] | None = None
        self.ended = 0  # runs that were seen to have ended

    def begin(self) -> None:
        """Let the thread go."""
        self._thread = self._pool.submit(self._work)

    def stop(self) -> None:
        """Trigger nothing more, and wait until every trigger has its answer, or ``over`` is set. Raises its failure."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.result()

    def check(self) -> None:
        """Raises what the thread failed with."""
        if self._thread is not None and self._thread.done():
            self._thread.result()

    def close(self) -> None:
        """Wait for the thread; ``over`` must be set or it stopped."""
        self._pool.shutdown(wait=True)

    def _work(self) -> None:
        with self._stage.client() as client:
            while not self._over.is_set():
                try:
                    live = self._look(client)
                    self._top_up(client, live)
                    self._ask(client)
                    if self._stopping.is_set() and not self._unsure and not self._wishes:
                        return
                except Unavailable:
                    pass  # it is dead, stopped or busy: that is what this is about
                except ApplianceError as error:
                    self._ledger.complain(f"the service answered what it never should: {type(error).__name__}: {error}")
                self._over.wait(_PAUSE)

    def _look(self, client: Client) -> int:
        """Note ends, each as it is first shown; answers how many runs are live."""
        for document in client.runs(limit=_SHOWN):
            if document["status"] in TERMINAL:
                self._ledger.see(document)
        self.ended = len(self._ledger.seen)
        return sum(1 for _ in client.runs(limit=self._depth, status=LIVE))

    def _top_up(self, client: Client, live: int) -> None:
        again, self._unsure = self._unsure, []
        for place, order in enumerate(again):
            try:
                self._trigger(client, order)
            except ApplianceError:
                self._unsure += again[place + 1 :]
                raise
        if self._stopping.is_set():
            return
        for _ in range(live, self._depth):
            order = next(self._orders)
            self._ledger.ordered(order)
            self._trigger(client, order)

    def _trigger(self, client: Client, order: Order) -> None:
        """With the order's key, so that a repetition after a lost answer is the same run (F13)."""
        try:
            run: dict[str, Any] = client.trigger(PROJECT, JOB, {"task": order.text}, key=order.task.key)
        except Unavailable:
            self._unsure.append(order)
            raise
        self._ledger.acknowledge(order.task.key, run["id"])
        if order.wish:
            heapq.heappush(self._wishes, (time.monotonic() + order.after, run["id"], order.wish))

    def _ask(self, client: Client) -> None:
        while self._wishes and self._wishes[0][0] <= time.monotonic():
            _, run_id, verb = self._wishes[0]
            outcome = None
            try:
                outcome = (client.cancel(run_id) if verb == "cancel" else client.abort(run_id))["outcome"]
            except Conflict:
                outcome = "refused"
            except Unavailable:
                raise  # asked again later; it may have been done all the same
            except ApplianceError as error:
                outcome = "refused"
                self._ledger.complain(f"{verb} of run {run_id}: {type(error).__name__}: {error}")
            finally:
                self._ledger.wish(run_id, verb, outcome)
                if outcome is not None:
                    heapq.heappop(self._wishes)
