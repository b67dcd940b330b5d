"""A run that the master recalls and that cannot be read any more is said to be unknown (F24)."""

from __future__ import annotations

from pathlib import Path

from websockets.asyncio.server import ServerConnection

from appliance.wire import messages as m
from appliance.worker.rundir import RunDirectory
from tests.wire.messages_of import CAP, RUN
from tests.worker.test_link import Place, Shelf, hear, live, welcome


class Empty(Shelf):
    """A journal whose run directories are gone."""

    def run_directory(self, run_id: str) -> RunDirectory:
        return RunDirectory(str(self.directory / run_id))


def test_fault_F24_a_run_that_cannot_be_told_again_is_unknown(tmp_path: Path) -> None:
    async def talk(connection: ServerConnection) -> None:
        await welcome(connection)
        await connection.send(m.encode(m.Assign(id=2, run=RUN, cap=CAP, request="{}", secrets={})))
        await hear(connection, m.Accepted)
        await connection.send(m.encode(m.Recall(id=3, run=RUN)))
        assert (await hear(connection, m.Unknown)).run == RUN

    def place(url: str) -> Place:
        made = Place(tmp_path, url)
        made.shelf.__class__ = Empty
        return made

    live(place, talk)
