"""The server's host loses power: what was acknowledged is there, the database and the logs agree (F08, I4, R3)."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.clock import FakeClock
from appliance.db.logs import LogStore
from appliance.db.repository import ProjectSet, Repository
from appliance.db.sqlite import writer
from appliance.events import Events
from appliance.job_versions import JobVersions
from appliance.leases import Holder, Leases
from appliance.model.entities import Project, Run, Token, Worker
from appliance.model.requests import Limits, request_of
from appliance.model.run_state import LEASED, TERMINAL, Status
from appliance.runs import Runs
from appliance.wire import messages as m
from tests.faults.server_power import Images, PoweredServer
from tests.lease_place import JOURNAL, KEY, USER, job

_counts: Counter[str] = Counter()
WORKER = "id of w"
HOLDER = Holder(worker_id=WORKER, journal_id=JOURNAL, name="w")
RUNS = 12


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Print what was looked at."""
    yield
    print(f"power losses of database and logs together: {dict(_counts)}")


class Master:
    """The use cases of workers' words over some storage; ids of runs come from a seed."""

    def __init__(self, repository: Repository, logs: LogStore, clock: FakeClock, chance: random.Random) -> None:
        events, self.versions = Events(), JobVersions(repository)
        self.repository = repository
        self.runs = Runs(
            repository,
            logs,
            clock,
            events,
            self.versions,
            new_id=lambda: str(uuid.UUID(bytes=chance.randbytes(16), version=4)),
        )
        self.leases = Leases(repository, self.runs, logs, clock, KEY)


class Work:
    """One run as its worker has it: what it prints in all, and how much of that the master was sent."""

    def __init__(self, content: bytes, results: bytes) -> None:
        self.content, self.results = content, results
        self.run_id = ""
        self.sent = 0
        self.is_over = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def send(self, leases: Leases, size: int) -> None:
        """The next bytes."""
        piece = self.content[self.sent : self.sent + size]
        self.sent = leases.append_log(HOLDER, self.run_id, 0, self.sent, piece)

    def end(self, leases: Leases) -> None:
        """The exit record, which must be committed."""
        record = m.Exited(
            id=1,
            run=self.run_id,
            status="succeeded",
            at=1.0,
            sizes={0: len(self.content)},
            digests={0: self.sha256},
            code=0,
            value=msgspec.Raw(self.results),
        )
        assert leases.exited(HOLDER, record) is None
        self.is_over = True


