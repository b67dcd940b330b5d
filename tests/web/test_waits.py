"""Why runs wait, to service and website alike: each state of the dispatcher, and lists of a thousand (W2)."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.db.repository import ProjectSet
from appliance.events import ProjectsChanged, RunChanged
from appliance.master.roster import Seat
from appliance.model.entities import Job, Project
from appliance.model.errors import Unavailable
from appliance.model.run_state import Assign, Status
from appliance.model.waiting import Why
from appliance.workers import Registration
from tests.lease_place import Ear
from tests.web.world import World, of_session


class Queue(World):
    """Two projects with a job that asks for Linux, workers, and a dispatcher that is led where the test wants it."""

    requires: dict[str, Any]

    def put_projects(self, *names: str) -> None:
        self.requires = {"os": "linux", "python": ">=3.11"}
        document = {"identifier": "test", "definition": {"commands": ["true"]}, "requires": self.requires}
        jobs = tuple(Job(name, "test", "Test", "", document, "v1") for name in names)
        projects = tuple(Project(name, name, {"identifier": name}) for name in names)
        self.repository.projects.apply(ProjectSet(projects, jobs, ()), self.clock.now())

    def add(self, name: str, used: int | None = 0, **properties: Any) -> Seat:
        """A worker with two slots, so many of them in use; ``None``: not connected."""
        worker, _ = self.workers.create(name, "root")
        said = {"os": "linux", "python": "3.11", **properties}
        worker = self.workers.register(worker.id, Registration("j" * 32, "0.1", 2, said, 0.0))
        seat = Seat(worker, Ear(), "j" * 32)
        if used is not None:
            self.roster.sit(seat, {f"run {number} of {name}": number for number in range(used)})
        return seat

    def switch(self, is_enabled: bool, job: str = "") -> None:
        store = self.repository.projects
        assert store.enable_job("alpha", job, is_enabled) if job else store.enable_project("alpha", is_enabled)
        self.events.publish(ProjectsChanged())

    def leave_only(self, *names: str) -> None:
        """The other projects are removed from the files."""
        self.put_projects(*names)
        self.events.publish(ProjectsChanged())

    def refuse(self) -> None:
        """The storage refuses one grant."""
        self.add("w1")
        store = self.repository.runs
        grant = store.grant
        store.grant = _unavailable  # type: ignore[assignment, method-assign]  # a fault, made to happen
        self.dispatcher.step()
        store.grant = grant  # type: ignore[method-assign]  # the fault is over


def _unavailable(*_: object) -> bool:
    raise Unavailable("the database is away")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "logs", has_pages=True)


@pytest.fixture
def root(queue: Queue) -> dict[str, str]:
    return queue.user("root", ["administrator"])


STATES: dict[Why, Callable[[Queue], object]] = {
    Why.NO_WORKER: lambda queue: None,
    Why.NO_FIT: lambda queue: (queue.add("w1", os="mac"), queue.add("w2", os="windows")),
    Why.AWAY: lambda queue: queue.add("w1", None),
    Why.CLOSED: lambda queue: setattr(queue.add("w1"), "wants_drain", True),
    Why.SLOTS: lambda queue: queue.add("w1", 2),
    Why.TURN: lambda queue: queue.add("w1", 1),
    Why.PROJECT_DISABLED: lambda queue: queue.switch(False),
    Why.JOB_DISABLED: lambda queue: queue.switch(False, "test"),
    Why.JOB_REMOVED: lambda queue: queue.leave_only("beta"),
    Why.STORAGE: Queue.refuse,
    Why.RESTORED: lambda queue: (queue.add("w1", None), queue.recoveries.begin("a test")),
}


@pytest.mark.parametrize("why", STATES)
def test_req_W2_the_dispatchers_reason_is_the_same_for_the_run_its_page_the_queue_and_the_service(
    queue: Queue, root: dict[str, str], why: Why
) -> None:
    run = queue.trigger()
    STATES[why](queue)
    found = queue.ask("GET", f"/api/v1/runs/{run.id}/why", root).document
    said = found["sentence"]
    assert (found["kind"], found["status"], found["run"]) == (why, "pending", run.id)
    assert queue.ask("GET", f"/api/v1/runs/{run.id}", root).document["waits"] == said
    (listed,) = queue.ask("GET", "/api/v1/queue", root).document["items"]
    assert (listed["id"], listed["waits"], listed["kind"]) == (run.id, said, why)
    assert listed["position"] == found["position"]
    browser = of_session(queue.login("root"))
    pages = ["/queue", f"/queue?why={why}", "/runs", "/"]
    if why is not Why.JOB_REMOVED:
        pages.append(f"/p/alpha/test/{run.number}")
    for path in pages:
        assert said in html.unescape(queue.ask("GET", path, browser).body.decode()), path
    queue.dispatcher.step()
    is_given = queue.runs.get(run.id).status is Status.ASSIGNED
    assert is_given == (why in (Why.TURN, Why.STORAGE))  # the storage is back


def test_every_kind_of_reason_is_tried_but_those_that_tests_of_the_dispatcher_try() -> None:
    assert set(Why) - set(STATES) == {Why.SILENT, Why.DISK_FULL, Why.FAILED, Why.UNREADABLE}


def test_req_W2_each_worker_is_held_against_each_condition(queue: Queue, root: dict[str, str]) -> None:
    run = queue.trigger()
    queue.add("far", os="mac", python="3.9")
    queue.add("near", python="3.9")
    queue.add("busy", 2)
    found = queue.ask("GET", f"/api/v1/runs/{run.id}/why", root).document
    assert [(one["worker"], one["state"], one["sentence"]) for one in found["items"]] == [
        ("busy", "full", "has all 2 slots in use"),
        ("near", "does not fit", "needs python at least 3.11, the worker has 3.9"),
        ("far", "does not fit", "needs os = linux, the worker has mac; needs python at least 3.11, the worker has 3.9"),
    ]
    assert found["items"][1]["conditions"] == [
        {"name": "os", "needs": "os = linux", "has": "linux", "is_met": True},
        {"name": "python", "needs": "python at least 3.11", "has": "3.9", "is_met": False},
    ]
    assert found["needs"] == [
        {"name": "os", "needs": "os = linux", "met_by": 2},
        {"name": "python", "needs": "python at least 3.11", "met_by": 1},
    ]
    assert found["workers"] == {"full": 1, "does not fit": 2}
    assert (found["position"], found["waiting"], found["next"]) == (1, 1, None)


def test_req_S_64_a_thousand_workers_come_in_parts(queue: Queue, root: dict[str, str]) -> None:
    run = queue.trigger()
    for number in range(1000):
        queue.add(f"w{number}", None if number % 2 else 2)
    address = f"/api/v1/runs/{run.id}/why?limit=300"
    part = queue.ask("GET", address, root).document
    seen, cursors = [one["worker"] for one in part["items"]], list[str]()
    while part["next"]:
        cursors.append(part["next"])
        part = queue.ask("GET", f"{address}&cursor={cursors[-1]}", root).document
        seen += [one["worker"] for one in part["items"]]
    assert (len(cursors), len(seen), len(set(seen))) == (3, 1000, 1000)
    assert all(int(name[1:]) % 2 == 0 for name in seen[:500])  # those that are there are nearer
    browser = of_session(queue.login("root"))
    page = queue.ask("GET", f"/p/alpha/test/{run.number}", browser).body.decode()
    assert page.count('class="name"><a href="/workers/w') == 20
    (following,) = [part.partition('"')[0] for part in page.split('href="') if "workers=" in part]
    more = queue.ask("GET", html.unescape(following).partition("#")[0], browser).body.decode()
    assert more.count('class="name"><a href="/workers/w') == 20 and "Back to the start" in more
    foreign = queue.ask("GET", f"/api/v1/runs/{queue.trigger().id}/why?cursor={cursors[0]}", root)
    assert foreign.status == 422


def test_req_S_64_the_queue_comes_in_parts_and_is_filtered_by_its_address(queue: Queue, root: dict[str, str]) -> None:
    runs = [queue.trigger("alpha" if number % 2 else "beta") for number in range(120)]
    part = queue.ask("GET", "/api/v1/queue?limit=50", root).document
    assert part["counts"] == {"no_worker": 120}
    seen = [one["id"] for one in part["items"]]
    while part["next"]:
        part = queue.ask("GET", f"/api/v1/queue?limit=50&cursor={part['next']}", root).document
        seen += [one["id"] for one in part["items"]]
    assert seen == [run.id for run in sorted(runs, key=lambda run: (run.created_at, run.id))]
    asked = "/api/v1/queue?project=alpha&job=test&why=no_worker&why=slots_in_use&limit=1000"
    assert len(queue.ask("GET", asked, root).document["items"]) == 60
    assert queue.ask("GET", "/api/v1/queue?why=bad", root).status == 422
    browser = of_session(queue.login("root"))
    page = queue.ask("GET", "/queue?project=alpha", browser).body.decode()
    assert page.count("alpha/test<b>") == 50 and "beta/test" not in page
    assert "/queue?project=alpha&amp;cursor=" in page
    assert queue.ask("GET", "/queue?why=bad", browser).status == 422
    assert b"No run that waits matches this filter." in queue.ask("GET", "/queue?job=other", browser).body


def test_the_reasons_are_counted_with_the_way_to_each(queue: Queue, root: dict[str, str]) -> None:
    queue.add("w1", 2)
    queue.trigger("alpha")
    queue.trigger("beta")
    browser = of_session(queue.login("root"))
    assert "in all" not in queue.ask("GET", "/queue", browser).body.decode()  # all wait for the same
    queue.switch(False)
    page = queue.ask("GET", "/queue", browser).body.decode()
    assert "<b>2</b> in all" in page
    assert '<a href="/queue?why=project_disabled"><b>1</b> its project is disabled</a>' in page
    alone = queue.ask("GET", "/queue?why=project_disabled", browser).body.decode()
    assert "alpha/test<b>" in alone and "beta/test<b>" not in alone
    assert '<a href="/queue"><b>2</b> in all</a>' in alone


# ---- rights


def test_req_S_01_the_queue_shows_what_the_reader_may_see(queue: Queue) -> None:
    mine, others = queue.trigger("alpha"), queue.trigger("beta")
    vera = queue.user("vera", alpha="viewer")
    assert [one["id"] for one in queue.ask("GET", "/api/v1/queue", vera).document["items"]] == [mine.id]
    assert queue.ask("GET", "/api/v1/queue", vera).document["counts"] == {"no_worker": 1}
    assert queue.ask("GET", f"/api/v1/runs/{others.id}/why", vera).status == 404
    page = queue.ask("GET", "/queue", of_session(queue.login("vera"))).body.decode()
    assert "alpha/test<b>" in page and "beta" not in page


def test_req_S_84_a_run_that_asks_about_its_child_is_told_why_and_nothing_of_the_workers(queue: Queue) -> None:
    queue.add("w1", 2)
    parent = queue.trigger()
    child = queue.child(parent)
    queue.events.publish(RunChanged(child))
    token = {"Authorization": f"Bearer {queue.accounts.run_token(parent.id)}"}
    queue.runs.advance(parent.id, Assign(queue.clock.now()))
    found = queue.ask("GET", f"/api/v1/runs/{child.id}/why", token)
    assert found.status == 200, found.body
    assert found.document["sentence"] == "waits for a free slot: all 2 slots of w1 are in use"
    assert (found.document["items"], found.document["needs"], found.document["workers"]) == ([], [], {})
