"""A look at the disk every few seconds: when it has room again, everything that waited for it goes on (F16)."""

from __future__ import annotations

from appliance.background import Loop
from appliance.db.room import Room
from appliance.master.dispatcher import Dispatcher
from appliance.master.roster import Roster

LOOK_EVERY = 2.0  # seconds


class RoomWatch:
    """One loop; ``start`` and ``stop``."""

    def __init__(self, room: Room, roster: Roster, dispatcher: Dispatcher) -> None:
        self._room = room
        self._roster = roster
        self._dispatcher = dispatcher
        self._loop = Loop("room", self.look)
        self.start = self._loop.start
        self.stop = self._loop.stop

    def look(self) -> float:
        """Take or give up the reserve; answers after how many seconds to look again."""
        was_full = self._room.full_since is not None
        if self._room.look():
            self._roster.resume()  # each time: a run may have been refused in the moment in which there was room again
            if was_full:
                self._dispatcher.wake()
        return LOOK_EVERY
