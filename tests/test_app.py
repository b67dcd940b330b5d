"""The composition root: parts up in order, down in reverse, and nothing left behind by a start that failed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import pytest

from appliance.app import Appliance
from appliance.config import ConfigurationError, load_server, render_server_file, write_master_key
from appliance.db.memory import MemoryRepository
from appliance.db.repository import Repository
from appliance.model.entities import Source
from appliance.model.errors import Conflict, Unusable
from appliance.model.requests import Limits
from appliance.model.run_state import Reason, Status

USER = Source(type="user", user="alice")
LONG_ENOUGH = 30.0


def projects(*jobs: str) -> str:
    """A project file; JSON is YAML."""
    definition = {"commands": [["work"]]}
    return json.dumps(
        {"projects": [{"identifier": "p", "jobs": [{"identifier": job, "definition": definition} for job in jobs]}]}
    )


class InMemory(Appliance):
    """An appliance that keeps its rows in memory, as an operator's deployment may."""

    def new_repository(self) -> Repository:
        return MemoryRepository()


Make = Callable[[type[Appliance]], Appliance]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    home = tmp_path / "home"
    (home / "projects").mkdir(parents=True)
    (home / "projects" / "p.yaml").write_text(projects("work", "gone"))
    (home / "orchestra.toml").write_text(render_server_file(listen="127.0.0.1:0"))
    write_master_key(home, b"k" * 32)
    return lambda kind: kind(load_server(data=home))


def get(appliance: Appliance, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", appliance.web.port, timeout=LONG_ENOUGH)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("kind", [Appliance, InMemory])
def test_a_start_brings_everything_up_and_a_stop_leaves_nothing(make: Make, kind: type[Appliance]) -> None:
    before = names()
    appliance = make(kind)
    with pytest.raises(LookupError):
        appliance.lineage  # noqa: B018  # asking is what is tested
    assert appliance.unready() != ()
    appliance.start()
    try:
        assert appliance.unready() == ()
        assert get(appliance, "/health")[0] == 200 and get(appliance, "/ready")[0] == 200
        assert appliance.lineage.epoch == 1
        run, _ = appliance.runs.trigger("p", "work", {}, USER)
        assert run.number == 1
    finally:
        appliance.stop()
    appliance.stop()  # a second time does nothing
    assert names() - before == set()
    with pytest.raises(OSError, match=r"refused|reset"):
        get(appliance, "/health")


def test_fault_F20_a_database_that_is_gone_is_not_followed_by_an_empty_one(make: Make, tmp_path: Path) -> None:
    appliance = make(Appliance)
    appliance.start()
    appliance.stop()
    database = tmp_path / "home" / "orchestra.db"
    database.unlink()
    with pytest.raises(Unusable, match=r"orchestra\.db is gone, and logs of its runs are here: restore the newest"):
        make(Appliance).start()
    assert not database.exists()
    (tmp_path / "home" / "logs").rename(tmp_path / "away")
    anew = make(Appliance)
    anew.start()
    anew.stop()
    assert database.exists()


def test_fault_F01_each_life_has_an_epoch_of_its_own_and_finds_what_was_there(make: Make) -> None:
    lives, numbers = [], []
    for _ in range(2):
        appliance = make(Appliance)
        appliance.start()
        lives.append((appliance.lineage.cluster, appliance.lineage.epoch, appliance.lineage.incarnation))
        numbers.append(appliance.runs.trigger("p", "work", {}, USER)[0].number)
        appliance.stop()
    assert (lives[0][0], lives[0][1] + 1) == lives[1][:2] and lives[0][2] != lives[1][2]
    assert numbers == [1, 2]


def test_two_servers_never_share_a_data_directory(make: Make) -> None:
    first, second = make(Appliance), make(Appliance)
    first.start()
    try:
        with pytest.raises(Conflict):
            second.start()
        assert get(first, "/health")[0] == 200
    finally:
        first.stop()


@pytest.mark.parametrize("why", ["port", "projects"])
def test_a_start_that_fails_stops_what_had_started(make: Make, tmp_path: Path, why: str) -> None:
    before = names()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if why == "port":
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            (tmp_path / "home" / "orchestra.toml").write_text(render_server_file(listen=listen))
        else:
            (tmp_path / "home" / "projects" / "p.yaml").write_text("projects: [")
        with pytest.raises((OSError, ConfigurationError)):
            make(Appliance).start()
    assert names() - before == set()
    (tmp_path / "home" / "orchestra.toml").write_text(render_server_file(listen="127.0.0.1:0"))
    (tmp_path / "home" / "projects" / "p.yaml").write_text(projects("work"))
    again = make(Appliance)  # nothing was left locked
    again.start()
    again.stop()


def test_fault_F40_a_reload_that_fails_keeps_the_old_configuration(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "home" / "projects" / "p.yaml"
    appliance = make(Appliance)
    appliance.start()
    try:
        run, _ = appliance.runs.trigger("p", "gone", {}, USER)
        file.write_text("projects: [")
        appliance.reload()
        assert [job.identifier for job in appliance.projects.jobs("p")] == ["work", "gone"]
        assert appliance.runs.get(run.id).status is Status.PENDING
        file.write_text(projects("work", "fresh"))
        appliance.reload()
        assert [job.identifier for job in appliance.projects.jobs("p")] == ["work", "fresh"]
        after = appliance.runs.get(run.id)
        assert (after.status, after.reason) == (Status.CANCELLED, Reason.REMOVED)
    finally:
        appliance.stop()


def test_waiting_runs_of_a_job_that_was_removed_while_it_was_down_are_cancelled(make: Make, tmp_path: Path) -> None:
    appliance = make(Appliance)
    appliance.start()
    run, _ = appliance.runs.trigger("p", "gone", {}, USER)
    appliance.stop()
    (tmp_path / "home" / "projects" / "p.yaml").write_text(projects("work"))
    again = make(Appliance)
    again.start()
    try:
        assert again.runs.get(run.id).reason is Reason.REMOVED
    finally:
        again.stop()


def test_fault_F18_a_storage_error_ends_the_server_with_1(make: Make) -> None:
    appliance = make(InMemory)
    told: list[str] = []
    restored = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        appliance.on_fatal(OSError(5, "I/O error"))
        assert appliance.serve(told.append) == 1
    finally:
        for number, action in restored.items():
            signal.signal(number, action)
    (url,) = told
    assert url.startswith("http://127.0.0.1:")


def test_req_X14_a_deployment_replaces_a_part(make: Make) -> None:
    class Patient(InMemory):
        @cached_property
        def limits(self) -> Limits:
            return Limits(lost_after=5.0, expires=7.0)

    appliance = make(Patient)
    appliance.start()
    try:
        run, _ = appliance.runs.trigger("p", "work", {}, USER)
        assert run.expires_at is not None
        assert (run.expires_at - run.created_at).total_seconds() == 7.0
    finally:
        appliance.stop()


def test_secrets_of_an_appliance_hang_on_its_master_key(make: Make, tmp_path: Path) -> None:
    first = make(InMemory)
    assert first.master_key == b"k" * 32
    assert first._cap_key != first.master_key
    for file in (tmp_path / "home").iterdir():
        if file.is_file() and file.read_bytes().find(b"k" * 32) >= 0:
            assert os.stat(file).st_mode & 0o077 == 0
