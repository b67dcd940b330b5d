"""Why a run waits: what a decision about it found, and the sentence that everybody is told of it (W2).

The dispatcher finds out which workers a run may have and how each stands to it. What is made of that is here, once, so
that page, service and command line say the same.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec

from appliance.model.matching import Condition
from appliance.model.sizes import show_count

NAMED = 3  # workers that a sentence names
NEEDS_NAMED = 3  # conditions that a sentence names


class Why(enum.StrEnum):
    """The kinds of reasons, from the first that is looked at to the last."""

    RESTORED = "restored"
    PROJECT_DISABLED = "project_disabled"
    JOB_DISABLED = "job_disabled"
    JOB_REMOVED = "job_removed"
    DISK_FULL = "server_disk_full"
    STORAGE = "storage_unavailable"
    FAILED = "server_error"
    UNREADABLE = "definition_unreadable"
    NO_WORKER = "no_worker"
    NO_FIT = "no_worker_fits"
    AWAY = "workers_away"
    CLOSED = "workers_closed"
    SLOTS = "slots_in_use"
    TURN = "turn"
    SILENT = "worker_silent"  # of a run that a worker has


WORDS: dict[Why, str] = {
    Why.RESTORED: "a restore from a backup",
    Why.PROJECT_DISABLED: "its project is disabled",
    Why.JOB_DISABLED: "its job is disabled",
    Why.JOB_REMOVED: "its job was removed",
    Why.DISK_FULL: "the server's disk is full",
    Why.STORAGE: "the server cannot store anything",
    Why.FAILED: "an error of the server",
    Why.UNREADABLE: "its definition cannot be read",
    Why.NO_WORKER: "there is no worker",
    Why.NO_FIT: "no worker fits",
    Why.AWAY: "workers that fit are away",
    Why.CLOSED: "workers that fit take nothing new",
    Why.SLOTS: "all slots are in use",
    Why.TURN: "about to be given out",
    Why.SILENT: "its worker is silent",
}
"""Each kind in a few words, for filters and counts."""


class Stand(enum.StrEnum):
    """How a worker stands to a run, from the one that would get it to the one that never will."""

    READY = "ready"
    FULL = "full"
    CONNECTING = "connecting"
    MERGING = "merging"
    DECLINED = "declined"
    LEAVING = "leaving"
    DRAINING = "draining"
    DISABLED = "disabled"
    DISCONNECTED = "disconnected"
    AWAY = "not connected"
    NEW = "never seen"
    REFUSED = "refused"
    UNFIT = "does not fit"


STANDS = tuple(Stand)
_IS = {  # of one worker, and of several
    Stand.CONNECTING: ("is just connecting", "are just connecting"),
    Stand.MERGING: ("still tells what it has, after a restore", "still tell what they have, after a restore"),
    Stand.DECLINED: ("declined a run", "declined a run"),
    Stand.LEAVING: ("wants nothing new", "want nothing new"),
    Stand.DRAINING: ("was told to drain", "were told to drain"),
    Stand.DISABLED: ("is disabled", "are disabled"),
    Stand.DISCONNECTED: ("is disconnected until it is enabled", "are disconnected until they are enabled"),
    Stand.AWAY: ("is not connected", "are not connected"),
    Stand.NEW: ("has not connected yet", "have not connected yet"),
    Stand.REFUSED: ("is refused", "are refused"),
}


class Candidate(msgspec.Struct, frozen=True):
    """A worker, as a decision about a run saw it. ``note``: more of why it stands so, if there is more to say.
    ``is_away``: it is not connected, whatever else."""

    name: str
    stand: Stand
    slots: int = 1
    used: int = 0
    note: str = ""
    is_away: bool = False
    conditions: tuple[Condition, ...] = ()

    @property
    def unmet(self) -> tuple[Condition, ...]:
        """What the worker lacks."""
        return tuple(one for one in self.conditions if not one.is_met)

    @property
    def sentence(self) -> str:
        """How it stands to the run, in words that go on from its name."""
        match self.stand:
            case Stand.READY:
                return "has a free slot"
            case Stand.FULL:
                return "has its only slot in use" if self.slots == 1 else f"has all {self.slots} slots in use"
            case Stand.UNFIT:
                return "; ".join(one.sentence for one in self.unmet) or "does not fit"
            case _:
                too = " and not connected" if self.is_away and self.stand in (Stand.DISABLED, Stand.DRAINING) else ""
                return _IS[self.stand][0] + too + (f": {self.note}" if self.note else "")

    @property
    def rank(self) -> tuple[int, int, str]:
        """Those that come nearest to having the run are first."""
        return STANDS.index(self.stand), len(self.unmet), self.name


class Place(msgspec.Struct, frozen=True):
    """``number`` ``of`` those that may be given out, counted from 1 in their order."""

    number: int
    of: int


class Wait(msgspec.Struct, frozen=True):
    """Why a run waits. ``place``: where it stands in line; None for one that may be given to nobody."""

    why: Why
    sentence: str
    place: Place | None = None


class Need(msgspec.Struct, frozen=True):
    """A condition of the job, and by how many of the workers that were looked at it is met."""

    name: str
    words: str
    met_by: int


def needs_of(candidates: Iterable[Candidate]) -> tuple[Need, ...]:
    """The conditions that were looked at, in their order, with how many workers meet each."""
    met_by: dict[str, int] = {}
    first: dict[str, Condition] = {}
    for candidate in candidates:
        for one in candidate.conditions:
            met_by[one.name] = met_by.get(one.name, 0) + one.is_met
            first.setdefault(one.name, one)
    return tuple(Need(name, first[name].needs, count) for name, count in met_by.items())


def of_fitting(fitting: Sequence[Candidate]) -> Wait:
    """The reason of a run that some connected workers fit, or, when none does, some that are away."""
    stands = {one.stand for one in fitting}
    if Stand.READY in stands:
        return Wait(Why.TURN, "waits for its turn: a worker has a free slot, and gets it at once")
    if Stand.FULL in stands:
        full = [one for one in fitting if one.stand is Stand.FULL]
        others = len(fitting) - len(full)
        more = ""
        if others:
            fits, takes = ("fits", "takes") if others == 1 else ("fit", "take")
            more = f"; {show_count(others, 'other worker')} that {fits} {takes} nothing new"
        return Wait(Why.SLOTS, f"waits for a free slot: {_slots(full)}{more}")
    are_away = all(one.is_away for one in fitting)
    return Wait(Why.AWAY if are_away else Why.CLOSED, f"waits for a worker: {_standing(fitting)}")


def of_unfit(unfit: Sequence[Candidate]) -> Wait:
    """The reason of a run that no worker fits; these were looked at."""
    if not unfit:
        return Wait(Why.NO_WORKER, "waits for a worker: there is none yet")
    nearest = min(unfit, key=lambda one: one.rank)
    if len(unfit) == 1:
        return Wait(Why.NO_FIT, f"waits for a worker: {nearest.name} does not fit ({nearest.sentence})")
    nobodys = [one.words for one in needs_of(unfit) if not one.met_by and one.words]
    if nobodys:
        said = _list(nobodys[:NEEDS_NAMED]) + (" and more" if len(nobodys) > NEEDS_NAMED else "")
        return Wait(Why.NO_FIT, f"waits for a worker: none of {len(unfit)} has {said}")
    said = f"none of {len(unfit)} fits; {nearest.name} comes nearest ({nearest.sentence})"
    return Wait(Why.NO_FIT, f"waits for a worker: {said}")


def _slots(full: Sequence[Candidate]) -> str:
    slots = sum(one.slots for one in full)
    taken = "the only slot" if slots == 1 else f"all {slots} slots"
    return f"{taken} of {_names(full)} {'is' if slots == 1 else 'are'} in use"


def _standing(fitting: Sequence[Candidate]) -> str:
    """``w1 is disabled``; ``w1 and w2 were told to drain, w3 is not connected``."""
    if len(fitting) == 1:
        return f"{fitting[0].name} {fitting[0].sentence}"
    said = []
    for stand in STANDS:
        those = [one for one in fitting if one.stand is stand]
        if len(those) == 1:
            said.append(f"{those[0].name} {_IS[stand][0]}")
        elif those:
            said.append(f"{_names(those)} {_IS[stand][1]}")
    return ", ".join(said)


def _names(candidates: Sequence[Candidate]) -> str:
    names = [one.name for one in candidates]
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return _list(names)


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