class Facts:
    """What was acknowledged, and after how many operations of the disk. A later fact replaces one of the same kind."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, str, int]] = []  # operations, run, "triggered" ..., bytes durable

    def tell(self, server: PoweredServer, work: Work, what: str, size: int = 0) -> None:
        self.told.append((len(server.done), work.run_id, what, size))

    def by(self, operations: int) -> dict[str, dict[str, int]]:
        """What holds of each run after so many operations."""
        held: dict[str, dict[str, int]] = {}
        for when, run_id, what, size in self.told:
            if when <= operations:
                held.setdefault(run_id, {})[what] = size
        return held


def live(server: PoweredServer, chance: random.Random) -> tuple[dict[str, Work], Facts]:
    """Some runs, their words in any order, with everything that was answered noted."""
    clock = FakeClock()
    master = Master(server.repository, server.logs, clock, chance)
    server.repository.projects.apply(
        ProjectSet(projects=(Project("p", "", {}),), jobs=(job(),), schedules=()), clock.now()
    )
    builder = Worker(id=WORKER, name="w", owner="alice", created_at=clock.now(), journal_id=JOURNAL, slots=RUNS)
    token = Token(id="t", kind="worker", hash="0" * 64, created_at=clock.now(), worker_id=WORKER, label="w")
    assert server.repository.workers.add(builder, token)
    facts = Facts()
    sizes = [chance.choice((0, 300, 20_000, 90_000)) for _ in range(RUNS)]
    works = [Work(chance.randbytes(size), b'{"number":%d}' % number) for number, size in enumerate(sizes)]
    waiting = list(works)
    while waiting:
        work = chance.choice(waiting)
        if not work.run_id:
            run, _ = master.runs.trigger("p", "work", {}, USER)
            work.run_id = run.id
            facts.tell(server, work, "triggered")
            document = master.versions.get(run.definition_version)
            request = msgspec.json.encode(request_of(run, document, Limits())).decode()
            master.leases.grant(run, builder, 1, 0, request)
        elif not work.sent and not facts.by(len(server.done))[work.run_id].get("accepted"):
            assert master.leases.accepted(HOLDER, work.run_id)
            facts.tell(server, work, "accepted", 1)
            if not work.content:
                continue
            work.send(master.leases, 1)
        elif work.sent < len(work.content):
            work.send(master.leases, chance.randrange(1, 30_000))
            if chance.random() < 0.4:
                master.leases.sync_streams()
                for one in works:
                    if one.run_id and not one.is_over:
                        facts.tell(server, one, "durable", one.sent)
        else:
            work.end(master.leases)
            facts.tell(server, work, "committed")
            waiting.remove(work)
    return {work.run_id: work for work in works}, facts


def check(found: Images, works: dict[str, Work], facts: dict[str, dict[str, int]]) -> None:
    """Everything acknowledged is there, and nothing is half there."""
    assert found.repository.check() == []
    for run_id, held in facts.items():
        run = found.repository.runs.get(run_id)
        assert run is not None, "a triggered run is lost"
        assert not held.get("accepted") or run.status not in (Status.PENDING, Status.ASSIGNED)
        assert "committed" not in held or run.status in TERMINAL
    for run_id, work in works.items():
        run = found.repository.runs.get(run_id)
        if run is None:
            continue
        content = found.logs.read(run_id, 0, 0, 1 << 20)
        if run.status in TERMINAL:
            check_whole(found, run, work, content)
        else:
            assert work.content.startswith(content)
            assert len(content) >= facts.get(run_id, {}).get("durable", 0)
            assert run.log.sha256 is None
    _counts["images"] += 1
    _counts["acknowledged facts"] += sum(len(held) for held in facts.values())


def check_whole(found: Images, run: Run, work: Work, content: bytes) -> None:
    """I4: status, code, results and the digest of the durable log, all of them."""
    assert content == work.content
    assert (run.status, run.log.size, run.log.sha256) == (Status.SUCCEEDED, len(content), work.sha256)
    assert run.log.verified
    assert run.exit is not None
    assert run.exit.code == 0
    assert found.repository.runs.results(run.id).encode() == work.results


def resume(found: Images, works: dict[str, Work]) -> None:
    """The worker comes back, sends what is missing, and every run that it had ends as it would have."""
    master = Master(found.repository, found.logs, FakeClock(), random.Random(0))
    for run, _ in found.repository.runs.leased():
        work = works[run.id]
        master.leases.accepted(HOLDER, run.id)
        again = Work(work.content, work.results)
        again.run_id, again.sent = run.id, found.logs.size(run.id, 0)
        if again.sent < len(again.content):
            again.send(master.leases, len(again.content))
        again.end(master.leases)
        ended = found.repository.runs.get(run.id)
        assert ended is not None
        check_whole(found, ended, work, found.logs.read(run.id, 0, 0, 1 << 20))
        _counts["runs resumed"] += 1
    assert not [run for run, _ in found.repository.runs.leased() if run.status in LEASED]


def lose_power(tmp_path: Path, seed: int, images: int) -> None:
    chance = random.Random(seed)
    (tmp_path / "server").mkdir()
    server = PoweredServer(tmp_path / "server")
    works, facts = live(server, chance)
    done = len(server.done)
    server.close()
    for number in range(images):
        until = chance.randrange(server.begin, done + 1)
        found = server.image(until, chance, tmp_path / str(number))
        try:
            check(found, works, facts.by(until))
            resume(found, works)
        finally:
            found.logs.close()
            found.repository.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The -wal file is written back every few runs, so that power is lost during that, too."""
    monkeypatch.setattr(writer, "CHECKPOINT", 40)


@pytest.mark.parametrize("seed", range(4))
def test_goal_R3_fault_F08_power_is_lost_under_database_and_logs(tmp_path: Path, seed: int) -> None:
    lose_power(tmp_path, seed, 40)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_goal_R3_a_thousand_images_of_database_and_logs(tmp_path: Path, seed: int) -> None:
    lose_power(tmp_path, seed, 50)
