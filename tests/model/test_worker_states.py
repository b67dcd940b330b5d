"""The word and the sentence for what a worker is doing."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.model.worker_states import Duty, Vitals, WorkerState
from tests.db.values import NOW, worker

BY = " by ada at 2026-01-31 09:15:00 UTC"
HERE: dict[str, Any] = {"is_active": True}
AWAY: dict[str, Any] = {"is_active": False, "silent_since": NOW}
SWITCHED: dict[str, Any] = {"switched_at": NOW, "switched_by": "ada"}


def state(changes: dict[str, Any], **said: Any) -> WorkerState:
    one = worker("w1", **{"slots": 2, "journal_id": "j", **changes})
    return WorkerState(**{"worker": one, "is_active": True, "used": 0, "properties": {}, **said})


CASES: dict[str, tuple[WorkerState, Duty, str]] = {
    "works": (state({}), Duty.CONNECTED, "Takes runs."),
    "full": (state({}, used=2, left=2), Duty.CONNECTED, "All its slots are in use."),
    "wants nothing": (
        state({}, vitals=Vitals(wants_nothing=True)),
        Duty.CONNECTED,
        "Has asked for nothing new; it finishes what it has.",
    ),
    "has declined": (
        state({}, vitals=Vitals(has_declined=True)),
        Duty.CONNECTED,
        "Has declined a run just now, and gets the next one after its next sign of life.",
    ),
    "away": (
        state({}, **AWAY),
        Duty.SILENT,
        "Is not connected since 2026-01-31 09:15:00 UTC. Its runs go on there; it reports them when it is back.",
    ),
    "draining": (
        state({"is_draining": True, **SWITCHED}, left=2),
        Duty.DRAINING,
        f"Finishes what it has, and gets nothing new: 2 runs left. Drained{BY}.",
    ),
    "draining and untold": (
        state({"is_draining": True, **SWITCHED}, is_untold=True),
        Duty.DRAINING,
        (
            "Finishes what it has, and gets nothing new: 0 runs left as far as is known: since the restore from a "
            f"backup it has not told what it has. Drained{BY}."
        ),
    ),
    "drained": (
        state({"is_draining": True, **SWITCHED}),
        Duty.DRAINED,
        f"Has finished all its runs, and gets no new ones until it is enabled: it may be stopped. Drained{BY}.",
    ),
    "drained and stopped": (
        state({"is_draining": True}, **AWAY),
        Duty.DRAINED,
        "Has finished all its runs, and gets no new ones until it is enabled: it may be stopped. It is not connected.",
    ),
    "draining and away": (
        state({"is_draining": True}, **AWAY, left=1),
        Duty.SILENT,
        (
            "Is not connected since 2026-01-31 09:15:00 UTC. Its runs go on there; it reports them when it is back. "
            "It drains: 1 run left."
        ),
    ),
    "disabled": (
        state({"is_enabled": False, **SWITCHED}, left=1),
        Duty.DISABLED,
        f"Gets no new runs until it is enabled: disabled{BY}. It finishes what it has: 1 run left.",
    ),
    "disabled and away": (
        state({"is_enabled": False, **SWITCHED}, **AWAY, left=1),
        Duty.DISABLED,
        f"Gets no new runs until it is enabled: disabled{BY}. 1 of its runs goes on there.",
    ),
    "disconnected": (
        state({"is_enabled": False, "is_disconnected": True, **SWITCHED}, **AWAY, left=2),
        Duty.DISCONNECTED,
        f"Stays away until it is enabled: disconnected{BY}. 2 of its runs go on there.",
    ),
    "revoked": (
        state({"revoked_at": NOW, "revoked_by": "ada", "is_enabled": False}, **AWAY, refusal="no", left=1),
        Duty.REVOKED,
        (
            f"Not taken: its token was revoked{BY}; 1 of its runs waits. "
            "'orchestra worker token w1' lets it go on where it was."
        ),
    ),
    "refused": (state({}, **AWAY, refusal="it is too old"), Duty.REFUSED, "Not taken: it is too old."),
    "never seen": (
        state({"journal_id": None}, is_active=False),
        Duty.NEVER_SEEN,
        "Has not connected yet: type its join line on the new machine.",
    ),
    "never seen and disabled": (
        state({"journal_id": None, "is_enabled": False}, is_active=False),
        Duty.DISABLED,
        "Gets no new runs until it is enabled: disabled.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_req_W6_every_state_has_a_word_and_says_what_it_means(name: str) -> None:
    one, duty, sentence = CASES[name]
    assert (one.duty, one.sentence) == (duty, sentence)


def test_every_word_is_looked_at() -> None:
    assert {duty for _, duty, _ in CASES.values()} == set(Duty)
