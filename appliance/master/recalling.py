"""The recalls of one connection: what a worker is to tell again after a restore, and when it has told all (F24)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from appliance.wire import INVENTORY_LIMIT, Close, ProtocolError
from appliance.wire import messages as m

UNDER_WAY = 16  # recalls that wait for their answer: each may be a message of the largest size


class Recalling:
    """Asks for runs, a few at a time. Every method may be called from any thread."""

    def __init__(
        self, ask: Callable[[str], None], held: Iterable[m.Held], recall: Iterable[m.Held], complete_since: float = 0.0
    ) -> None:
        """``held``: the runs of the worker's hello, ``recall``: those of them that the master lacks."""
        self.complete_since = complete_since
        self.listed = {item.run for item in held}
        self._ask = ask
        self._lock = threading.Lock()
        self._queue = deque(recall)
        self._asked: dict[str, m.Held] = {}
        self._is_whole = False  # the worker has said all that it keeps
        self._is_over = False
        self._ask_more()

    def list(self, page: m.InventoryPage, wants: Callable[[m.Held], bool]) -> bool:
        """More of what the worker keeps; ``wants`` picks what the master lacks. True: that was all, once."""
        if len(self.listed) + len(page.runs) > INVENTORY_LIMIT:
            raise ProtocolError("inventory over the limit", "too_big", close=Close.PROTOCOL)
        wanted = [item for item in page.runs if item.run not in self.listed and wants(item)]
        with self._lock:
            self.listed.update(item.run for item in page.runs)
            self._queue.extend(wanted)
            self._is_whole = self._is_whole or not page.more
            self._ask_more()
            return self._ends()

    def asked(self, run_id: str) -> m.Held | None:
        """What the worker said of a run that it was asked for, until ``settle``."""
        with self._lock:
            return self._asked.get(run_id)

    def settle(self, run_id: str, *, is_here: bool) -> bool:
        """The run was dealt with. ``is_here``: it was brought back. True: that was all, once."""
        with self._lock:
            self._asked.pop(run_id, None)
            if not is_here:
                self.listed.discard(run_id)
            self._ask_more()
            return self._ends()

    def _ask_more(self) -> None:
        while self._queue and len(self._asked) < UNDER_WAY:
            item = self._queue.popleft()
            self._asked[item.run] = item
            self._ask(item.run)

    def _ends(self) -> bool:
        if self._is_over or not self._is_whole or self._asked or self._queue:
            return False
        self._is_over = True
        return True
