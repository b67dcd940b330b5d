"""What the dispatcher would do with runs that wait, told to those who ask: the decision explains itself (W2).

Nothing is decided here. Whether a group is looked at, which seats fit and whether one has a free slot is asked of what
the dispatcher itself asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container

from appliance.master.judge import Judge, candidate
from appliance.master.line import Lines
from appliance.master.roster import Roster
from appliance.model.definitions import JobDocument
from appliance.model.fitting import Applicant
from appliance.model.groups import Group, Key
from appliance.model.matching import Condition
from appliance.model.waiting import Candidate, Place, Wait

Fitting = Callable[[Group, JobDocument], list[Candidate]]
"""The connected workers that may have runs of a group, by name."""


class Outlook:
    """Every method may be called from any thread. Runs of one group are given out alike: project, job, version."""

    def __init__(self, lines: Lines, judge: Judge, roster: Roster, look: Callable[[Group], Wait | JobDocument]) -> None:
        """``look``: why no worker is looked for now, or what the runs of a group execute."""
        self._lines = lines
        self._judge = judge
        self._roster = roster
        self.look = look

    def now(self) -> Fitting:
        """How the connected workers stand now, for one answer about many groups."""
        seats = sorted(self._roster.seats(), key=lambda seat: seat.name)
        standing = [(seat, candidate(seat)) for seat in seats]
        fits = self._judge.fits

        def fitting(group: Group, document: JobDocument) -> list[Candidate]:
            return [one for seat, one in standing if fits(group[2], document, seat)]

        return fitting

    def connected(self, group: Group, document: JobDocument) -> list[Candidate]:
        """All connected workers with all conditions."""
        return [
            candidate(seat, self._judge.conditions(document, seat), fits=self._judge.fits(group[2], document, seat))
            for seat in self._roster.seats()
        ]

    def conditions(self, document: JobDocument, worker: Applicant) -> tuple[Condition, ...]:
        """The conditions of a job, held against a worker that is not connected."""
        return self._judge.conditions(document, worker)

    def places(self, run_ids: Collection[str]) -> dict[str, Place]:
        """Where runs stand among those that may be given out. Those of disabled jobs do not count, and have none."""
        sizes = self._live()
        before = self._lines.before(run_ids, sizes)
        whole = sum(sizes.values())
        return {run_id: Place(count + 1, max(whole, count + 1)) for run_id, count in before.items()}

    def _live(self) -> dict[Group, int]:
        sizes = self._lines.sizes(held=False)
        return {group: size for group, size in sizes.items() if self._judge.off(group) is None}

    def sizes(self, *, held: bool) -> dict[Group, int]:
        """How many runs of each group are held back after a restore, or wait otherwise."""
        return self._lines.sizes(held=held)

    def after(self, key: Key | None, limit: int, groups: Container[Group], held: Container[Group]) -> list[Key]:
        """At most ``limit`` runs behind ``key``, in the order in which they are given out: of ``groups``, and of
        ``held`` those that are held back."""
        return self._lines.after(key, limit, groups, held)
