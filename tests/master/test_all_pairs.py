"""F13, F14, F36: every word of a worker in every state of a run, once, again and late, against the real conversation.

``EXPECTED`` is the table of reliability.md 4.2 and 5.3 by hand: what a word may change. What is not in it changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from appliance.leases import Leases
from appliance.master.conversation import Conversation
from appliance.model.entities import Lease, Run, Worker
from appliance.model.run_state import Status
from appliance.wire import NOTES, OUTPUT, RESULTS, frames
from appliance.wire import messages as m
from tests.lease_place import JOURNAL, OTHER_JOURNAL, Ear, Place

OUTPUT_SO_FAR, MORE = b"so far\n", b"more\n"


def _pending(place: Place, worker: Worker) -> str:
    return place.trigger().id


def _given_back(place: Place, worker: Worker) -> str:
    run = place.assign(worker)
    place.leases.unknown(place.holder(worker), run.id)
    return run.id


def _aborting(place: Place, worker: Worker) -> str:
    return place.runs.abort(place.running(worker, OUTPUT_SO_FAR).id, "bob").run.id


def _withdrawing(place: Place, worker: Worker) -> str:
    return place.runs.cancel(place.assign(worker).id, "bob").run.id


def _cancelled(place: Place, worker: Worker) -> str:
    run_id = _withdrawing(place, worker)
    place.leases.unknown(place.holder(worker), run_id)
    return run_id


def _ended(status: str, reason: str | None) -> Callable[[Place, Worker], str]:
    def make(place: Place, worker: Worker) -> str:
        run = place.running(worker, OUTPUT_SO_FAR)
        record = place.exited(run, OUTPUT_SO_FAR, status=status, reason=reason)
        assert place.leases.exited(place.holder(worker), record) is None
        return run.id

    return make


def _declared_lost(place: Place, worker: Worker) -> str:
    return place.lost_runs.declare(place.running(worker, OUTPUT_SO_FAR).id, "alice").id


def _reported(place: Place, worker: Worker) -> str:
    run = place.now(place.runs.get(_declared_lost(place, worker)))
    place.leases.append_log(place.holder(worker), run.id, OUTPUT, 0, OUTPUT_SO_FAR)
    assert place.leases.exited(place.holder(worker), place.exited(run, OUTPUT_SO_FAR)) is None
    return run.id


def _of_another_worker(place: Place, worker: Worker) -> str:
    return place.running(place.worker("w2", OTHER_JOURNAL), OUTPUT_SO_FAR).id


def _of_an_older_journal(place: Place, worker: Worker) -> str:
    """As if the journal had been exchanged and nobody had noticed."""
    older = msgspec.structs.replace(worker, journal_id=OTHER_JOURNAL)
    run = place.assignment(older).run
    place.leases.accepted(place.holder(older), run.id)
    return run.id


STATES: dict[str, Callable[[Place, Worker], str]] = {
    "pending": _pending,
    "pending again": _given_back,
    "assigned": lambda place, worker: place.assign(worker).id,
    "withdrawing": _withdrawing,
    "running": lambda place, worker: place.running(worker, OUTPUT_SO_FAR).id,
    "aborting": _aborting,
    "lost": lambda place, worker: place.lost(worker).id,
    "lost, only assigned": lambda place, worker: place.lost(worker, is_accepted=False).id,
    "succeeded": _ended("succeeded", None),
    "failed": _ended("failed", "exit_code"),
    "errored": _ended("errored", "start_failed"),
    "aborted": _ended("aborted", "requested"),
    "cancelled": _cancelled,
    "declared lost": _declared_lost,
    "declared lost and reported": _reported,
    "unknown": lambda place, worker: place.new_id(),
    "of another worker": _of_another_worker,
    "of an older journal": _of_an_older_journal,
}
NOT_YOURS = {"pending", "pending again", "cancelled", "unknown", "of another worker", "of an older journal"}
OVER = {"succeeded", "failed", "errored", "aborted"}
LIVE = {"assigned", "withdrawing", "running", "aborting", "lost", "lost, only assigned"}


def _data(place: Place, run_id: str) -> frames.Data:
    return frames.Data(run=run_id, stream=OUTPUT, offset=place.logs.size(run_id, OUTPUT), payload=MORE)


def _exited(place: Place, run_id: str, **changes: Any) -> m.Exited:
    output = place.logs.read(run_id, OUTPUT, 0, 1000)
    fields: dict[str, Any] = {} if output else {"sizes": {OUTPUT: 0}, "digests": {}}
    run = place.repository.runs.get(run_id) or msgspec.structs.replace(place.trigger(), id=run_id)
    return place.exited(run, output, **{**fields, **changes})


WORDS: dict[str, Callable[[Place, str], Any]] = {
    "accepted": lambda place, run_id: m.Accepted(id=3, run=run_id),
    "declined": lambda place, run_id: m.Declined(id=3, run=run_id, reason="no room"),
    "unknown": lambda place, run_id: m.Unknown(id=3, run=run_id),
    "started": lambda place, run_id: m.Started(id=3, run=run_id, at=place.now_stamp()),
    "output": _data,
    "output of stream 1": lambda place, run_id: frames.Data(run=run_id, stream=RESULTS, offset=0, payload=b"{}"),
    "output of stream 9": lambda place, run_id: frames.Data(run=run_id, stream=9, offset=0, payload=b"{}"),
    "output after a gap": lambda place, run_id: frames.Data(run=run_id, stream=NOTES, offset=77, payload=b"x"),
    "output at the end of the world": lambda _, run_id: frames.Data(run=run_id, stream=0, offset=1 << 50, payload=b"x"),
    "results": lambda place, run_id: m.Results(id=3, run=run_id, seq=1, value=msgspec.Raw(b'{"a":1}')),
    "results that are none": lambda place, run_id: m.Results(id=3, run=run_id, seq=1, value=msgspec.Raw(b"[]")),
    "exited": _exited,
    "exited, with more than was sent": lambda place, run_id: _exited(place, run_id, sizes={OUTPUT: 1 << 40}),
    "exited, for no reason there is": lambda place, run_id: _exited(place, run_id, status="failed", reason="moonlight"),
    "forgotten": lambda place, run_id: m.Forgotten(id=3, run=run_id),
    "recalled": lambda place, run_id: m.Recalled(id=3, run=run_id, request="{}"),
    "inventory": lambda place, run_id: m.InventoryPage(id=3, runs=[]),
    "beat": lambda place, run_id: m.Beat(id=3, at=1.0),
    "drain": lambda place, run_id: m.Drain(id=3, on=True),
    "error": lambda place, run_id: m.ErrorReply(id=3, code="what", text="?"),
}  # fmt: skip
ABOUT_NO_RUN = {"forgotten", "inventory", "beat", "drain", "error"}
BACK = {"declined", "unknown"}

# (state, word): status after it. Where a pair is missing the status stays.
EXPECTED: dict[tuple[str, str], Status] = {
    ("assigned", "accepted"): Status.RUNNING,
    ("withdrawing", "accepted"): Status.RUNNING,  # and is aborted (4.4)
    **{("assigned", word): Status.PENDING for word in BACK},
    **{("withdrawing", word): Status.CANCELLED for word in BACK},
    **{(state, "exited"): Status.SUCCEEDED for state in LIVE},
    **{(state, "exited, for no reason there is"): Status.ERRORED for state in LIVE},
}
# Words that change something of a live run other than its status: its log, its results, its start.
ADDING = {"output", "output of stream 1", "results", "started"}
REFUSED = {
    "output of stream 9": "limit",
    "output at the end of the world": "limit",
    "results that are none": "bad_results",
}


class Scene:
    """A connected worker, and a run in some state, of which everything that is kept can be compared."""

    def __init__(self, state: str) -> None:
        self.place = Place()
        self.worker = self.place.worker(slots=9)
        self.run_id = STATES[state](self.place, self.worker)
        self.bystander = self.place.running(self.worker, b"untouched")
        self.connect()

    def connect(self) -> None:
        """Take a seat without an inventory: the states are as they are, and only the words are looked at."""
        place = self.place
        self.ear = Ear()
        self.talk: Conversation = place.converse(self.worker, self.ear)
        self.talk._holder = place.holder(self.worker, JOURNAL)  # what ``greet`` sets

    def late(self) -> None:
        """Another life of the master, a long time later."""
        self.place.clock.advance(100_000)
        self.place.restart()
        self.connect()

    def say(self, word: str) -> None:
        self.talk.take(WORDS[word](self.place, self.run_id))

    @property
    def leases(self) -> Leases:
        return self.place.leases

    @property
    def run(self) -> Run | None:
        return self.place.repository.runs.get(self.run_id)

    def picture(self) -> dict[str, Any]:
        """Everything that is kept of the run."""
        store, logs = self.place.repository.runs, self.place.logs
        lease: Lease | None = store.lease(self.run_id)
        return {
            "run": self.run,
            "lease": lease,
            "streams": store.streams(self.run_id),
            "results": store.results(self.run_id),
            "late": self.place.repository.late.get(self.run_id),
            "logs": [logs.read(self.run_id, one, 0, 1000) for one in (OUTPUT, RESULTS, NOTES)],
        }


def test_every_word_that_there_is_is_said() -> None:
    place = Place()
    said = {type(make(place, place.trigger().id)) for make in WORDS.values()}
    assert set(get_args(m.FromWorker)) - said == {m.Hello}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", STATES)
def test_fault_F14_fault_F13_every_word_in_every_state_changes_only_what_the_table_says(
    state: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(state)
    before, bystander = scene.picture(), scene.place.now(scene.bystander)
    counted = scene.leases.strays.of(scene.worker.id)
    scene.say(word)
    after = scene.picture()

    expected = EXPECTED.get((state, word))
    if expected is not None:
        assert after["run"].status is expected
    elif state in LIVE and word in ADDING:
        assert after["run"].status is before["run"].status
    elif state == "declared lost" and word in ("exited", "exited, for no reason there is"):
        # its output was not sent again: it is asked for, and then kept beside the run (test_lost_runs.py)
        assert [one.sizes for one in scene.ear.heard(m.Nack)] == [{OUTPUT: 0}] and after == before
    else:
        assert after == before

    refused, late = (now - was for now, was in zip(scene.leases.strays.of(scene.worker.id), counted, strict=True))
    errors = [one.code for one in scene.ear.heard(m.ErrorReply)]
    if word in ABOUT_NO_RUN or word == "recalled":
        assert (refused, late) == (0, 0)
    elif state in NOT_YOURS:
        assert (refused, late, errors) == (1, 0, ["not_yours"])
    elif state in OVER or (state.startswith("declared lost") and not word.startswith(("output", "exited"))):
        assert (refused, late, errors) == (0, 1, [])
    elif word in BACK and expected is None:
        assert (refused, late) == (1, 0)  # it accepted the run before
    elif state in LIVE and word in REFUSED:
        assert errors == [REFUSED[word]]

    # Again, and late: nothing more changes, whatever it was (I6), but that more output is more output.
    for again in (scene.talk.take, scene.late):
        once = scene.picture()
        if again == scene.late:
            scene.late()
            assert scene.picture() == once
        if word != "output":
            scene.say(word)
            assert scene.picture() == once
        else:
            piece = frames.Data(run=scene.run_id, stream=OUTPUT, offset=0, payload=after["logs"][0] or MORE)
            scene.talk.take(piece)
            if state not in LIVE:
                assert scene.picture() == once

    assert scene.place.now(scene.bystander) == bystander
    assert scene.place.runs.log(scene.bystander.id, 0) == b"untouched"
    assert scene.ear.closed is None  # one wrong word ends no connection
    assert "failed" not in caplog.text and "Traceback" not in caplog.text


@pytest.mark.parametrize("state", STATES)
def test_inv_I4_an_end_brings_everything_or_nothing(state: str) -> None:
    scene = Scene(state)
    before = scene.run
    scene.say("exited")
    run = scene.run
    if state not in LIVE:
        assert run == before
        return
    assert run is not None
    assert (run.log.complete, run.log.verified, run.finished_at is None, run.accepted_at is None) == (
        True,
        True,
        False,
        False,
    )
    assert [one.run for one in scene.ear.heard(m.Committed)] == [run.id]
