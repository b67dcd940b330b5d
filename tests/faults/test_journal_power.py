"""The worker's machine loses power at every operation on its journal: no promise is broken (R3, F07, I2, I5)."""

from __future__ import annotations

import functools
import os
import pickle
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.model.errors import Invalid
from appliance.wire.local_runs import Identity, Record
from appliance.worker import output, processes, rundir
from appliance.worker.disk import Disk
from appliance.worker.executor import execute
from appliance.worker.journal import Journal, Recovered
from tests.faults.journal_disk import Note, Recorder, image
from tests.worker.executions import CAP, request_of

FIRST, SECOND, THIRD = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
FACTS = {  # what each run really does: status, reason, code
    FIRST: ("succeeded", None, 0),
    SECOND: ("failed", "exit_code", 3),
    THIRD: ("aborted", "requested", None),
}
PRINTS = "for i in 1 2 3 4 5 6; do printf %0300d $i; sleep 0.02; done; "
REQUESTS = {
    FIRST: request_of(FIRST, [PRINTS + 'echo "{\\"n\\": 1}" > $ORCHESTRA_RESULTS'], teardown=["echo down"]),
    SECOND: request_of(SECOND, [PRINTS + "exit 3"], log_limit=1000),
    THIRD: request_of(THIRD, [["false"]]),
}
SYNC_BYTES = 500  # a mark every few chunks
LIVES = ("lost", "kept", "names")  # what becomes of what was not synced; beside these: by chance
BY_CHANCE = 3


def live(root: Path, recorder: Recorder) -> None:
    """A worker's life: three runs come, go, are stored by the master and deleted."""
    journal = Journal(root, boot_id=processes.boot_id())
    journal.open()
    recorder.event(("identity", journal.identity.journal))
    journal.keep(Identity(journal=journal.identity.journal, cluster="c" * 32, epoch=3, incarnation="d" * 32))
    recorder.event("kept")
    for run_id in FACTS:
        journal.accept(run_id, CAP, REQUESTS[run_id], {"TOKEN": "t"})
        recorder.event(("accepted", run_id))
        if run_id == THIRD:
            journal.intend_abort(run_id, 1.0)
            recorder.event(("abort", run_id))
        secrets = journal.secrets_file(run_id)
        launch = {
            "run": run_id,
            "directory": journal.run_directory(run_id).path,
            "secrets": str(secrets),
            "boot": processes.boot_id(),
            "base": {"PATH": os.environ["PATH"]},
            "environment": {},
        }
        recorder.event(("launched", run_id))
        in_process(functools.partial(execute, launch, 0o022), recorder)
        recorder.event(("ended", run_id))
        if run_id == SECOND:
            journal.commit(FIRST)
            recorder.event(("committed", FIRST))
    recorder.event(("forgetting", FIRST))
    assert journal.forget(FIRST)
    recorder.event(("forgotten", FIRST))
    journal.empty_trash()


def in_process(what: Callable[[], None], recorder: Recorder) -> None:
    """Do it in a fork, as the starter does with an executor, and note what it did here."""
    with tempfile.TemporaryFile() as told:
        pid = os.fork()
        if pid == 0:
            try:
                output.SYNC_BYTES = SYNC_BYTES
                what()
                told.write(pickle.dumps(vars(recorder)))
                told.flush()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        told.seek(0)
        vars(recorder).update(pickle.loads(told.read()))


def record_life(home: Path) -> list[Note]:
    """The notes of a life."""
    root = home / "worker"
    root.mkdir()
    recorder = Recorder(root)
    with recorder.recording():
        live(root, recorder)
    return recorder.notes


Lived = tuple[list[Note], dict[str, Record], dict[str, bytes]]


@functools.cache
def life() -> Lived:
    return one_life()


def one_life() -> Lived:
    """Notes, and the records and logs as they were when nothing went wrong."""
    with tempfile.TemporaryDirectory() as home:
        notes = record_life(Path(home))
        ends, logs = {}, {}
        before_deletion = next(n for n, note in enumerate(notes) if note.event == ("forgetting", FIRST))
        image(notes[:before_deletion], Path(home) / "whole", "kept")
        journal = Journal(Path(home) / "whole", boot_id=processes.boot_id())
        for run_id in FACTS:
            record = journal.record(run_id)
            assert record is not None
            ends[run_id] = record
            logs[run_id] = journal.read(run_id, 0, 0, 1 << 20)
        return notes, ends, logs


class Promises:
    """What the worker had said or done when the power went."""

    def __init__(self, notes: list[Note]) -> None:
        self.events = [note.event for note in notes if note.what == "event"]
        self.begun: set[str] = set()
        self.marked: dict[str, int] = {}
        launched = ""
        for event in self.events:
            match event:
                case ("launched", run_id):
                    launched = run_id
                case "gate":
                    self.begun.add(launched)
                case ("marked", run_id, size):
                    self.marked[run_id] = size

    def has(self, *event: str) -> bool:
        return tuple(event) in self.events


