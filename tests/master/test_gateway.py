"""Workers on real sockets: who is let in, a run from assign to committed, and how a connection ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from appliance.events import Event, RunChanged, WorkerChanged
from appliance.master.connection import Connection
from appliance.master.gateway import REFUSAL_HEADERS, Gateway
from appliance.master.lanes import Lanes
from appliance.master.live import Live
from appliance.model.entities import Run, Session, Worker
from appliance.model.errors import Forbidden, Unauthenticated, Unavailable
from appliance.model.permissions import Kind, Principal
from appliance.model.run_state import Status
from appliance.wire import SUBPROTOCOL, Close, frames
from appliance.wire import messages as m
from appliance.wire.master_end import Greeting, MasterEnd, Merged
from tests.lease_place import Place
from tests.master.sockets import LONG_ENOUGH, Port, WorkerSocket, closed

OUTPUT = bytes(range(256)) * 1000


class Desk(Place):
    """A master with its gateway; the token of a worker is its name."""

    def __init__(self) -> None:
        super().__init__()
        self.live = Live(self.runs, self.events, self.clock, self._listen, msgspec.json.encode)
        self.gateway = Gateway(
            repository=self.repository,
            lineage=lambda: self.lineage,
            authenticate=self._authenticate,
            converse=lambda worker, connection: self.converse(worker, connection),
            live=self.live,
            roster=self.roster,
            lanes=Lanes(),
            events=self.events,
            clock=self.clock,
        )
        self.dispatcher.start()
        self.port = Port(self.gateway)
        self.w1 = self.worker()

    def _authenticate(self, token: str) -> Principal:
        match token:
            case "alice":
                return Principal(Kind.USER, "alice")
            case "later":
                raise Unavailable("the database is away")
            case _ if (worker := self.repository.workers.named(token)) is not None:
                return Principal(Kind.WORKER, token, worker_id=worker.id)
        raise Unauthenticated("this is not a valid token")

    @staticmethod
    def _listen(path: str, headers: dict[str, str], peer: str) -> tuple[Principal, Session | None]:
        raise Forbidden(f"nobody listens at {path} from {peer} with {len(headers)} headers")

    def dial(self, token: str = "w1") -> WorkerSocket:
        return WorkerSocket(self.port, token)

    def greet(self, *held: m.Held) -> WorkerSocket:
        """A worker that is welcome."""
        one = self.dial()
        one.say(msgspec.structs.replace(self.hello().hello, runs=[*held]))
        one.hear(m.Welcome)
        return one

    def happens(self, what: Callable[[Event], bool]) -> threading.Event:
        """Set when such an event is told."""
        seen = threading.Event()
        self.events.subscribe(lambda event: seen.set() if what(event) else None)
        return seen

    def ends_as(self, run: Run, status: Status) -> threading.Event:
        return self.happens(
            lambda one: isinstance(one, RunChanged) and (one.run.id, one.run.status) == (run.id, status)
        )

    def changes(self, worker: Worker) -> threading.Event:
        return self.happens(lambda event: event == WorkerChanged(worker.id))

    def close(self) -> None:
        self.dispatcher.stop()
        self.port.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


# ---- who is let in


@pytest.mark.parametrize(
    ("path", "headers", "subprotocol", "status"),
    [
        ("/worker", {}, SUBPROTOCOL, 401),
        ("/worker", {"Authorization": "Bearer nobody"}, SUBPROTOCOL, 401),
        ("/worker", {"Authorization": "Basic dzE6dzE="}, SUBPROTOCOL, 401),
        ("/worker", {"Authorization": "Bearer alice"}, SUBPROTOCOL, 403),
        ("/worker", {"Authorization": "Bearer w1", "Origin": "http://here"}, SUBPROTOCOL, 403),
        ("/worker", {"Authorization": "Bearer w1"}, None, 426),
        ("/worker", {"Authorization": "Bearer w1"}, "orchestra.v9", 426),
        ("/worker", {"Authorization": "Bearer later"}, SUBPROTOCOL, 503),
        ("/worker/", {"Authorization": "Bearer w1"}, SUBPROTOCOL, 404),
        ("/", {}, None, 404),
        ("/api/v1/events", {}, None, 403),
    ],
)
def test_req_S_12_a_handshake_that_may_not_be_is_refused_with_its_status(
    desk: Desk, path: str, headers: dict[str, str], subprotocol: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        desk.port.dial(path, subprotocol=subprotocol, **headers)
    response = refused.value.response
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in REFUSAL_HEADERS} == REFUSAL_HEADERS
    assert not desk.roster.is_connected(desk.w1.id)


# ---- a run


def test_a_run_goes_over_the_socket_from_assign_to_committed(desk: Desk) -> None:
    with desk.greet() as worker:
        run = desk.trigger()
        assign = worker.hear(m.Assign)
        worker.say(m.Accepted(id=2, run=run.id))
        worker.say(m.Started(id=3, run=run.id, at=desk.now_stamp()))
        for offset in range(0, len(OUTPUT), 65_536):
            worker.socket.send(frames.encode(run.id, 0, offset, OUTPUT[offset : offset + 65_536]))
        worker.say(desk.exited(run, OUTPUT))
        worker.hear(m.Committed)
    after = desk.now(run)
    assert (after.status, after.log.size, after.log.verified) == (Status.SUCCEEDED, len(OUTPUT), True)
    assert desk.runs.log(run.id, 0) == OUTPUT
    assert assign.secrets == {"ORCHESTRA_TOKEN": f"token of {run.id}"}


def test_an_abort_and_a_cancel_reach_the_worker_at_once(desk: Desk) -> None:
    with desk.greet() as worker:
        run = desk.trigger()
        worker.hear(m.Assign)
        desk.runs.cancel(run.id, "bob")
        assert worker.hear(m.Withdraw).run == run.id
        worker.say(m.Accepted(id=2, run=run.id))
        assert worker.hear(m.Abort).run == run.id


def test_fault_F36_what_a_worker_says_wrong_is_answered_and_others_go_on(desk: Desk) -> None:
    desk.worker("w2", "3" * 32)
    with desk.greet() as good, desk.dial("w2") as bad:
        bad.socket.send("{")
        assert bad.hear(m.ErrorReply).code == "malformed"
        bad.socket.send(frames.encode("0" * 8 + "-0000-4000-8000-" + "0" * 12, 0, 0, b"x"))
        assert bad.hear(m.ErrorReply).code == "order"
        assert closed(bad.socket)[0] == Close.PROTOCOL
        desk.trigger()
        good.hear(m.Assign)


def test_fault_F35_a_message_over_the_limit_is_closed_with_1009(desk: Desk) -> None:
    with desk.greet() as worker:
        worker.socket.send("x" * (1 << 20))
        assert closed(worker.socket)[0] == Close.TOO_BIG


# ---- the end


def test_fault_F12_a_cut_leaves_the_run_with_its_worker_and_it_resumes_at_its_byte(desk: Desk) -> None:
    with desk.greet() as worker:
        run = desk.trigger()
        worker.hear(m.Assign)
        worker.say(m.Accepted(id=2, run=run.id))
        worker.socket.send(frames.encode(run.id, 0, 0, b"x" * 5))
        gone = desk.changes(desk.w1)
        worker.say(desk.exited(run, b"x" * 9))  # answered, so everything before it was read
        worker.hear(m.Nack)
        worker.socket.socket.close()
    assert gone.wait(LONG_ENOUGH)
    assert not desk.roster.is_connected(desk.w1.id) and desk.now(run).status is Status.RUNNING
    with desk.dial() as again:
        again.say(msgspec.structs.replace(desk.hello().hello, runs=[desk.held(run)]))
        (resume,) = again.hear(m.Welcome).resume
        assert (resume.run, resume.sizes[0]) == (run.id, 5)


def test_fault_F15_the_newer_of_two_connections_wins(desk: Desk) -> None:
    with desk.greet() as old, desk.greet() as new:
        assert closed(old.socket)[0] == Close.SUPERSEDED
        run = desk.trigger()
        assert new.hear(m.Assign).run == run.id


def test_fault_F25_a_removed_worker_is_closed_at_once(desk: Desk) -> None:
    with desk.greet() as worker:
        desk.workers.remove("w1")
        assert closed(worker.socket)[0] == Close.REVOKED


def test_fault_F25_a_removed_worker_is_told_that_it_was_removed(desk: Desk) -> None:
    with desk.greet() as worker:
        desk.workers.remove("w1")
        assert closed(worker.socket) == (Close.REVOKED, "this worker was removed")


def test_req_W6_a_disconnected_worker_is_closed_at_once_with_a_sentence_and_refused_at_the_door(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk.greet() as worker:
        desk.workers.disconnect("w1", "ada")
        assert closed(worker.socket) == (
            Close.DISCONNECTED,
            "disconnected by ada; let in again once it is enabled",
        )
    with desk.dial() as late:  # its token was looked at before, and its hello comes after
        late.say(desk.hello().hello)
        assert closed(late.socket)[0] == Close.DISCONNECTED
    let_in = desk._authenticate

    def authenticate(token: str) -> Principal:
        desk.workers.check_standing(desk.w1.id)  # as the accounts do
        return let_in(token)

    monkeypatch.setattr(desk.gateway, "_authenticate", authenticate)
    with pytest.raises(InvalidStatus) as refused:
        desk.dial()
    assert refused.value.response.status_code == 403
    assert refused.value.response.headers["Orchestra-Worker-State"] == "disconnected"
    desk.workers.enable("w1", True)
    desk.greet().socket.close()


def test_fault_F43_a_disabled_worker_gets_nothing_and_stays_connected(desk: Desk) -> None:
    with desk.greet() as worker:
        desk.workers.enable("w1", is_enabled=False)
        first = desk.trigger()
        desk.workers.enable("w1", is_enabled=True)
        assert worker.hear(m.Drain).on
        assert not worker.hear(m.Drain).on
        assert worker.hear(m.Assign).run == first.id


def test_fault_F02_a_stop_closes_with_1012_and_leaves_runs_alone(desk: Desk) -> None:
    with desk.greet() as worker:
        run = desk.trigger()
        worker.hear(m.Assign)
        accepted = desk.ends_as(run, Status.RUNNING)
        worker.say(m.Accepted(id=2, run=run.id))
        assert accepted.wait(LONG_ENOUGH)
        stopping = threading.Thread(target=desk.close)
        stopping.start()
        assert closed(worker.socket)[0] == Close.RESTART
        stopping.join(LONG_ENOUGH)
    assert desk.now(run).status is Status.RUNNING


# ---- assignments that never left


def _open_end() -> MasterEnd:
    end = MasterEnd("c" * 32, 1, "d" * 32, lambda: 0.0)
    greeting = end.receive(m.encode(Place().hello().hello))
    assert isinstance(greeting, Greeting)
    end.welcome(greeting, Merged(), Place().clock.now())
    end.take()
    return end


def test_an_assignment_that_was_not_given_to_the_socket_is_known_as_unsent() -> None:
    place = Place()
    run, late = place.new_id(), place.new_id()

    async def queue() -> tuple[list[str], list[str]]:
        connection = Connection(asyncio.get_running_loop(), _open_end())
        connection.say(m.Assign, run=run, cap="e" * 64, request="{}", secrets={})
        connection.say(m.Committed, run=late)
        await asyncio.sleep(0)
        first = connection.unsent()
        connection.say(m.Assign, run=late, cap="e" * 64, request="{}", secrets={})  # behind the end
        await asyncio.sleep(0)
        return first, connection.unsent()

    assert asyncio.run(queue()) == ([run], [late, run])


def test_fault_F44_a_loop_that_is_stuck_does_not_beat(desk: Desk) -> None:
    is_stuck, is_free, has_beaten = threading.Event(), threading.Event(), threading.Event()

    def stick() -> None:
        is_stuck.set()
        is_free.wait()

    def beat() -> None:
        desk.gateway.beat()
        has_beaten.set()

    desk.gateway.beat()
    loop = desk.gateway._loop
    assert loop is not None
    loop.call_soon_threadsafe(stick)
    assert is_stuck.wait(LONG_ENOUGH)
    asking = threading.Thread(target=beat)
    asking.start()
    assert not has_beaten.wait(0.1)
    is_free.set()
    asking.join(LONG_ENOUGH)
    assert has_beaten.is_set()
