"""The part of the repository that knows which database this is, and whether it was restored. See ``db.repository``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from appliance.model.entities import Lineage, Recovery

LOST_LIFE = 0  # in place of an epoch
NUMBERS_SKIPPED = 1000  # of each job by a recovery, past all that are known (F24)


class LineageStore(ABC):
    """The identity of this appliance and of each life of its master."""

    @abstractmethod
    def open_epoch(self, incarnation: str, boot_id: str, at: datetime) -> Lineage:
        """Begin a life of the master: epoch + 1. The first call makes the cluster id of ``incarnation``."""

    @abstractmethod
    def epoch_of(self, incarnation: str) -> int | None:
        """Which life of the master this is. LOST_LIFE: one that ``lose`` has noted. ``None``: none known here."""

    @abstractmethod
    def lose(self, incarnation: str) -> None:
        """Note a life that came after the backup this database is: the recovery that it calls for has begun (F24)."""

    @abstractmethod
    def clock_mark(self) -> datetime | None:
        """The latest time that was stored as certain (F22); None: none was yet."""

    @abstractmethod
    def put_clock_mark(self, at: datetime) -> None:
        """Store the time up to which it is certain that time has gone, in place of the last one."""

    @abstractmethod
    def begin_recovery(self, began_at: datetime, backup_at: datetime | None = None) -> Recovery:
        """This database is an older one (F24): note every worker as not merged, with the journal that is known of it,
        and every live run as waiting.

        Every job's numbers go on NUMBERS_SKIPPED further, so that none is given twice; those of a job that is new begin
        there until all workers have merged. If nobody has merged yet, a second call without ``backup_at`` is the same
        recovery: two workers noticed it. With it, somebody has restored another backup, which may be one of that time.
        """

    @abstractmethod
    def recovery(self) -> Recovery | None:
        """The newest recovery, ended or not."""

    @abstractmethod
    def waiting_runs(self) -> frozenset[str]:
        """Ids of the runs that were live when the newest recovery began."""

    @abstractmethod
    def merged(self, worker_id: str, at: datetime, note: str = "") -> Recovery | None:
        """The master knows now what this worker holds, but for what ``note`` says. Idempotent.

        Ends the newest recovery if it was the last one, unless one of them has a note: then an operator does.
        """

    @abstractmethod
    def note_recovered(self, run_id: str, *, is_recovered: bool) -> None:
        """Count a run in the newest recovery, once: what was said last of it holds. Without a recovery: nothing."""

    @abstractmethod
    def could_not_recover(self, run_id: str) -> bool:
        """Whether a recovery, any of them, has failed to bring this run back."""

    @abstractmethod
    def came_back(self, run_id: str, cap: str) -> bool:
        """Whether this database knows that the assignment with this cap was given and taken back."""

    @abstractmethod
    def release(self, by: str, at: datetime) -> Recovery | None:
        """Wait for nobody any more. ``None``: there is no open recovery."""
