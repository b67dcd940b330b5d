"""What a worker is doing, in a word and in a sentence: one home for pages, service and command line (W6, F25, F43)."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from appliance.model.entities import Worker
from appliance.model.sizes import show_count
from appliance.model.times import show_clock_offset, show_time


class Duty(enum.StrEnum):
    """The word for what a worker is doing; the first that fits, in this order."""

    REVOKED = "revoked"  # its token was taken away
    REFUSED = "refused"  # it came, and was not taken: its version, or its owner is disabled
    DISCONNECTED = "disconnected"  # sent away by an operator until it is enabled
    NEVER_SEEN = "never seen"
    DISABLED = "disabled"
    DRAINED = "drained"  # it was to finish what it had, and has
    SILENT = "silent"  # it should be there, and is not
    DRAINING = "draining"
    CONNECTED = "connected"


class Vitals(msgspec.Struct, frozen=True):
    """What a connected worker said in its last beat, and of itself; ``None``: nothing yet.

    ``load``: runnable processes, of the last minute. ``disk_free``: bytes free where it keeps its runs.
    ``wants_nothing``: it asked for no new runs. ``has_declined``: it declined one, and has not beaten since.
    """

    load: float | None = None
    disk_free: int | None = None
    wants_nothing: bool = False
    has_declined: bool = False


class WorkerState(msgspec.Struct, frozen=True):
    """A worker and its present state. ``properties``: reported ones with those of its token over them.

    ``used``: slots in use; of a worker that is not connected, the runs that it has by the last that was heard.
    ``left``: live runs that it has or may have, those on their way to it with them.
    ``silent_since``: when it was last heard, if it is not connected and has been. ``refusal``: why the master does not
    take it, such as its version (F37) or its owner (F25).
    ``is_untold``: it drains, and since a restore it has not told which runs it has (F24): perhaps more than ``left``.
    ``refused``, ``late``: words of its that were refused, or came after the end of their run, since the master started.
    """

    worker: Worker
    is_active: bool
    used: int
    properties: dict[str, Any]
    silent_since: datetime | None = None
    refusal: str = ""
    left: int = 0
    is_untold: bool = False
    vitals: Vitals | None = None
    refused: int = 0
    late: int = 0

    @property
    def is_drained(self) -> bool:
        """Whether it was to finish what it had, and has: it may be stopped."""
        return self.worker.is_draining and not self.left and not self.is_untold

    @property
    def duty(self) -> Duty:
        """The word for it."""
        worker = self.worker
        is_new = worker.last_contact_at is None and worker.journal_id is None and not self.is_active
        meant = (
            (Duty.REVOKED, worker.revoked_at is not None),
            (Duty.REFUSED, bool(self.refusal)),
            (Duty.DISCONNECTED, worker.is_disconnected),
            (Duty.NEVER_SEEN, is_new and worker.takes_work),
            (Duty.DISABLED, not worker.is_enabled),
            (Duty.DRAINED, self.is_drained),
            (Duty.SILENT, not self.is_active),
            (Duty.DRAINING, worker.is_draining),
        )
        return next((duty for duty, fits in meant if fits), Duty.CONNECTED)

    @property
    def sentence(self) -> str:
        """What that means now, and what would change it."""
        worker, left = self.worker, f"{show_count(self.left, 'run')} left"
        if self.is_untold:
            left += " as far as is known: since the restore from a backup it has not told what it has"
        goes_on = f" {_go_on(self.left)} on there." if self.left else ""
        match self.duty:
            case Duty.REVOKED:
                return f"Not taken: {self.trouble}. 'orchestra worker token {worker.name}' lets it go on where it was."
            case Duty.REFUSED:
                return f"Not taken: {self.trouble}."
            case Duty.DISCONNECTED:
                return f"Stays away until it is enabled: disconnected{self._switched}.{goes_on}"
            case Duty.NEVER_SEEN:
                return "Has not connected yet: type its join line on the new machine."
            case Duty.DISABLED:
                has = f" It finishes what it has: {left}." if self.left and self.is_active else goes_on
                return f"Gets no new runs until it is enabled: disabled{self._switched}.{has}"
            case Duty.DRAINED:
                away = "" if self.is_active else " It is not connected."
                by = f" Drained{self._switched}." if self._switched else ""
                rests = "Has finished all its runs, and gets no new ones until it is enabled: it may be stopped."
                return f"{rests}{by}{away}"
            case Duty.SILENT:
                since = f" since {show_time(self.silent_since)}" if self.silent_since else ""
                drains = f" It drains: {left}." if worker.is_draining else ""
                return f"Is not connected{since}. Its runs go on there; it reports them when it is back.{drains}"
            case Duty.DRAINING:
                return f"Finishes what it has, and gets nothing new: {left}. Drained{self._switched}."
            case Duty.CONNECTED:
                return self._at_work

    @property
    def _at_work(self) -> str:
        vitals = self.vitals or Vitals()
        if vitals.wants_nothing:
            return "Has asked for nothing new; it finishes what it has."
        if vitals.has_declined:
            return "Has declined a run just now, and gets the next one after its next sign of life."
        return "Takes runs." if self.used < self.worker.slots else "All its slots are in use."

    @property
    def _switched(self) -> str:
        """`` by ada at 2026-01-31 …``; "" where nobody noted it."""
        worker = self.worker
        if worker.switched_at is None:
            return ""
        return f" by {worker.switched_by} at {show_time(worker.switched_at)}"

    @property
    def trouble(self) -> str:
        """What an administrator should know, as a sentence; "" when all is well."""
        verb = "waits" if self.left == 1 else "wait"
        wait = f"; {self.left} of its runs {verb}" if self.left else ""
        if self.worker.revoked_at is not None:
            return f"its token was revoked by {self.worker.revoked_by} at {show_time(self.worker.revoked_at)}{wait}"
        return f"{self.refusal}{wait}" if self.refusal else ""

    @property
    def clock(self) -> str:
        """What is wrong with its clock, as a sentence; "" when nothing is. No run is harmed by it (F23)."""
        off = show_clock_offset(self.worker.clock_offset)
        return f"its clock was {off} the server's when it connected last: set it right" if off else ""

    @property
    def strays(self) -> str:
        """What was strange about its words since the server started, as a sentence; "" when nothing was (F14, S-20)."""
        said = []
        if self.refused:
            said.append(f"{show_count(self.refused, 'message')} refused: about runs that it does not have")
        if self.late:
            said.append(f"{show_count(self.late, 'message')} came after the end of the run, and changed nothing")
        return "; ".join(said)


def _go_on(left: int) -> str:
    return f"{left} of its runs {'goes' if left == 1 else 'go'}"
