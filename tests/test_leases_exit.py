"""The exit record (reliability.md 5.3): status, log and results become durable together, and only when they agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.db.logs import LogStore
from appliance.model.entities import Receipt, Run
from appliance.model.run_state import Status
from appliance.wire import NOTES, OUTPUT, RESULTS, RESULTS_LIMIT, ProtocolError
from appliance.wire import messages as m
from tests.lease_place import Place, sha256


class Written(Place):
    """A master with its log files on a disk."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.logs = LogStore(directory, "boot")
        self.restart()
        self.here = self.worker()

    def begun(self, output: bytes = b"", stream: int = OUTPUT) -> Run:
        run = self.running(self.here)
        self.send(run, output, stream)
        return run

    def send(self, run: Run, output: bytes, stream: int = OUTPUT) -> None:
        for offset in range(0, len(output), 65_536):
            self.leases.append_log(self.holder(self.here), run.id, stream, offset, output[offset : offset + 65_536])

    def say(self, run: Run, output: bytes = b"", **changes: Any) -> m.Nack | None:
        return self.leases.exited(self.holder(self.here), self.exited(run, output, **changes))

    def streams(self, run: Run, **named: bytes) -> dict[str, Any]:
        """Sizes and digests of several streams, as a record says them."""
        numbered = {{"output": OUTPUT, "results": RESULTS, "notes": NOTES}[name]: text for name, text in named.items()}
        return {
            "sizes": {number: len(text) for number, text in numbered.items()},
            "digests": {number: sha256(text) for number, text in numbered.items() if text},
        }


@pytest.fixture
def place(tmp_path: Path) -> Written:
    return Written(tmp_path / "logs")


LONG = bytes(range(256)) * 1000


# ---- sizes and digests


def test_inv_I4_an_exit_whose_bytes_are_not_all_here_is_answered_with_what_is_here(place: Written) -> None:
    run = place.begun(LONG[:70_000])
    nack = place.say(run, LONG)
    assert nack is not None and (nack.sizes, nack.restart) == ({OUTPUT: 70_000}, False)
    assert place.now(run).status is Status.RUNNING
    assert place.repository.runs.streams(run.id) == []
    place.leases.append_log(place.holder(place.here), run.id, OUTPUT, 70_000, LONG[70_000:])
    assert place.say(run, LONG) is None
    assert place.now(run).log == Receipt(size=len(LONG), sha256=sha256(LONG), complete=True, verified=True)


def test_inv_I3_fault_F39_a_digest_that_differs_sends_everything_once_more(place: Written) -> None:
    run = place.begun(b"x" + LONG[1:])
    nack = place.say(run, LONG)
    assert nack is not None and (nack.sizes, nack.restart) == ({OUTPUT: 0}, True)
    assert place.logs.size(run.id, OUTPUT) == 0
    place.send(run, LONG)
    assert place.say(run, LONG) is None
    assert place.now(run).log == Receipt(size=len(LONG), sha256=sha256(LONG), complete=True, verified=True)
    assert place.now(run).notes == ()


def test_fault_F39_a_digest_that_differs_twice_ends_the_run_with_a_flag(place: Written) -> None:
    run = place.begun(b"x" + LONG[1:])
    assert place.say(run, LONG) is not None
    place.send(run, b"x" + LONG[1:])
    assert place.say(run, LONG) is None
    after = place.now(run)
    assert after.status is Status.SUCCEEDED
    assert after.log == Receipt(size=len(LONG), sha256=sha256(b"x" + LONG[1:]), complete=True, verified=False)
    assert [note.partition(":")[0] for note in after.notes] == ["log_mismatch"]


@pytest.mark.parametrize("kept", [0, 1, 65_536, len(LONG) - 1])
def test_fault_F07_output_that_the_worker_lost_with_its_power_stays_and_is_flagged(place: Written, kept: int) -> None:
    run = place.begun(LONG)
    record: dict[str, Any] = {"status": "errored", "reason": "worker_host_restarted", "code": None}
    assert place.say(run, LONG[:kept], **record) is None
    after = place.now(run)
    assert after.status is Status.ERRORED
    assert after.log == Receipt(size=len(LONG), sha256=sha256(LONG), complete=True, verified=False)
    assert after.notes == (f"log_ahead: the server had {len(LONG) - kept} bytes more than the worker kept; they stay",)
    assert place.logs.read(run.id, OUTPUT, 0, len(LONG)) == LONG


def test_fault_F07_a_log_that_does_not_begin_as_ours_does_is_sent_once_more(place: Written) -> None:
    run = place.begun(LONG)
    other = b"x" + LONG[1:500]
    nack = place.say(run, other)
    assert nack is not None and nack.restart
    place.send(run, other)
    assert place.say(run, other) is None
    assert place.now(run).log == Receipt(size=500, sha256=sha256(other), complete=True, verified=True)


def test_fault_F07_only_the_stream_that_differs_begins_anew(place: Written) -> None:
    run = place.begun(LONG)
    place.send(run, b"torn note", NOTES)
    record = place.streams(run, output=LONG[:100], notes=b"good note")
    assert place.say(run, **record) == m.Nack(id=0, run=run.id, sizes={OUTPUT: 0, NOTES: 0}, restart=True)
    assert (place.logs.size(run.id, OUTPUT), place.logs.size(run.id, NOTES)) == (len(LONG), 0)
    place.send(run, LONG[:100])
    place.send(run, b"good note", NOTES)
    assert place.say(run, **record) is None
    assert place.logs.read(run.id, OUTPUT, 0, len(LONG)) == LONG