def check(place: Path, notes: list[Note], ends: dict[str, Record], logs: dict[str, bytes]) -> Counter[str]:
    """Open what the power loss left, on the next boot, and hold it against the promises."""
    said = Promises(notes)
    journal = Journal(place, boot_id="second boot")
    journal.open()
    found = journal.recover()
    again = journal.recover()
    assert found.running == again.running == ()
    assert (set(again.ended), again.waiting) == (set(found.ended), found.waiting)
    identities = [event[1] for event in said.events if event[0] == "identity"]
    if identities:
        assert journal.identity.journal == identities[0]
    if "kept" in said.events:
        assert (journal.identity.cluster, journal.identity.epoch) == ("c" * 32, 3)
    counts: Counter[str] = Counter()
    for run_id in FACTS:
        counts[check_run(journal, run_id, said, found, ends, logs)] += 1
    journal.close()
    return counts


def check_run(
    journal: Journal,
    run_id: str,
    said: Promises,
    found: Recovered,
    ends: dict[str, Record],
    logs: dict[str, bytes],
) -> str:
    """What became of one run, in a word."""
    run = journal.run(run_id)
    if said.has("forgotten", run_id):
        assert run is None, "a run came back that was durably deleted"
        return "deleted"
    if run is None:
        assert not said.has("accepted", run_id) or said.has("forgetting", run_id), "an accepted run is gone"
        return "absent"
    assert not run.committed or said.has("ended", run_id)  # that it is committed may be lost: it is told again
    if run_id in found.waiting:
        assert run_id not in said.begun, "a run would begin a second time"
        assert run.record is None
        return "waiting"
    record = run.record
    assert record is not None and (run_id in found.ended or run.committed)
    log = journal.read(run_id, 0, 0, 1 << 20)
    assert (len(log), rundir.sha256(log)) == (run.sizes[0], record.digests[0])
    if (record.status, record.reason, record.code) == FACTS[run_id]:
        is_told_by_journal = run_id == THIRD and not said.has("ended", run_id)  # nothing of it ran: both may end it
        assert log == logs[run_id] and (is_told_by_journal or record == ends[run_id])
        return "whole"
    assert not said.has("ended", run_id), "an end that was durable is gone"
    assert (record.status, record.reason) == ("errored", "worker_host_restarted")
    assert logs[run_id].startswith(log) or run_id == SECOND  # whose tail came from elsewhere
    assert len(log) >= said.marked.get(run_id, 0), "output is gone that was durable"
    return "cut"


def images(points: list[int], by_chance: int, home: Path, lived: Lived | None = None) -> Counter[str]:
    notes, ends, logs = lived or life()
    counts: Counter[str] = Counter()
    for point in points:
        chances: list[Any] = [*LIVES, *(random.Random(point * 1000 + number) for number in range(by_chance))]
        for number, chance in enumerate(chances):
            place = home / f"{point}-{number}"
            try:
                image(notes[:point], place, chance)
                counts += check(place, notes[:point], ends, logs)
            except Exception as error:
                how = chance if isinstance(chance, str) else f"chance {number - len(LIVES)}"
                error.add_note(f"power lost after {point} of {len(notes)} operations ({how}): {notes[point - 1]}")
                raise
            shutil.rmtree(place)
            counts["images"] += 1
    return counts


def tell(counts: Counter[str], report: Any) -> None:
    kinds = ("whole", "cut", "waiting", "absent", "deleted")
    words = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    report("journal_images", counts["images"])
    print(f"\njournal: {counts['images']} power losses, 0 promises broken; runs found: {words}")


@pytest.mark.long
def test_goal_R3_fault_F07_no_power_loss_breaks_a_promise_of_the_journal(tmp_path: Path, record_property: Any) -> None:
    notes, _, _ = life()
    points = [n for n in range(1, len(notes) + 1) if notes[n - 1].what != "event"]
    counts = images(points, BY_CHANCE, tmp_path)
    tell(counts, record_property)
    assert counts["images"] >= 500
    assert min(counts[kind] for kind in ("whole", "cut", "waiting", "absent", "deleted")) > 0


@pytest.mark.release
def test_goal_R3_ten_thousand_power_losses_break_no_promise_of_the_journal(
    tmp_path: Path, record_property: Any
) -> None:
    notes, _, _ = life()
    points = [n for n in range(1, len(notes) + 1) if notes[n - 1].what != "event"]
    counts = images(points, 10_000 // len(points), tmp_path)
    tell(counts, record_property)


@pytest.mark.parametrize("left_out", ["sync", "sync_content", "sync_directory"])
def test_a_journal_that_leaves_out_its_syncs_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    monkeypatch.setattr(Disk, left_out, lambda *_: None)
    lived = one_life()
    monkeypatch.undo()
    ends = [n + 1 for n, note in enumerate(lived[0]) if note.what == "event"]
    with pytest.raises((AssertionError, Invalid, IndexError, KeyError)):
        images(ends, 0, tmp_path, lived)
