"""What connected workers hear when the database turns out to be older than what they know (F24)."""

from __future__ import annotations

from appliance.events import RecoveryChanged
from appliance.master.messenger import Messenger
from appliance.wire import Close
from tests.lease_place import Place

OTHER_JOURNAL = "9" * 32


def test_fault_F24_connected_workers_are_called_back_once_a_recovery_begins() -> None:
    place = Place()
    w1, w2 = place.worker("w1"), place.worker("w2", OTHER_JOURNAL)
    place.events.subscribe(Messenger(place.repository, place.roster).hear)
    _, ear, _ = place.connect(w1)
    place.recoveries.begin("seen by another worker")
    seat = place.roster.seat(w1.id)
    assert seat is not None
    assert (seat.is_merging, seat.free) == (True, 0)
    assert ear.closed is not None
    assert ear.closed[0] == Close.RESTART
    _, merging, _ = place.connect(w2, journal=OTHER_JOURNAL, recalls=True)
    place.events.publish(RecoveryChanged())
    assert merging.closed is None  # it is telling already