def test_a_run_without_output_is_whole(place: Written) -> None:
    run = place.begun()
    assert place.say(run) is None
    assert place.now(run).log == Receipt(size=0, sha256=None, complete=True, verified=True)


def test_the_log_of_a_run_that_has_ended_takes_no_more_bytes(place: Written) -> None:
    run = place.begun(LONG)
    place.say(run, LONG)
    holder = place.holder(place.here)
    assert place.leases.append_log(holder, run.id, OUTPUT, len(LONG), b"more") == len(LONG) + 4  # counted as had
    assert place.logs.size(run.id, OUTPUT) == len(LONG)


# ---- results

INVALID = {
    "not JSON": b"{",
    "a list": b"[1]",
    "a word": b'"done"',
    "not UTF-8": b'{"a":"\xff"}',
    "NaN": b'{"a":NaN}',
    "a key twice": b'{"a":1,"a":2}',
    "nested too deep": b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
    "NUL": b'{"a":"\\u0000"}',
}


def test_results_of_the_exit_record_are_the_last_ones(place: Written) -> None:
    run = place.begun()
    holder = place.holder(place.here)
    assert place.leases.results(holder, run.id, 1, b'{"a":1}')
    assert not place.leases.results(holder, run.id, 1, b'{"a":2}')
    assert place.runs.results(run.id) == {"a": 1}
    assert place.say(run, seq=2, value=msgspec.Raw(b'{"b":"2026-01-01"}')) is None
    assert place.runs.results(run.id) == {"b": "2026-01-01"}
    assert not place.leases.results(holder, run.id, 9, b'{"late":true}')
    assert place.runs.results(run.id) == {"b": "2026-01-01"}


def test_large_results_come_on_a_stream_of_their_own(place: Written) -> None:
    run = place.begun()
    large = msgspec.json.encode({"rows": ["x" * 100] * 2000})
    place.send(run, large, RESULTS)
    assert place.say(run, **place.streams(run, results=large)) is None
    assert place.runs.results(run.id) == {"rows": ["x" * 100] * 2000}


def test_results_set_through_the_service_stay_above_those_of_the_worker(place: Written) -> None:
    run = place.begun()
    place.runs.set_results(run.id, {"verdict": "good"})
    assert place.say(run, seq=1, value=msgspec.Raw(b'{"verdict":"bad","tests":3}')) is None
    assert place.runs.results(run.id) == {"verdict": "good", "tests": 3}


@pytest.mark.parametrize("name", INVALID)
def test_fault_F38_results_that_are_no_object_become_a_note(place: Written, name: str) -> None:
    run = place.begun()
    place.leases.results(place.holder(place.here), run.id, 1, b'{"kept":true}')
    place.send(run, INVALID[name], RESULTS)
    assert place.say(run, **place.streams(run, results=INVALID[name])) is None
    after = place.now(run)
    assert after.status is Status.SUCCEEDED
    (note,) = after.notes
    assert note.startswith("results invalid: ")
    assert place.runs.results(run.id) == {"kept": True}


@pytest.mark.parametrize("name", INVALID)
def test_req_S_63_results_of_a_run_that_goes_on_are_refused_when_they_are_no_object(place: Written, name: str) -> None:
    run = place.begun()
    with pytest.raises(ProtocolError) as error:
        place.leases.results(place.holder(place.here), run.id, 1, INVALID[name])
    assert error.value.code == "bad_results"
    assert place.runs.results(run.id) == {}


def test_fault_F35_results_over_their_limit_are_refused_as_bytes_of_a_stream(place: Written) -> None:
    run = place.begun()
    with pytest.raises(ProtocolError):
        place.leases.append_log(place.holder(place.here), run.id, RESULTS, RESULTS_LIMIT - 1, b"xx")


def test_defect_J03_strings_that_look_like_dates_stay_those_strings(place: Written) -> None:
    run = place.begun()
    values = {"version": "2026-01-01", "time": "12:00", "number": "007", "yes": "no"}
    place.say(run, seq=1, value=msgspec.Raw(msgspec.json.encode(values)))
    assert place.runs.results(run.id) == values


# ---- notes


def test_notes_and_the_sentence_of_the_worker_are_kept(place: Written) -> None:
    run = place.begun()
    record: dict[str, Any] = {
        "status": "failed",
        "reason": "exit_code",
        "code": 3,
        "sentence": "command 1 ended with 3",
    }
    place.say(run, notes=["2 background processes were ended"], **record)
    after = place.now(run)
    assert (after.sentence, after.notes) == ("command 1 ended with 3", ("2 background processes were ended",))


def test_steps_are_read_from_the_notes_stream(place: Written) -> None:
    run = place.begun()
    place.send(run, b'{"note":"began","at":5.0,"phase":"commands","index":0,"command":"work"}\n', NOTES)
    assert [(step.name, step.command, step.began_at) for step in place.runs.steps(run.id)] == [
        ("commands[0]", "work", 5.0)
    ]


def test_a_worker_is_known_by_the_lease_after_a_restart_of_the_master(place: Written) -> None:
    run = place.begun(LONG)
    place.restart()
    assert place.say(run, LONG) is None
    assert place.now(run).status is Status.SUCCEEDED
