"""A worker in hostile hands, over a real socket: refused in words, nothing changes, and everybody else goes on (A6)."""

from __future__ import annotations

import json
import random
import struct
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.client import Client
from appliance.model.errors import Forbidden, Unauthenticated
from appliance.wire import CHUNK, MESSAGE_LIMIT, frames
from tests.journeys.printing import JOB, Printing
from tests.journeys.raw_worker import RawWorker, dial
from tests.journeys.site import LONG_ENOUGH, Site, opened
from tests.master.test_mutated_frames import mutated

NOBODYS_RUN = str(uuid.UUID(int=7, version=4))
PRINT = {**JOB, "requires": {"who": "honest"}}
LEASED = {"identifier": "leased", "requires": {"who": "raw"}, "definition": {"commands": ["true"]}}
PROJECTS: dict[str, Any] = {
    "projects": [{"identifier": "journeys", "display_name": "Journeys", "jobs": [PRINT, LEASED]}]
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With a run on an honest worker that goes on through everything that the evil one does."""
    with opened(tmp_path_factory.mktemp("site"), PROJECTS) as site:
        site.add_worker("honest", who="honest")
        printing = Printing(site, tmp_path_factory.mktemp("printing"), "middle")
        printing.trigger()
        with printing.at("middle"):
            yield site
        printing.assert_ended_well()


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    """Of the evil worker."""
    return str(site.client.create_worker("evil", {"who": "evil"})["token"])


@pytest.fixture
def evil(site: Site, token: str) -> Iterator[RawWorker]:
    """A connection that said nothing yet; the journal is always the same."""
    with RawWorker(site, token, journal="e" * 32) as worker:
        yield worker
    site.assert_healthy()
    (run,) = site.client.runs(project="journeys", job="print")
    assert run["status"] == "running"


def text(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "id": 1, **fields})


def ended(status: str, **fields: Any) -> str:
    return text("exited", **{"run": NOBODYS_RUN, "status": status, "at": 1, "sizes": {}, "digests": {}, **fields})


def frame(kind: int = 1, offset: int = 0, payload: bytes = b"x", crc: int | None = None) -> bytes:
    head = struct.pack(">B16sHQI", kind, uuid.UUID(NOBODYS_RUN).bytes, 0, offset, crc or zlib.crc32(payload))
    return head + payload


HELLO: dict[str, Any] = {
    "protocols": [1, 1],
    "software": "x",
    "journal": "e" * 32,
    "instance": "f" * 32,
    "boot": "b",
    "at": 1,
}

# What is said after the welcome, and the code of the error that answers it, or the number with which the socket closes.
SAID: dict[str, tuple[str | bytes, str | int]] = {
    "nothing": ("", "malformed"),
    "no JSON": ("hello", "malformed"),
    "half a message": ('{"type": "beat", "id"', "malformed"),
    "a list": ("[]", "malformed"),
    "null": ("null", "malformed"),
    "no type": ('{"id": 1}', "malformed"),
    "no id": ('{"type": "beat", "at": 1}', "malformed"),
    "a text as id": ('{"type": "beat", "id": "1", "at": 1}', "malformed"),
    "an unknown type": (text("reboot"), "unsupported"),
    "a word of the master": (text("assign", run=NOBODYS_RUN, cap="0" * 64, request="{}"), "unsupported"),
    "NaN": ('{"type": "beat", "id": 1, "at": NaN}', "malformed"),
    "a time in the far future": (text("beat", at=1e300), "malformed"),
    "a negative time": (text("beat", at=-1), "malformed"),
    "100,000 brackets": ("[" * 100_000, "malformed"),
    "17 levels": (text("results", run=NOBODYS_RUN, seq=1, value=json.loads("[" * 16 + "]" * 16)), "malformed"),
    "a lone surrogate": (text("declined", run=NOBODYS_RUN, reason="\ud800"), "malformed"),
    "a run that is no UUID": (text("accepted", run="../../etc/passwd"), "malformed"),
    "a UUID in capitals": (text("accepted", run="ABCDEF00-0000-4000-8000-000000000000"), "malformed"),
    "a UUID and a line break": (text("accepted", run=NOBODYS_RUN + "\n"), "malformed"),
    "a size of 2^63": (ended("failed", sizes={"0": 1 << 63}), "malformed"),
    "a negative size": (ended("failed", sizes={"0": -1}), "malformed"),
    "a stream of 2^16": (ended("failed", sizes={"65536": 1}), "malformed"),
    "a status that is none": (ended("lost"), "malformed"),
    "cancelled, as an end": (ended("cancelled"), "malformed"),
    "a code of 256": (ended("failed", code=256), "malformed"),
    "an unknown run": (text("accepted", run=NOBODYS_RUN), "not_yours"),
    "the end of an unknown run": (ended("failed"), "not_yours"),
    "an empty frame": (b"", "malformed"),
    "a frame of one byte": (b"\x01", "malformed"),
    "a header without payload": (frame(payload=b""), "malformed"),
    "binary garbage": (bytes(range(7, 207)), "unsupported"),
    "a frame of another type": (frame(kind=2), "unsupported"),
    "a crc that is wrong": (frame(crc=1), "malformed"),
    "an offset of 2^63": (frame(offset=1 << 63), "malformed"),
    "output of an unknown run": (frame(), "not_yours"),
    "a second hello": (text("hello", **HELLO), 4400),
    "inventory after the welcome": (text("inventory", runs=[]), 4400),
    "a message over 256 KiB": (text("declined", run=NOBODYS_RUN, reason="x" * MESSAGE_LIMIT), 1009),
    "a frame over 256 KiB": (bytes(MESSAGE_LIMIT + 1), 1009),
    "a payload over 64 KiB": (frame(payload=bytes(CHUNK + 1)), 1009),
    "256 KiB of spaces": (" " * MESSAGE_LIMIT, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_fault_F36_what_is_wrong_is_answered_and_changes_nothing(evil: RawWorker, name: str) -> None:
    said, answer = SAID[name]
    evil.greet()
    evil.send(said)
    if isinstance(answer, int):
        assert evil.closed()[0] == answer
    else:
        told = evil.hear("error")
        assert (told["code"], bool(told["text"])) == (answer, True)
        evil.say("reboot")  # the connection goes on
        assert evil.hear("error")["code"] == "unsupported"


# What is said instead of a hello.
BEFORE: dict[str, tuple[str | bytes, int]] = {
    "a beat": (text("beat", at=1), 4400),
    "an end": (ended("failed"), 4400),
    "inventory": (text("inventory", runs=[]), 4400),
    "output": (frame(), 4400),
    "binary garbage": (b"\x00\xff" * 50, 4400),
    "a message over 256 KiB": ("x" * (MESSAGE_LIMIT + 1), 1009),
}


@pytest.mark.parametrize("name", BEFORE)
def test_fault_F36_nothing_but_a_hello_is_heard_first(evil: RawWorker, name: str) -> None:
    said, code = BEFORE[name]
    evil.send(said)
    assert evil.closed()[0] == code


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"protocols": [2, 3]}, 4006), ({"protocols": [0, 0]}, 4006), ({"cluster": "0" * 32}, 4005)],
)
def test_fault_F37_a_hello_that_does_not_fit_is_refused_with_its_own_code(
    evil: RawWorker, wrong: dict[str, Any], code: int
) -> None:
    evil.hello(**wrong)
    assert evil.hear("error")["text"]
    assert evil.closed()[0] == code


@pytest.mark.parametrize(
    "wrong",
    [
        {"journal": "x"},
        {"slots": 0},
        {"slots": 10**9},
        {"protocols": [1]},
        {"runs": [{"run": NOBODYS_RUN}]},
        {"runs": [{"run": NOBODYS_RUN, "cap": "0" * 64, "digest": "0" * 64, "state": "accepted"}] * 501},
        {"properties": {str(number): 1 for number in range(201)}},
        {"software": "x" * 129},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_fault_F36_after_a_malformed_hello_a_right_one_is_welcome(evil: RawWorker, wrong: dict[str, Any]) -> None:
    evil.hello(**wrong)
    assert evil.hear("error")["code"] == "malformed"
    evil.greet()


def test_req_S_20_a_run_that_was_never_given_is_unknown_and_kept(evil: RawWorker) -> None:
    welcome = evil.greet({"run": NOBODYS_RUN, "cap": "0" * 64, "digest": "0" * 64, "state": "exited"})
    assert welcome["unknown"] == [NOBODYS_RUN]


def test_fault_F36_ten_errors_within_a_minute_end_the_connection(evil: RawWorker) -> None:
    evil.greet()
    for _ in range(10):
        evil.send("[")
    assert evil.closed()[0] == 4400


@pytest.mark.parametrize("state", ["assigned", "running", "finished", "unknown"])
def test_req_S_20_no_word_of_one_worker_is_taken_from_another(site: Site, evil: RawWorker, state: str) -> None:
    with RawWorker(site, str(site.client.create_worker(f"owner-of-{state}", {"who": "raw"})["token"])) as owner:
        owner.greet()
        run = site.trigger("leased")
        assigned = owner.hear("assign")
        owner.say("accepted", run=run)
        owner.say("started", run=run, at=1.0)
        owner.say("results", run=run, seq=1, value={"by": "owner"})
        owner.print(run, 0, b"the truth\n")
        owner.exit(run, b"the truth\n", seq=2, value={"by": "owner"})
        owner.hear("committed")
        said = [one for one in owner.sent if "hello" not in str(one)]
        forged = [*said, text("unknown", run=run), text("declined", run=run, reason="no")]
        other = run
        if state != "finished":
            other = NOBODYS_RUN if state == "unknown" else site.trigger("leased")
            forged = [exchanged(one, run, other) for one in forged]
        if state in ("assigned", "running"):
            assigned = owner.hear("assign")
            assert assigned["run"] == other
        if state == "running":
            owner.say("accepted", run=other)
            site.reach(other, lambda found: found["status"] == "running")
        before = picture(site, other)

        cap = {"run": other, "cap": assigned["cap"], "digest": "0" * 64, "state": "started", "sizes": {"0": 9}}
        assert evil.greet(cap)["unknown"] == [other]
        for one in forged:
            evil.send(one)
        assert [evil.hear("error")["code"] for _ in forged] == ["not_yours"] * len(forged)
        assert picture(site, other) == before
        assert site.server.log.read_text().count(
            f"security: worker evil spoke about a run that is not leased to it: {other}"
        )

        if state in ("assigned", "running"):  # and its owner goes on
            if state == "assigned":
                owner.say("accepted", run=other)
            owner.exit(other, b"")
            assert site.wait(other)["status"] == "succeeded"


def exchanged(said: str | bytes, run: str, other: str) -> str | bytes:
    """The same word about another run."""
    if isinstance(said, str):
        return said.replace(run, other)
    data = frames.decode(said)
    return frames.encode(other, data.stream, data.offset, bytes(data.payload))


def picture(site: Site, run: str) -> Any:
    """All that the service says of a run."""
    if run == NOBODYS_RUN:
        return [one["id"] for one in site.client.runs()]
    return site.client.run(run), site.client.results(run), site.client.log(run).content


def test_req_S_20_the_journal_of_another_worker_opens_nothing(site: Site, evil: RawWorker, token: str) -> None:
    """A journal id is no secret: the worker is who its token says."""
    with RawWorker(site, str(site.client.create_worker("robbed", {"who": "raw"})["token"])) as owner:
        owner.greet()
        run = site.trigger("leased")
        cap = owner.hear("assign")["cap"]
        owner.say("accepted", run=run)
        site.reach(run, lambda found: found["status"] == "running")
        thief = str(site.client.create_worker("thief")["token"])
        with RawWorker(site, thief, journal=owner.journal) as robber:
            held = {"run": run, "cap": cap, "digest": "0" * 64, "state": "started"}
            assert robber.greet(held)["unknown"] == [run]
            robber.exit(run, b"")
            assert robber.hear("error")["code"] == "not_yours"
        assert site.client.run(run)["status"] == "running"
        owner.exit(run, b"")
        assert site.wait(run)["status"] == "succeeded"


def test_fault_F36_output_with_a_gap_is_asked_for_again_and_a_false_digest_is_flagged(site: Site) -> None:
    token = str(site.client.create_worker("careless", {"who": "raw"})["token"])
    with RawWorker(site, token) as worker:
        worker.greet()
        run = site.trigger("leased")
        worker.hear("assign")
        worker.say("accepted", run=run)
        worker.print(run, 5, b"later")
        nack = worker.hear("nack")
        assert (nack["run"], nack["sizes"]) == (run, {"0": 0})
        worker.print(run, 0, b"first")
        worker.print(run, 3, b"stlater")  # an overlap is dropped
        worker.exit(run, b"firstlate?")
        assert worker.hear("nack")["restart"] is True
        worker.print(run, 0, b"firstlater")
        worker.exit(run, b"firstlate?")
        worker.hear("committed")
    ended = site.wait(run)
    assert (ended["status"], ended["log"]["verified"]) == ("succeeded", False)
    assert site.log(run) == b"firstlater"


def status_of(site: Site, token: str | None, **other: Any) -> int:
    """With which status a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused, dial(site, token, **other):
        pass
    assert refused.value.response.body
    return refused.value.response.status_code


def test_req_S_12_the_worker_socket_takes_worker_tokens_of_programs_only(site: Site, token: str) -> None:
    own = {"Origin": site.url}
    assert status_of(site, None) == 401
    assert status_of(site, "orc_w_" + "0" * 70) == 401
    assert status_of(site, "x" * 1000) == 401
    assert status_of(site, "x" * 10_000) == 431
    assert status_of(site, site.token) == 403
    assert status_of(site, token, headers=own) == 403
    assert status_of(site, token, headers={"Origin": "null"}) == 403
    assert status_of(site, token, subprotocol=None) == 426
    assert status_of(site, token, subprotocol="orchestra.v2") == 426
    assert status_of(site, token, path="/worker/") == 404
    assert status_of(site, None, headers={"Cookie": f"session={site.token}"}) == 401
    site.assert_healthy()


def test_req_S_12_the_event_socket_takes_its_own_origin_or_a_token(site: Site, token: str) -> None:
    events: dict[str, Any] = {"path": "/api/v1/events", "subprotocol": None}
    assert status_of(site, None, **events) == 401
    assert status_of(site, token, **events) in (401, 403)
    assert status_of(site, site.token, headers={"Origin": "https://evil.example"}, **events) == 403
    assert status_of(site, None, headers={"Origin": "https://evil.example"}, **events) == 403
    with site.listen() as listener:
        listener.send('{"abort": "everything"}')
        with pytest.raises(ConnectionClosed) as closed:
            listener.recv(LONG_ENOUGH)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400
    site.assert_healthy()


def test_defect_J41_a_worker_token_opens_nothing_of_the_service(site: Site, token: str) -> None:
    with Client(site.url, token) as client:
        for ask in (client.me, lambda: list(client.runs()), lambda: client.trigger("journeys", "leased")):
            with pytest.raises((Unauthenticated, Forbidden)):
                ask()


def test_fault_F36_a_thousand_messages_at_once_are_all_answered(evil: RawWorker) -> None:
    evil.greet()
    for number in range(1000):
        evil.say("accepted", run=str(uuid.UUID(int=number, version=4)))
    assert {evil.hear("error")["code"] for _ in range(1000)} == {"not_yours"}


def flood(site: Site, token: str, frames_to_send: int) -> int:
    """So many mutated frames, over as many connections as that takes; answers how many that were."""
    rng = random.Random(36)
    words: list[str | bytes] = [said for said, _ in SAID.values() if len(said) < 10_000]
    words += [frame(), ended("failed"), text("beat", at=1), text("accepted", run=NOBODYS_RUN)]
    sent = connections = 0
    while sent < frames_to_send:
        connections += 1
        with RawWorker(site, token, journal="e" * 32) as worker:
            worker.greet()
            for _ in range(60):
                said = mutated(rng, rng.choice(words))
                if isinstance(said, str):
                    said = said.encode(errors="surrogateescape").decode(errors="replace")
                worker.send(said)
            sent += 60
            assert worker.closed()[0] in (4400, 4429, 1009, 1006)  # 1006: it was reset while we still sent
    return connections


def test_fault_F36_frames_with_changed_bytes_close_a_connection_and_harm_nobody(site: Site, token: str) -> None:
    print(f"{flood(site, token, 1_200)} connections closed")
    site.assert_healthy()
    (run,) = site.client.runs(project="journeys", job="print")
    assert run["status"] == "running"


@pytest.mark.release
def test_fault_F36_ten_thousand_frames_with_changed_bytes_harm_nobody(site: Site, token: str) -> None:
    print(f"{flood(site, token, 10_000)} connections closed")
    site.assert_healthy()
